//! The program in a process of its own, for what only a process can show: starts, signals, exit codes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::{Clients, eventually, system};

/// The program. It derefs to its [`Clients`], and is killed when it is dropped.
pub struct Process {
    child: Child,
    clients: Clients,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    pub(super) fn start(
        directory: &Path,
        number: u32,
        environment: &[(String, String)],
        overrides: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let grpc_address = SocketAddr::from((Ipv4Addr::LOCALHOST, system::free_port()));
        let operations_address = SocketAddr::from((Ipv4Addr::LOCALHOST, system::free_port()));
        let stdout = directory.join(format!("process-{number}.out"));
        let stderr = directory.join(format!("process-{number}.err"));
        let child = Command::new(env!("CARGO_BIN_EXE_identity"))
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().cloned())
            .env("IDENTITY_LISTEN", grpc_address.to_string())
            .env("IDENTITY_OPERATIONS_LISTEN", operations_address.to_string())
            .envs(overrides.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .expect("the program");
        Self {
            child,
            clients: Clients::new(grpc_address, operations_address),
            stdout,
            stderr,
        }
    }

    /// Waits until the health says that the server serves. Fails at once if the process ends instead.
    pub async fn wait_until_serving(&mut self) {
        let (clients, child) = (self.clients.clone(), &mut self.child);
        let ended = eventually("the process serves", async || {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(Some(status));
            }
            clients.is_serving().await.then_some(None)
        })
        .await;
        if let Some(status) = ended {
            panic!("the process ended with {status}:\n{}", self.output());
        }
    }

    /// Ends the process as a crash would.
    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end (SIGTERM).
    pub fn terminate(&self) {
        assert!(
            system::send_signal(self.child.id(), "TERM"),
            "the process has ended already"
        );
    }

    /// Waits until the process has ended.
    pub async fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process ends", async || child.try_wait().unwrap()).await
    }

    /// Returns what the process has written so far to its standard output.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    /// Returns what the process has written so far to its standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Returns everything the process has written so far.
    pub fn output(&self) -> String {
        self.stdout() + &self.stderr()
    }
}

impl Deref for Process {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
