//! One process opens no internal port: what listens are the gateways, and nothing else.
#![cfg(target_os = "linux")]

mod common;

use common::{Raw, TempDir};
use squall_core::rate::UserLimits;
use squall_protocol::Codec;
use squall_server::local::{Local, LocalConfig};
use std::collections::BTreeSet;
use std::fs;

/// Of a line of `/proc/net/tcp`: local address, state and inode (proc(5)).
const LOCAL: usize = 1;
const STATE: usize = 3;
const INODE: usize = 9;
const LISTEN: &str = "0A";

/// The ports on which this process listens: of the system's listening sockets those that it has open.
fn listening() -> BTreeSet<u16> {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let open: BTreeSet<String> = open
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables =
        ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default());
    let sockets = tables.iter().flat_map(|table| table.lines().skip(1)).map(|line| line.split_whitespace());
    let fields = sockets.map(|fields| fields.collect::<Vec<_>>());
    fields
        .filter(|fields| fields[STATE] == LISTEN && open.contains(fields[INODE]))
        .map(|fields| u16::from_str_radix(fields[LOCAL].rsplit(':').next().unwrap(), 16).unwrap())
        .collect()
}

#[tokio::test]
async fn the_gateways_ports_are_the_only_ones() {
    let dir = TempDir::new("ports");
    let local = Local::start(LocalConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        gateways: 2,
        shards: 3,
        presences: 1,
        data: dir.path().to_owned(),
        keys: common::keys(),
        limits: UserLimits::default(),
        cache_bytes: 1 << 20,
    })
    .await
    .unwrap();
    // The roles have found each other: a device is served.
    let _raw = Raw::online(local.gateways()[0], Codec::Json, 1, 11).await;
    let gateways: BTreeSet<u16> = local.gateways().iter().map(|address| address.port()).collect();
    assert_eq!(listening(), gateways);
}
