//! `squall load` over TLS, with tokens from a command: what a planner has who does not own the server's secret.

mod common;

use common::{scratch, squall, text};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const PEOPLE: &str = "[population]\nusers = 40\ngroups = 4\ngroup_size_max = 10\n[workload]\nsend_interval = \"1s\"\nsession_length = \"4s\"\n\
    away_length = \"1s\"\n[phases]\nramp = \"1s\"\nload = \"8s\"\n";

/// A server behind a proxy that ends TLS, as most stand.
struct Secure {
    process: Child,
    _proxy: tokio::runtime::Runtime,
    port: u16,
    dir: PathBuf,
}

impl Secure {
    /// Its certificate is for `name`, from an authority whose own lies in `ca.pem`.
    fn start(dir: &Path, name: &str) -> Secure {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_planted-chatd"))
            .args(["--gateways", "1", "--data"])
            .arg(dir.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server: SocketAddr = line.trim().strip_prefix("listening on ws://").unwrap().parse().unwrap();
        let proxy = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = proxy.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        proxy.spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut outside = acceptor.accept(outside).await?;
                    let mut inside = tokio::net::TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        std::fs::write(dir.join("scenario.toml"), PEOPLE).unwrap();
        Secure { process, _proxy: proxy, port, dir: dir.to_owned() }
    }

    fn load(&self, url: &str, options: &[&str]) -> (Output, String) {
        let file = self.dir.join("scenario.toml").display().to_string();
        let output =
            squall(&[&["load", &file, "--url", url, "--quiet", "--late-at-most-ms", "10000"], options].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        (output, said)
    }

    fn ca(&self) -> String {
        self.dir.join("ca.pem").display().to_string()
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A shell script that does this.
fn script(dir: &Path, does: &str) -> String {
    let path = dir.join("tokens.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
    format!("sh {}", path.display())
}

#[test]
fn people_with_tokens_from_a_command_are_judged_in_full_behind_tls() {
    let server = Secure::start(&scratch("load-tls"), "localhost");
    let backend = format!("exec {} --tokens --secret planted", env!("CARGO_BIN_EXE_planted-chatd"));
    let (url, command) = (format!("wss://localhost:{}", server.port), script(&server.dir, &backend));
    let out = server.dir.join("out").display().to_string();
    // With the delays of a profile before it, and without.
    for profile in [&[][..], &["--no-profile"]] {
        let options = ["--ca", &server.ca(), "--token-command", &command, "--out", &out];
        let (output, said) = server.load(&url, &[&options[..], profile].concat());
        assert_eq!(output.status.code(), Some(0), "{said}");
        let record = std::fs::read(server.dir.join("out/run.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert!(record["messages"]["acked"].as_u64() > Some(150), "{}", record["messages"]);
        assert!(record["clients"]["reconnects"].as_u64() > Some(20), "{}", record["clients"]);
        assert_eq!(record["load"]["unread_users"], 0);
    }
}

#[test]
fn whoever_cannot_be_trusted_is_refused_before_anything_is_said() {
    let server = Secure::start(&scratch("load-tls-refused"), "chat.example");
    let localhost = format!("wss://localhost:{}", server.port);
    let other = Secure::start(&scratch("load-tls-other"), "localhost");
    let plain = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = std::io::Write::write_all(&mut &stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        });
        format!("wss://localhost:{port}")
    };
    for (url, ca, what) in [
        (&localhost, other.ca(), "--ca"),
        (&localhost, server.ca(), "good for this host"),
        (&plain, server.ca(), "write ws://"),
        (&localhost, server.dir.join("scenario.toml").display().to_string(), "there is none in it"),
        (&localhost, "/nowhere/ca.pem".to_owned(), "cannot be read"),
    ] {
        let (output, said) = server.load(url, &["--ca", &ca, "--secret", "planted"]);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(what), "{what}: {said}");
    }
}

#[test]
fn a_command_that_makes_no_tokens_is_told_and_tokens_that_are_not_good_as_well() {
    let server = Secure::start(&scratch("load-tokens"), "localhost");
    let url = format!("wss://localhost:{}", server.port);
    let forged = format!("exec {} --tokens --secret another", env!("CARGO_BIN_EXE_planted-chatd"));
    for (does, what) in [
        ("exit 3", "ended with exit status: 3"),
        ("head -n 5", "wrote 5 lines for 80 devices"),
        ("printf '\\377'", "no text"),
        (&forged, "are the tokens good for it"),
    ] {
        let command = script(&server.dir, does);
        let (output, said) = server.load(&url, &["--ca", &server.ca(), "--token-command", &command]);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(what), "{what}: {said}");
    }
}
