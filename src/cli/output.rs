//! What commands say to the person who runs them.

/// Prints a line of what the command was asked for.
#[expect(clippy::print_stdout, reason = "the output of a command")]
pub(super) fn say(line: &str) {
    println!("{line}");
}

/// Prints a line about what is wrong, or for the eyes of a person only.
#[expect(clippy::print_stderr, reason = "the complaint of a command")]
pub(super) fn complain(line: &str) {
    eprintln!("{line}");
}
