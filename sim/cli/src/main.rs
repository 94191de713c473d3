//! `squall`: runs scenarios, sweeps seeds, shrinks failures, proves determinism, checks scenario files.
//!
//! `exit` says with which status each ends, `output` what becomes of it where nothing can be written.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod about;
mod bugs;
mod check;
mod child;
mod compare;
mod exit;
mod explain;
mod input;
mod load;
mod merge;
mod output;
mod overwrite;
mod progress;
mod report;
mod run;
mod shrink;
mod source;
mod stop;
mod sweep;
mod time_left;
mod trend;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A million connections are millions of small objects: this allocator packs and frees them faster than the C library's,
/// and knows for whom.
#[global_allocator]
static ALLOCATOR: squall_ledger::Ledger = squall_ledger::Ledger;

/// A real-time chat system, and the deterministic simulator that tests it.
#[derive(Parser)]
#[command(name = "squall", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one scenario and judge every message.
    Run(run::Args),
    /// Run a scenario on real sockets, against a running server, and judge every message.
    Load(Box<load::Args>),
    /// Run files or folders of scenarios with many seeds, in processes of their own.
    Sweep(sweep::Args),
    /// Reduce a failing scenario to the smallest one that still violates the same property.
    Shrink(shrink::Args),
    /// Run a scenario twice, in two processes, one of them stopped now and then, and compare every byte.
    VerifyDeterminism(verify::Args),
    /// Tell what happened to a message of a recorded run, and why.
    Explain(explain::Args),
    /// Make the page of a run or a sweep again from its record.
    Report(report::Args),
    /// Compare two builds, or two scenarios, by the records of their runs: what got worse, what better.
    Compare(compare::Args),
    /// Make one record of many: of a sweep, of shards on several machines.
    Merge(merge::Args),
    /// Show how figures went from commit to commit, by stored records.
    Trend(trend::Args),
    /// List the bugs that can be planted, or plant each and see that it is caught.
    Bugs(bugs::Args),
    /// Validate scenario files.
    Check(check::Args),
    /// Print the JSON Schema of scenario files.
    Schema,
}

fn main() -> ExitCode {
    squall_ledger::tune();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::ending(help(&error)).into(),
    };
    let exit = match cli.command {
        Command::Run(args) => run::main(args),
        Command::Load(args) => load::main(*args),
        Command::Sweep(args) => sweep::main(args),
        Command::Shrink(args) => shrink::main(args),
        Command::VerifyDeterminism(args) => verify::main(args),
        Command::Explain(args) => explain::main(args),
        Command::Report(args) => report::main(args),
        Command::Compare(args) => compare::main(args),
        Command::Merge(args) => merge::main(args),
        Command::Trend(args) => trend::main(args),
        Command::Bugs(args) => bugs::main(args),
        Command::Check(args) => check::main(args),
        Command::Schema => {
            output::line!("{}", squall_scenarios::json_schema());
            exit::Exit::Pass
        }
    };
    output::ending(exit).into()
}

/// Prints what was asked for, or what is wrong with the command line.
fn help(error: &clap::Error) -> exit::Exit {
    let printed = error.print();
    match error.use_stderr() {
        true => exit::Exit::BadInput,
        false => {
            output::written(printed);
            exit::Exit::Pass
        }
    }
}
