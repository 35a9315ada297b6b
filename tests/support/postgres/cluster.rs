//! A throwaway cluster.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use url::Url;

use super::keeper::Keeper;
use super::programs::{Programs, give_to_postgres};
use super::skip;
use crate::support::sql::{self, TextRow};
use crate::support::{eventually, system};

/// How long a start is repeated: after a crash the old processes hold on to their memory for a moment.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The pause before a start is repeated.
const START_PAUSE: Duration = Duration::from_millis(100);

/// The settings of every cluster. Nothing here needs to survive a power failure.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "300"),
    ("shared_buffers", "32MB"),
];

/// A PostgreSQL server of a test's own. Its port stays the same however often it is restarted; it ends, and
/// its folder goes, when it is dropped or when the tests are killed.
pub struct PostgresCluster {
    programs: &'static Programs,
    directory: PathBuf,
    port: u16,
    password: Option<String>,
    state: Mutex<State>,
}

struct State {
    options: Vec<(String, String)>,
    server: Option<Child>,
    keeper: Keeper,
}

impl PostgresCluster {
    /// Starts a cluster with some settings of `postgresql.conf`. Who connects needs no password.
    pub async fn start(options: &[(&str, &str)]) -> Self {
        Self::start_or_skip(options, None).await
    }

    /// Starts a cluster that asks everyone who connects over TCP for this password (SCRAM).
    pub async fn start_with_password(password: &str) -> Self {
        Self::start_or_skip(&[], Some(password)).await
    }

