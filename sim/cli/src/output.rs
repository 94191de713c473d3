//! Standard output, which may be closed or full: neither is a reason to panic.

use std::io::{ErrorKind, Write};

/// Writes a text. Whoever reads may have gone away, which is no error of ours; anything else is told.
pub fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("cannot write to standard output: {error}; what it should have held is lost");
    }
}

/// Writes a line, like `println!`.
macro_rules! line {
    ($($argument:tt)*) => {
        $crate::output::text(&format!("{}\n", format_args!($($argument)*)))
    };
}
pub(crate) use line;
