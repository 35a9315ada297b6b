//! What the kernel says about processes: their memory, and the time of the cores that they used.

use std::fs;
use std::process::{Child, Command, Stdio};

const KIBIBYTES_PER_MEBIBYTE: f64 = 1024.0;

/// Ends a process if this one is gone before it: an interrupted bench leaves nothing behind.
pub struct Guard(Child);

impl Guard {
    /// Begins to guard a process.
    pub fn of(process: u32) -> Self {
        // Reading ends when the last holder of the pipe does, which is us.
        let script = "cat > /dev/null; kill -s TERM \"$0\" 2> /dev/null";
        let shell = Command::new("sh")
            .args(["-c", script, &process.to_string()])
            .stdin(Stdio::piped())
            .spawn();
        Self(shell.expect("sh"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the resident memory of a process.
pub fn resident_mebibytes(process: u32) -> f64 {
    mebibytes_in(process, "status", "VmRSS:").expect("VmRSS")
}

/// Returns the most resident memory that a process has had.
pub fn peak_mebibytes(process: u32) -> f64 {
    mebibytes_in(process, "status", "VmHWM:").expect("VmHWM")
}

/// Returns the resident memory of a process, in which pages that several processes share count once for all of them; the
/// whole of them where the kernel does not say.
pub fn proportional_mebibytes(process: u32) -> f64 {
    mebibytes_in(process, "smaps_rollup", "Pss:").unwrap_or_else(|| resident_mebibytes(process))
}

/// Returns a process and all that it has started, and those have, as far as they run.
pub fn family(process: u32) -> Vec<u32> {
    let mut members = vec![process];
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        members.extend(children(parent));
        next += 1;
    }
    members
}

fn children(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten();
    let lists = tasks
        .flatten()
        .map(|task| fs::read_to_string(task.path().join("children")));
    let text: String = lists.flatten().collect::<Vec<_>>().join(" ");
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Returns how long a process has occupied cores.
pub fn processor_seconds(process: u32) -> f64 {
    /// USER_HZ, which is the same on every Linux that has these cores.
    const TICKS_PER_SECOND: f64 = 100.0;
    /// The fields of user and system time, counted from the state of the process.
    const FIELDS: [usize; 2] = [11, 12];
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the figures of the process");
    let (_, rest) = stat.rsplit_once(')').expect("the name of the process");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = FIELDS.map(|index| fields[index].parse::<f64>().expect("a number"));
    ticks.iter().sum::<f64>() / TICKS_PER_SECOND
}

/// Returns how many descriptors a process may have.
pub fn descriptors(process: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("the limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let mut words = line.expect("a line").split_whitespace().skip(3);
    words.next().expect("a number").to_owned()
}

fn mebibytes_in(process: u32, file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes / KIBIBYTES_PER_MEBIBYTE)
}
