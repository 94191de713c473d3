//! TLS on a connection, without I/O of its own: bytes from the socket go in, bytes for the socket come out. Only the probe before a run reads
//! and writes itself.

use crate::target::Target;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Whom to trust; shared by all connections.
#[derive(Clone)]
pub struct TlsSetup {
    config: Arc<ClientConfig>,
}

/// Why nobody could be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: these certificates cannot be read: {what}", path.display())]
    Certificates { path: PathBuf, what: String },
    #[error(
        "this machine trusts nobody: no certificates of authorities were found; name a file of them with --ca"
    )]
    NoAuthorities,
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("{url}: no TLS with whoever answers there: {what}; {next}")]
    Refused { url: String, what: String, next: &'static str },
}

/// How long whoever answers may take to begin TLS.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

impl TlsSetup {
    /// Trusts the authorities in this file (PEM), or those of the system.
    pub fn new(authorities: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                let wrong = |what: String| TlsError::Certificates { path: path.to_owned(), what };
                let certificates =
                    CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
                for certificate in certificates {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(wrong("there is none in it".into()));
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(TlsError::NoAuthorities);
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(TlsSetup { config: Arc::new(config.with_root_certificates(roots).with_no_client_auth()) })
    }

    /// Begins TLS once, so that a certificate that nobody trusts is told before a run. Where nobody answers, or not in time, the run will say so.
    ///
    /// # Errors
    /// TLS was begun, and one of the two sides refused it.
    pub fn probe(&self, target: &Target) -> Result<(), TlsError> {
        let refused = |what: String, next| TlsError::Refused { url: target.url.clone(), what, next };
        let Ok(name) = ServerName::try_from(target.host.clone()) else {
            return Err(refused(
                format!("{} is no name that a certificate has", target.host),
                "name the host that its certificate names",
            ));
        };
        let Ok(mut stream) = TcpStream::connect_timeout(&target.address, PROBE_LIMIT) else { return Ok(()) };
        let limits = [stream.set_read_timeout(Some(PROBE_LIMIT)), stream.set_write_timeout(Some(PROBE_LIMIT))];
        if limits.iter().any(Result::is_err) {
            return Ok(());
        }
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        while connection.is_handshaking() {
            let Err(error) = connection.complete_io(&mut stream) else { continue };
            let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return match cause {
                Some(
                    cause @ rustls::Error::InvalidCertificate(
                        CertificateError::UnknownIssuer | CertificateError::BadSignature,
                    ),
                ) => Err(refused(
                    cause.to_string(),
                    "name a file with the certificate of its authority with --ca, if you trust it",
                )),
                Some(cause @ rustls::Error::InvalidCertificate(_)) => Err(refused(
                    cause.to_string(),
                    "give the server a certificate that is good for this host and today",
                )),
                Some(cause @ rustls::Error::InvalidMessage(_)) => {
                    Err(refused(cause.to_string(), "if it speaks no TLS, write ws:// in place of wss://"))
                }
                Some(cause) => Err(refused(cause.to_string(), "see what the server says of it")),
                // It went away, or took too long.
                None => Ok(()),
            };
        }
        Ok(())
    }

    /// The client's side of a new connection; `None` where the host's name is none that TLS knows.
    pub(super) fn begin(&self, host: &str) -> Option<Tls> {
        let name = ServerName::try_from(host.to_owned()).ok()?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).ok()?;
        // A session bounds what it has in flight; what TLS would not take here were lost in the middle of the stream.
        connection.set_buffer_limit(None);
        Some(Tls { connection })
    }
}

/// One connection's.
pub(super) struct Tls {
    connection: ClientConnection,
}

impl Tls {
    /// Takes bytes from the socket; appends what they say.
    pub fn take(&mut self, mut bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes)?;
            self.connection.process_new_packets().map_err(io::Error::other)?;
            match self.connection.reader().read_to_end(into) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes bytes of the client.
    pub fn put(&mut self, bytes: &[u8]) {
        // Without a limit it takes all that it is given.
        let _ = self.connection.writer().write_all(bytes);
    }

    /// Hands the socket what it takes; whether that was all.
    pub fn flush(&mut self, socket: &mut impl Write, written: &mut usize) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(len) => *written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
