//! A chat server with a bug that is planted on purpose, to show that the checks find it on real sockets as well. For tests: the server that
//! ships has none, and no way to plant one.
//!
//! `planted-chatd --tokens` makes tokens as an app's backend would: for a line `user device`, a line with its token.
//!
//! `planted-chatd --data DIR [--plant NAME] [--listen ADDRESS] [--gateways N] [--shards N] [--secret TEXT]`; `squall bugs` lists the names.

use clap::Parser;
use squall_core::rate::UserLimits;
use squall_protocol::token::{Claims, Issuer, KeySet};
use squall_protocol::{DeviceId, UserId, limits};
use squall_server::local::{Local, LocalConfig};
use squall_world::plants;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A time that no test outlives.
const AFTER_EVERY_TEST_S: u64 = 1 << 40;

#[derive(Parser)]
struct Args {
    #[arg(long, required_unless_present = "tokens")]
    data: Option<PathBuf>,
    #[arg(long)]
    tokens: bool,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, default_value_t = 2)]
    gateways: u16,
    #[arg(long, default_value_t = 2)]
    shards: u32,
    #[arg(long, default_value = "planted")]
    secret: String,
    #[arg(long)]
    plant: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if let Some(name) = &args.plant {
        let bug = plants::find(name).ok_or_else(|| format!("no bug is named {name}; squall bugs lists them"))?;
        squall_core::plant::plant(bug.plant);
    }
    if args.tokens {
        return make_tokens(&Issuer::of_secret(args.secret));
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(args))
}

fn make_tokens(issuer: &Issuer) -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lines() {
        let line = line?;
        let (user, device) = line.split_once(' ').ok_or("a line is `user device`")?;
        let (user, device) = (UserId(user.parse()?), DeviceId(device.parse()?));
        println!(
            "{}",
            issuer.issue(&Claims { user, device, expires_s: AFTER_EVERY_TEST_S, not_before_s: None }).as_str()
        );
    }
    Ok(())
}

async fn serve(args: Args) -> Result<(), Box<dyn Error>> {
    let mut local = Local::start(LocalConfig {
        listen: args.listen,
        gateways: args.gateways,
        shards: args.shards,
        presences: 1,
        data: args.data.unwrap_or_default(),
        keys: KeySet::of_secret(args.secret).into(),
        limits: UserLimits::default(),
        cache_bytes: limits::STORAGE_CACHE_BYTES,
    })
    .await?;
    for address in local.gateways() {
        println!("listening on ws://{address}");
    }
    Err(local.ended().await.into())
}
