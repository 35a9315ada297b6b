//! A process that cleans up after a cluster, also when the tests are killed.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Reads the id of the running server, an empty line when there is none. When the input ends, because the
/// cluster or the process that holds it is gone, ends the server and removes the folder. What a dying server
/// still writes can get in the way of that for a moment, and a server whose parent died is not always reaped:
/// hence the bounded loops.
const SCRIPT: &str = r#"
while read -r line; do server=$line; done
if [ -n "$server" ]; then kill -s QUIT "$server"; fi
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    if [ -z "$server" ] || ! kill -s 0 "$server"; then break; fi
    sleep 0.2
done
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    if rm -rf "$1"; then break; fi
    sleep 0.2
done
"#;

/// Cleans up when it is dropped, or when this process ends in any other way.
pub struct Keeper {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Keeper {
    /// Begins to keep a folder.
    pub fn of(directory: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C meant for the tests must not end it before it has done its work.
            .process_group(0)
            .spawn()
            .expect("sh");
        let input = shell.stdin.take();
        Self { shell, input }
    }

    /// Tells which server to end, or that there is none.
    pub fn watch(&mut self, server: Option<u32>) {
        let line = server.map(|id| id.to_string()).unwrap_or_default();
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}
