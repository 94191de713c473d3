//! Standard output and standard error, which may be closed or full: neither is a reason to panic.
//!
//! | what cannot be written | then |
//! |---|---|
//! | standard output, since whoever read it has gone away (`squall … \| head`) | they have what they wanted: the status is the verdict's |
//! | standard output, for any other reason | what it should have held is lost: said on standard error, and the status is 2 |
//! | standard error | there is nobody to tell: the command goes on, and its status is the verdict's |
//!
//! **Invariant:** nothing else in this crate writes to either; `main.rs` denies the macros that would.

use crate::exit::Exit;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Something that standard output should have held is lost.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes a text to standard output.
pub fn text(text: &str) {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Takes note of how a write to standard output went.
pub fn written(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        complaint!("cannot write to standard output: {error}; what it should have held is lost");
    }
}

/// Writes a text to standard error, as far as anybody takes it.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// How a command ends that would have ended so, by what became of its output.
pub fn ending(exit: Exit) -> Exit {
    if LOST.load(Ordering::Relaxed) { Exit::Unfinished } else { exit }
}

/// Writes a line to standard output, like `println!`.
macro_rules! line {
    ($($argument:tt)*) => {
        $crate::output::text(&format!("{}\n", format_args!($($argument)*)))
    };
}

/// Writes a line to standard error, like `eprintln!`.
macro_rules! complaint {
    ($($argument:tt)*) => {
        $crate::output::complain(&format!("{}\n", format_args!($($argument)*)))
    };
}
pub(crate) use {complaint, line};
