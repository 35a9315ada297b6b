//! The databases that a bench is run on: a file of SQLite, and a PostgreSQL server of the bench's own that keeps what it
//! has acknowledged, as one in production does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use super::{PostgresCluster, postgres, settings, sql, system};

/// What differs from the servers of tests, which forget everything in a power failure: these are PostgreSQL's defaults.
const DURABLE: [(&str, &str); 3] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "128MB"),
];

/// 32 bytes that nobody else should use.
pub const MASTER_KEY: &str = "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IG9ubHk=";

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A database, and a folder in which its servers run.
#[derive(Debug, Clone)]
pub struct Database {
    pub kind: Kind,
    pub url: String,
    pub directory: PathBuf,
}

/// Measures on each database that is wanted and there, one after the other.
pub async fn on_each_database(mut measure: impl AsyncFnMut(Database)) {
    if settings::is_wanted("sqlite") {
        let folder = tempfile::tempdir().expect("a folder");
        measure(Database::in_file(folder.path(), "bench")).await;
    }
    if settings::is_wanted("postgres") {
        let Some(cluster) = start_postgres().await else {
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        measure(Database::on_server(cluster.url("postgres"), folder.path())).await;
    }
}

/// Starts a PostgreSQL server, if its programs are here; says so if they are not.
pub async fn start_postgres() -> Option<PostgresCluster> {
    if let Err(reason) = postgres::is_available() {
        println!("\nnot measured on PostgreSQL: {reason}");
        return None;
    }
    Some(PostgresCluster::start(&DURABLE).await)
}

impl Database {
    /// Returns a file in a folder.
    pub fn in_file(folder: &Path, name: &str) -> Self {
        Self {
            kind: Kind::Sqlite,
            url: format!("sqlite://{}", folder.join(format!("{name}.db")).display()),
            directory: folder.to_owned(),
        }
    }

    /// Returns a database of a server.
    pub fn on_server(url: String, folder: &Path) -> Self {
        Self {
            kind: Kind::Postgres,
            url,
            directory: folder.to_owned(),
        }
    }

    /// Returns another database of the same kind, in the same place, in which there is nothing yet.
    pub async fn another(&self, name: &str) -> Self {
        match self.kind {
            Kind::Sqlite => Self::in_file(&self.directory, name),
            Kind::Postgres => {
                self.execute(&format!("CREATE DATABASE {name}")).await;
                let mut url = url::Url::parse(&self.url).expect("an address");
                url.set_path(name);
                Self::on_server(url.into(), &self.directory)
            }
        }
    }

    /// Returns what people call it.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "SQLite",
            Kind::Postgres => "PostgreSQL",
        }
    }

    /// Executes statements past the service.
    pub async fn execute(&self, statements: &str) {
        let outcome = match self.kind {
            Kind::Sqlite => sql::execute_on_sqlite(&self.url, statements).await,
            Kind::Postgres => sql::query_postgres(&self.url, statements).await.map(drop),
        };
        outcome.expect(statements);
    }

    /// Reads the files of the database from beginning to end, so that they are in the machine's cache of files. There are
    /// machines whose kernel takes out of it what nobody has asked for in half a minute, however much memory is free.
    pub async fn read_files(&self) {
        let files = self.files().await;
        let read = move || {
            for file in files {
                let mut opened = File::open(&file).expect("a file of the database");
                io::copy(&mut opened, &mut io::sink()).expect("what is in it");
            }
        };
        spawn_blocking(read).await.expect("the files");
    }

    async fn files(&self) -> Vec<PathBuf> {
        match self.kind {
            Kind::Sqlite => {
                let path = self.url.strip_prefix("sqlite://").expect("a file");
                vec![path.into()]
            }
            Kind::Postgres => {
                let question = "SELECT current_setting('data_directory') || '/base/' || oid \
                                FROM pg_database WHERE datname = current_database()";
                let rows = sql::query_postgres(&self.url, question).await.expect(question);
                let folder = rows[0][0].clone().expect("a folder");
                let entries = fs::read_dir(folder).expect("the files of the database");
                entries.map(|entry| entry.expect("a file").path()).collect()
            }
        }
    }

    /// Prepares the program as it is released, with what every command needs.
    pub fn program(&self) -> Command {
        let mut command = match std::env::var_os("IDENTITY_BENCH_PROGRAM") {
            Some(other) => Command::new(other),
            None => Command::new(system::identity_program()),
        };
        command
            .current_dir(&self.directory)
            .env_clear()
            .env("DATABASE_URL", &self.url)
            .env("IDENTITY_MASTER_KEY", MASTER_KEY)
            .env("IDENTITY_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Runs a command of the program to its end, and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self
            .program()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .output()
            .expect("the program");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}
