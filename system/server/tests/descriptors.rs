//! A process with few descriptors: those who say nothing keep nobody else from logging in.
#![cfg(target_os = "linux")]

mod common;

use common::{PATIENCE, Raw, SECRET, TempDir};
use squall_protocol::Codec;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that ends with the test.
struct Chatd {
    process: Child,
    gateway: SocketAddr,
    /// What it says of its descriptors.
    told: String,
}

impl Chatd {
    /// Starts it with so many descriptors: at first, and at most.
    fn start(dir: &TempDir, soft: u32, hard: u32) -> Chatd {
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        let mut process = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_chatd")])
            .args(["--listen", "127.0.0.1:0", "--secret", SECRET, "--data"])
            .arg(dir.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut line = || lines.next().expect("it says something").unwrap();
        let gateway = line().strip_prefix("listening on ws://").expect("where it listens").parse().unwrap();
        Chatd { process, gateway, told: line() }
    }
}

impl Drop for Chatd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_takes_as_many_as_it_may_and_says_so() {
    let dir = TempDir::new("descriptors");
    let chatd = Chatd::start(&dir, 128, 512);
    assert!(chatd.told.starts_with("512 files and sockets at most; 128 of them "), "{}", chatd.told);
}

#[tokio::test]
async fn a_process_without_descriptors_says_what_can_be_done() {
    let dir = TempDir::new("descriptors");
    let mut chatd = Chatd::start(&dir, 64, 64);
    let mut said = BufReader::new(chatd.process.stderr.take().unwrap()).lines();
    let mut streams = Vec::new();
    // With tokens they need not make room, and so all descriptors are taken in the end.
    for device in 0..64 {
        let gateway = chatd.gateway;
        let online = tokio::spawn(async move { Raw::online(gateway, Codec::Json, 1, device).await });
        match timeout(PATIENCE / 10, online).await {
            Ok(Ok(stream)) => streams.push(stream),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(said.next()));
    let first = told.recv_timeout(PATIENCE).expect("a line in time").unwrap().unwrap();
    assert!(first.starts_with("gateway-0: no connection can be taken") && first.contains("ulimit -n"), "{first}");
}

#[tokio::test]
async fn those_who_say_nothing_keep_nobody_from_logging_in() {
    let dir = TempDir::new("descriptors");
    let chatd = Chatd::start(&dir, 128, 128);
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(chatd.gateway).await.unwrap();
        if n % 2 == 0 {
            let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            // It may have had to make room by now.
            let _ = stream.write_all(request).await;
        }
        silent.push(stream);
    }
    for device in 0..20 {
        // Among three hundred strangers that have just come its greeting may be the oldest once: it comes again, as clients do.
        let gateway = chatd.gateway;
        let mut is_in = false;
        for _ in 0..3 {
            let online = tokio::spawn(async move { drop(Raw::online(gateway, Codec::Json, 1, device).await) });
            is_in |= timeout(PATIENCE / 2, online).await.expect("an answer in time").is_ok();
            if is_in {
                break;
            }
        }
        assert!(is_in, "whoever has a token is let in");
    }
    drop(silent);
}
