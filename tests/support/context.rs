//! What a test gets: a database of its own, and the means to start servers on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use identity::clock::ShiftedClock;
use identity::config::{Settings, Sources};
use identity::server::StartError;
use url::Url;

use super::{Process, TestServer, sql};

/// A database that the service supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// SQLite, embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Backend {
    /// Both, in the order in which tests run.
    pub const BOTH: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// Returns what the names of its tests begin with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// The master key of every server in the tests: 32 bytes that nobody else should use.
const MASTER_KEY: &str = "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IG9ubHk=";

/// A test with its database, which is empty: the first server on it applies the migrations.
pub struct Test {
    /// Which database it is.
    pub backend: Backend,
    /// The clock of every in-process server of this test.
    pub clock: Arc<ShiftedClock>,
    directory: PathBuf,
    database_url: String,
    process_count: AtomicU32,
}

impl Test {
    /// Describes a database, and a folder for what is started on it.
    pub fn new(backend: Backend, directory: &Path, database_url: &str) -> Self {
        Self {
            backend,
            clock: Arc::default(),
            directory: directory.to_owned(),
            database_url: database_url.to_owned(),
            process_count: AtomicU32::new(0),
        }
    }

    /// Returns the `DATABASE_URL` of the test's database.
    pub fn database_url(&self) -> String {
        self.database_url.clone()
    }

    /// Returns the `DATABASE_URL` that reaches the database through a proxy. Only for PostgreSQL.
    pub fn database_url_via(&self, proxy: SocketAddr) -> String {
        assert_eq!(
            self.backend,
            Backend::Postgres,
            "SQLite is not reached over a network"
        );
        let mut url = Url::parse(&self.database_url).unwrap();
        url.set_ip_host(proxy.ip()).unwrap();
        url.set_port(Some(proxy.port())).unwrap();
        url.into()
    }

    /// Returns the address of the database server. Only for PostgreSQL.
    pub fn database_address(&self) -> SocketAddr {
        let url = Url::parse(&self.database_url).unwrap();
        let addresses = url
            .socket_addrs(|| Some(5432))
            .expect("the address of a PostgreSQL server");
        addresses[0]
    }

    /// Returns the folder of the test, which is also where its processes run.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns `IDENTITY_DATA_DIR`, which does not exist until a server makes it.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Executes SQL by hand, as an administrator might; several statements are allowed. An error is the text
    /// of the database, which names the constraint.
    pub async fn sql(&self, statements: &str) -> Result<(), String> {
        match self.backend {
            Backend::Sqlite => sql::execute_on_sqlite(&self.database_url, statements).await,
            Backend::Postgres => sql::query_postgres(&self.database_url, statements)
                .await
                .map(drop),
        }
    }

    /// Returns what a query selects: one column named `value`, whatever its type, as text.
    pub async fn sql_values(&self, query: &str) -> Vec<Option<String>> {
        match self.backend {
            Backend::Sqlite => sql::query_sqlite(&self.database_url, query).await.expect(query),
            Backend::Postgres => {
                let rows = sql::query_postgres(&self.database_url, query).await.expect(query);
                rows.into_iter()
                    .map(|mut columns| columns.swap_remove(0))
                    .collect()
            }
        }
    }

    /// Returns the one value that a query selects, which must be in a column named `value`.
    pub async fn sql_value(&self, query: &str) -> Option<String> {
        let values = self.sql_values(query).await;
        assert_eq!(values.len(), 1, "rows of {query}");
        values.into_iter().next().flatten()
    }

    /// Makes every user one who began with a Google account, in SQL: each has one linked. Passwords stay.
    pub async fn begin_with_google(&self) {
        let (id, subject) = match self.backend {
            Backend::Sqlite => ("randomblob(16)", "hex(id)"),
            Backend::Postgres => ("gen_random_uuid()", "id::text"),
        };
        self.sql(&format!(
            "INSERT INTO oauth_accounts (id, user_id, provider, issuer, subject)
             SELECT {id}, id, 'google', 'https://accounts.google.com', {subject} FROM users
             WHERE id NOT IN (SELECT user_id FROM oauth_accounts);
             UPDATE users SET auth_provider = 'google'"
        ))
        .await
        .unwrap();
    }

