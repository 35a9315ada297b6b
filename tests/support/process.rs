//! The program in a process of its own, for what only a process can show: starts, signals, exit codes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::{Clients, eventually, system};

/// The program. It derefs to its [`Clients`], and is killed when it is dropped.
pub struct Process {
    program: Program,
    child: Child,
    clients: Clients,
}

/// How the program is started.
struct Program {
    command: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Program {
    /// Starts it. What it writes comes after what it wrote before.
    fn start(&self) -> Child {
        let append = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        Command::new(&self.command[0])
            .args(&self.command[1..])
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(append(&self.stdout))
            .stderr(append(&self.stderr))
            .spawn()
            .expect("the program")
    }
}

impl Process {
    pub(super) fn start(
        directory: &Path,
        number: u32,
        descriptors: Option<u32>,
        environment: &[(String, String)],
        overrides: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let grpc_address = SocketAddr::from((Ipv4Addr::LOCALHOST, system::free_port()));
        let operations_address = SocketAddr::from((Ipv4Addr::LOCALHOST, system::free_port()));
        let own = [
            ("IDENTITY_LISTEN", grpc_address.to_string()),
            ("IDENTITY_OPERATIONS_LISTEN", operations_address.to_string()),
        ];
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap_or_default());
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let variables = std::iter::once(path)
            .chain(environment.iter().map(|(name, value)| pair(name, value)))
            .chain(own.iter().map(|(name, value)| pair(name, value)))
            .chain(overrides.iter().map(|(name, value)| pair(name, value)))
            .collect();
        let mut command = Vec::new();
        if let Some(count) = descriptors {
            let count = count.to_string();
            let limited = ["sh", "-c", "ulimit -n \"$0\" && exec \"$@\"", &count];
            command.extend(limited.map(OsString::from));
        }
        command.push(system::identity_program().into());
        command.extend(arguments.iter().map(OsString::from));
        let program = Program {
            command,
            variables,
            directory: directory.to_owned(),
            stdout: directory.join(format!("process-{number}.out")),
            stderr: directory.join(format!("process-{number}.err")),
        };
        Self {
            child: program.start(),
            program,
            clients: Clients::new(grpc_address, operations_address),
        }
    }

    /// Starts the program again in the same place, after it has ended.
    pub fn start_again(&mut self) {
        assert!(
            self.child.try_wait().unwrap().is_some(),
            "the process has not ended"
        );
        self.child = self.program.start();
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the operations server says that the server is healthy, where gRPC needs TLS.
    pub async fn wait_until_healthy(&self) {
        eventually("the process is healthy", async || {
            let is_there = tokio::net::TcpStream::connect(self.operations_address())
                .await
                .is_ok();
            is_there && self.http_get("/health").await.0 == 200
        })
        .await;
    }

    /// Asks the process to read its files again (SIGHUP).
    pub fn hang_up(&self) {
        assert!(
            system::send_signal(self.child.id(), "HUP"),
            "the process has ended already"
        );
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
        fs::read_to_string(&self.program.stdout).unwrap()
    }

    /// Returns what the process has written so far to its standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.program.stderr).unwrap()
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