    async fn start_or_skip(options: &[(&str, &str)], password: Option<&str>) -> Self {
        if let Err(reason) = Programs::find() {
            skip(reason);
        }
        Self::try_start(options, password)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) async fn try_start(
        options: &[(&str, &str)],
        password: Option<&str>,
    ) -> Result<Self, String> {
        let cluster = Self::without_data(Programs::find()?, password);
        cluster.state().options.extend(
            options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        cluster.initialise().await?;
        cluster.start_server().await?;
        Ok(cluster)
    }

    /// Makes a folder in which there is nothing yet.
    fn without_data(programs: &'static Programs, password: Option<&str>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("identity-postgres-")
            .tempdir()
            .unwrap();
        let keeper = Keeper::of(folder.path());
        // From here on it is the keeper that removes the folder.
        let directory = folder.keep();
        give_to_postgres(&directory);
        Self {
            programs,
            port: system::free_port(),
            password: password.map(str::to_owned),
            state: Mutex::new(State {
                options: Vec::new(),
                server: None,
                keeper,
            }),
            directory,
        }
    }

    async fn initialise(&self) -> Result<(), String> {
        // The order of a language, as databases have it in production, finds the query that counts on the
        // order of bytes.
        let icu = ["--locale-provider=icu", "--icu-locale=en-US", "--locale=C"];
        let without_icu = match self.programs.version {
            15.. => run(self.initdb(&icu)).await.is_err(),
            _ => true,
        };
        if without_icu {
            run(self.initdb(&["--no-locale"])).await?;
        }
        Ok(())
    }

    fn initdb(&self, locale: &[&str]) -> Command {
        let mut command = self.programs.command("initdb", &self.directory);
        command
            .args([
                "--username=postgres",
                "--encoding=UTF8",
                "--no-sync",
                "--auth-local=trust",
            ])
            .args(locale)
            .arg("--pgdata")
            .arg(self.data_dir());
        match &self.password {
            None => command.arg("--auth-host=trust"),
            Some(password) => {
                let file = self.directory.join("password");
                write_for_postgres(&file, password);
                command.arg("--auth-host=scram-sha-256").arg("--pwfile").arg(file)
            }
        };
        command
    }

    /// Starts the server and waits until it answers.
    async fn start_server(&self) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            self.spawn_server();
            let is_running = eventually("PostgreSQL answers", async || {
                let has_ended = self.state().server.as_mut()?.try_wait().unwrap().is_some();
                if has_ended {
                    return Some(false);
                }
                self.psql("postgres", "SELECT 1").await.is_ok().then_some(true)
            })
            .await;
            if is_running {
                return Ok(());
            }
            self.take_server();
            if begin.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.log_file()).unwrap();
                return Err(format!("PostgreSQL does not start:\n{log}"));
            }
            sleep(START_PAUSE).await;
        }
    }

    fn spawn_server(&self) {
        let mut state = self.state();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let mut command = self.programs.command("postgres", &self.directory);
        command.arg("-D").arg(self.data_dir());
        command.args(["-p", &self.port.to_string()]);
        command.arg("-k").arg(&self.directory);
        for (name, value) in SETTINGS {
            command.args(["-c", &format!("{name}={value}")]);
        }
        for (name, value) in &state.options {
            command.args(["-c", &format!("{name}={value}")]);
        }
        let server = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("postgres");
        state.keeper.watch(Some(server.id()));
        state.server = Some(server);
    }

    /// Takes the server out of the hands of the keeper.
    fn take_server(&self) -> Option<Child> {
        let mut state = self.state();
        let server = state.server.take()?;
        state.keeper.watch(None);
        Some(server)
    }

    /// Ends the server at once (an immediate shutdown), with the connections to it.
    pub async fn stop(&self) {
        let mut server = self.take_server().expect("a running server");
        spawn_blocking(move || {
            system::send_signal(server.id(), "QUIT");
            server.wait().unwrap();
        })
        .await
        .unwrap();
    }

    /// Ends the postmaster as a crash would (SIGKILL).
    pub async fn kill_postmaster(&self) {
        let mut server = self.take_server().expect("a running server");
        spawn_blocking(move || {
            server.kill().unwrap();
            server.wait().unwrap();
        })
        .await
        .unwrap();
    }

    /// Starts the server again after it was stopped or killed, on the same port.
    pub async fn start_again(&self) {
        assert!(self.state().server.is_none(), "the server is running");
        self.start_server()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Makes the server offer TLS with this certificate; connections without TLS stay possible. Restarts it.
    pub async fn enable_tls(&self, certificate_pem: &str, key_pem: &str) {
        write_for_postgres(&self.data_dir().join("server.crt"), certificate_pem);
        write_for_postgres(&self.data_dir().join("server.key"), key_pem);
        self.state().options.push(("ssl".to_owned(), "on".to_owned()));
        self.stop().await;
        self.start_again().await;
    }

    /// Starts a streaming replica of this cluster, as it is now and with what will be written.
    pub async fn basebackup_replica(&self) -> Self {
        let replica = Self::without_data(self.programs, self.password.as_deref());
        replica.state().options.clone_from(&self.state().options);
        let mut command = self.programs.command("pg_basebackup", &replica.directory);
        command.arg("--host").arg(&self.directory);
        command.args(["--port", &self.port.to_string(), "--username=postgres"]);
        command.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        command.arg("--pgdata").arg(replica.data_dir());
        run(command).await.unwrap_or_else(|error| panic!("{error}"));
        replica
            .start_server()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        replica
    }

    /// Executes statements as the superuser, over a socket that needs no password, and returns their rows.
    pub async fn psql(&self, database: &str, statements: &str) -> Result<Vec<TextRow>, String> {
        let socket = self.directory.display();
        let port = self.port;
        let address = format!("host='{socket}' port={port} user=postgres dbname='{database}'");
        sql::query_postgres(&address, statements).await
    }

    /// Returns the `DATABASE_URL` of a database.
    pub fn url(&self, database: &str) -> String {
        let mut url = Url::parse(&format!("postgres://postgres@{}/{database}", self.address())).unwrap();
        url.set_password(self.password.as_deref()).unwrap();
        url.into()
    }

    /// Returns where the server listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Returns the folder with the data and `pg_hba.conf`.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.take_server() {
            system::send_signal(server.id(), "QUIT");
            let _ = server.wait();
        }
    }
}

/// Writes a file that PostgreSQL alone may read, as it wants its key to be.
fn write_for_postgres(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    give_to_postgres(path);
}

/// Runs a program to its end.
async fn run(mut command: Command) -> Result<(), String> {
    let output = spawn_blocking(move || command.stdin(Stdio::null()).output())
        .await
        .unwrap();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
