//! The same load against `chatd`, ejabberd and NATS JetStream. `measure` starts the servers and calls this; `README.md` says what the figures mean.
//!
//! One thread does all of the clients' work, so that on two cores a server always has one.

mod disk;
mod drive;
mod idle;
mod kill;
mod load;
mod meter;
mod record;
mod servers;
mod table;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use meter::Meter;
use record::{Measured, Record};
use servers::ejabberd::Ejabberd;
use servers::nats::Nats;
use servers::{Server, squall::Squall};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "The same load against chatd, ejabberd and NATS JetStream; see README.md")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures one thing of a running server; prints a line of JSON
    Measure {
        #[command(flatten)]
        server: ServerArgs,
        #[command(subcommand)]
        what: What,
    },
    /// The disk's own rate, in this directory; prints a line of JSON
    Disk { directory: PathBuf },
    /// The tables of such lines
    Table { file: PathBuf },
}

#[derive(Args)]
struct ServerArgs {
    #[arg(long)]
    server: Kind,
    /// ADDRESS:PORT
    #[arg(long)]
    address: String,
    /// The secret of chatd
    #[arg(long, default_value = "")]
    secret: String,
    /// The server's processes; their children belong to it
    #[arg(long = "pid", value_name = "PID", required = true)]
    pids: Vec<u32>,
    /// Where the server's data is: its disk's flushes are counted
    #[arg(long)]
    data: PathBuf,
    /// The number of the first pair: pairs that were there before have a past
    #[arg(long, default_value_t = 0)]
    first_pair: u64,
    /// How long it is measured
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Squall,
    Ejabberd,
    Nats,
}

#[derive(Subcommand)]
enum What {
    /// Creates what the server needs before anybody connects
    Prepare,
    /// Pairs, each with so many messages in flight
    Load { pairs: u64, window: u64 },
    /// Connections that do nothing
    Idle { connections: u64 },
    /// As load, and kills the server at the end; writes what was acked to a file
    Kill { pairs: u64, window: u64, told: PathBuf },
    /// Looks for what was acked in the restarted server
    Audit { told: PathBuf },
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Cli::parse().task {
        Task::Disk { directory } => say("disk", Measured::Disk(disk::run(&directory, Duration::from_secs(1))?)),
        Task::Table { file } => table::print(&file),
        Task::Measure { server, what } => runtime.block_on(async {
            let (address, secret) = (server.address.clone(), server.secret.clone());
            match server.server {
                Kind::Squall => measure("chatd", Squall { address, secret }, &server, what).await,
                Kind::Ejabberd => measure("ejabberd", Ejabberd { address }, &server, what).await,
                Kind::Nats => measure("NATS", Nats { address }, &server, what).await,
            }
        }),
    }
}

async fn measure<S: Server>(name: &str, server: S, args: &ServerArgs, what: What) -> Result<()> {
    let (server, meter) = (Arc::new(server), Meter::new(args.pids.clone(), &args.data)?);
    let (first, hold) = (args.first_pair, Duration::from_secs(args.seconds));
    let measured = match what {
        What::Prepare => return server.prepare().await,
        What::Kill { pairs, window, told } => {
            let all = kill::load_and_kill(&server, &meter, first, (pairs, window), hold).await?;
            return Ok(fs::write(told, serde_json::to_vec(&all)?)?);
        }
        What::Load { pairs, window } => {
            Measured::Load(load::run(&server, &meter, first, (pairs, window), hold).await?)
        }
        What::Idle { connections } => Measured::Idle(idle::run(&server, &meter, first, connections, hold).await?),
        What::Audit { told } => {
            Measured::Lost(kill::audit(&server, &serde_json::from_slice::<Vec<_>>(&fs::read(told)?)?).await?)
        }
    };
    say(name, measured)
}

fn say(server: &str, measured: Measured) -> Result<()> {
    println!("{}", serde_json::to_string(&Record { server: server.to_owned(), measured })?);
    Ok(())
}
