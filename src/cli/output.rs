//! What commands say to the person who runs them.
//!
//! A reader that has seen enough (`identity migrate verify | head`) closes the pipe; that is no fault.

use std::io::{Write, stderr, stdout};

/// Prints a line of what the command was asked for.
pub(super) fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Prints a line about what is wrong, or for the eyes of a person only.
pub(super) fn complain(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}
