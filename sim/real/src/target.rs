//! Where a run's gateways are.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A gateway's URL, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As it was given.
    pub url: String,
    /// Whether TLS is spoken.
    pub is_secure: bool,
    /// Host and, where it is not the scheme's own, port.
    pub authority: String,
    pub host: String,
    pub path: String,
    pub address: SocketAddr,
}

/// What is wrong with a URL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{url}: {what}")]
pub struct TargetError {
    pub url: String,
    pub what: String,
}

impl Target {
    /// Reads `ws://host:port/path` or `wss://…` and asks for the host's address.
    pub fn parse(url: &str) -> Result<Target, TargetError> {
        let wrong = |what: String| TargetError { url: url.to_owned(), what };
        let uri: http::Uri = url
            .parse()
            .map_err(|error| wrong(format!("this is no URL ({error}); write e.g. ws://127.0.0.1:7400")))?;
        let is_secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(other) => return Err(wrong(format!("a gateway speaks ws or wss, not {other}"))),
            None => return Err(wrong("there is no scheme: write ws:// or wss:// before it".into())),
        };
        let authority = uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("there is no host in it".into()));
        }
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let found = (host.as_str(), port).to_socket_addrs();
        let address =
            found.map_err(|error| wrong(format!("{host} has no address that can be found: {error}")))?.next();
        let address = address.ok_or_else(|| wrong(format!("{host} has no address")))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Target { url: url.to_owned(), is_secure, authority, host, path, address })
    }

    /// Whether it is on this machine and can be reached from nowhere else.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.url)
    }
}

/// Addresses of this machine from which connections to these targets can be made, so many that each carries at most `each` of them.
///
/// On loopback the whole of 127.0.0.0/8 is this machine's; elsewhere the system chooses, and there is one.
pub fn sources(targets: &[Target], connections: u64, each: u64) -> Vec<Option<IpAddr>> {
    let is_local = targets.iter().all(|target| matches!(target.address.ip(), IpAddr::V4(ip) if ip.is_loopback()));
    let wanted = connections.div_ceil(each).clamp(1, 250) as u8;
    match is_local && wanted > 1 {
        true => (1..=wanted).map(|n| Some(IpAddr::from([127, 0, 0, n]))).collect(),
        false => vec![None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let target = Target::parse("ws://127.0.0.1:7400").unwrap();
        assert_eq!(
            (target.is_secure, target.authority.as_str(), target.path.as_str()),
            (false, "127.0.0.1:7400", "/")
        );
        assert!(target.is_loopback());
        let target = Target::parse("wss://[::1]/chat?v=1").unwrap();
        assert_eq!((target.is_secure, target.host.as_str(), target.path.as_str()), (true, "::1", "/chat?v=1"));
        assert_eq!(target.address.port(), 443);
    }

    #[test]
    fn what_is_no_gateways_url_is_refused_with_the_next_step() {
        for (url, what) in [
            ("127.0.0.1:7400", "ws://"),
            ("http://127.0.0.1", "not http"),
            ("ws://", "no"),
            ("ws://no such host/", "no URL"),
        ] {
            let said = Target::parse(url).unwrap_err().to_string();
            assert!(said.starts_with(url) && said.contains(what), "{said}");
        }
    }

    #[test]
    fn more_connections_than_ports_come_from_more_addresses() {
        let local = [Target::parse("ws://127.0.0.1:1").unwrap()];
        assert_eq!(sources(&local, 20_000, 25_000), [None]);
        assert_eq!(sources(&local, 60_000, 25_000).len(), 3);
    }
}