    /// Returns the variables of a server on this test's database: fast, and on ports of its own choice.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", self.database_url()),
            ("IDENTITY_DATA_DIR", self.data_dir().display().to_string()),
            ("IDENTITY_LISTEN", "127.0.0.1:0".to_owned()),
            ("IDENTITY_OPERATIONS_LISTEN", "127.0.0.1:0".to_owned()),
            ("IDENTITY_MASTER_KEY", MASTER_KEY.to_owned()),
            // Who may call is a matter of the tests about that, which switch it on.
            ("IDENTITY_AUTH", "off".to_owned()),
            ("IDENTITY_BCRYPT_COST", "4".to_owned()),
            ("IDENTITY_DATABASE_POOL_MIN_IDLE", "1".to_owned()),
            ("IDENTITY_HEALTH_INTERVAL", "300ms".to_owned()),
            // A connection that is taken now and then for no reason of the test would disturb those about pools.
            ("IDENTITY_SIGNING_KEY_INTERVAL", "1m".to_owned()),
            ("IDENTITY_SERVICE_TOKEN_INTERVAL", "1m".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Returns the settings of a server on this test's database, with some of them changed. An empty value
    /// unsets a variable.
    pub fn settings(&self, overrides: &[(&str, &str)]) -> Settings {
        let environment = self.environment();
        let pairs: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(overrides.iter().copied())
            .collect();
        Settings::read(&Sources::from_pairs(&pairs)).expect("settings")
    }

    /// Starts a server in this process and waits until it serves.
    pub async fn start(&self) -> TestServer {
        self.start_with(&[]).await
    }

    /// Starts a server with some settings changed and waits until it serves and has nothing to do by itself.
    pub async fn start_with(&self, overrides: &[(&str, &str)]) -> TestServer {
        self.start_with_clock(overrides, Arc::clone(&self.clock)).await
    }

    /// Starts a server on a machine with a clock of its own, and waits until it serves.
    pub async fn start_with_clock(
        &self,
        overrides: &[(&str, &str)],
        clock: Arc<ShiftedClock>,
    ) -> TestServer {
        let launched = TestServer::launch(self.settings(overrides), clock).await;
        let mut server = launched.expect("the server starts");
        let clients = (*server).clone();
        tokio::select! {
            () = clients.wait_until_serving() => {}
            error = server.failed() => panic!("the server does not start: {error}"),
        }
        clients.wait_until_settled().await;
        server
    }

    /// Starts a server without waiting until it serves, which may never be: see [`TestServer::failed`].
    pub async fn launch(&self, overrides: &[(&str, &str)]) -> Result<TestServer, StartError> {
        TestServer::launch(self.settings(overrides), Arc::clone(&self.clock)).await
    }

    /// Starts the program in a process of its own. It sees the variables of [`Test::environment`], free ports,
    /// those given here, and `PATH`.
    pub fn spawn(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Process {
        self.start_process(None, variables, arguments)
    }

    /// The same, with so many descriptors.
    pub fn spawn_with_descriptors(
        &self,
        descriptors: u32,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Process {
        self.start_process(Some(descriptors), variables, arguments)
    }

    fn start_process(
        &self,
        descriptors: Option<u32>,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Process {
        let number = self.process_count.fetch_add(1, Ordering::Relaxed);
        Process::start(
            &self.directory,
            number,
            descriptors,
            &self.environment(),
            variables,
            arguments,
        )
    }

    /// Runs the program to its end. Returns its exit code, standard output and standard error.
    pub async fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
        let mut process = self.spawn(variables, arguments);
        let status = process.wait().await;
        let code = status.code().expect("an exit code rather than a signal");
        (code, process.stdout(), process.stderr())
    }
}
