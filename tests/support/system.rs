//! Ports and signals, for the programs that tests start.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, OnceLock};

use uuid::Uuid;

/// Ports below those that systems give to outgoing connections, one of which could otherwise take the port
/// of a server while it is being restarted.
const FIRST_PORT: u16 = 12_000;
const PORT_COUNT: u16 = 18_000;

/// Finds a port of 127.0.0.1 that nobody listens on. None is returned twice by one process, and processes
/// begin at different ones.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let [first, second, ..] = Uuid::new_v4().into_bytes();
        AtomicU16::new(u16::from_be_bytes([first, second]) % PORT_COUNT)
    });
    (0..PORT_COUNT)
        .map(|_| FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % PORT_COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// Sends a signal (`TERM`, `QUIT`, …) to a process, and says whether it was there to get it.
pub fn send_signal(process: u32, signal: &str) -> bool {
    // A shell has `kill` built in; the program of that name is not on every machine.
    Command::new("sh")
        .args([
            "-c",
            "kill -s \"$1\" \"$2\" 2>/dev/null",
            "sh",
            signal,
            &process.to_string(),
        ])
        .status()
        .expect("sh")
        .success()
}

/// Returns the program `identity`. Cargo builds it for the tests of its own package; those of another find it beside
/// their own, where `cargo test` for all packages has put it, or have it built there.
pub fn identity_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM
        .get_or_init(|| option_env!("CARGO_BIN_EXE_identity").map_or_else(program_beside, PathBuf::from))
}

fn program_beside() -> PathBuf {
    let test = env::current_exe().unwrap();
    // target/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("the folder of a profile");
    let program = folder.join(format!("identity{}", env::consts::EXE_SUFFIX));
    if !program.exists() {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") => "dev",
            Some(name) => name,
            None => panic!("{} is not the folder of a profile", folder.display()),
        };
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--package",
                "identity",
                "--bin",
                "identity",
                "--profile",
                profile,
            ])
            .arg("--target-dir")
            .arg(folder.parent().expect("the folder of the target"))
            .status();
        assert!(status.expect("cargo").success(), "identity cannot be built");
    }
    program
}
