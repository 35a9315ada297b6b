//! PostgreSQL: the server that tests share, and clusters of their own for those that break things.

mod cluster;
mod keeper;
mod programs;

use std::env;
use std::panic::resume_unwind;

use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

pub use cluster::PostgresCluster;

use super::sql;
use programs::Programs;

/// A panic with this ends a test as ignored rather than failed, for the reason in it.
pub struct Skipped(pub String);

/// Ends the test because this machine lacks what it needs.
fn skip(reason: String) -> ! {
    // Unlike `panic!`, prints nothing.
    resume_unwind(Box::new(Skipped(reason)))
}

/// Returns the server that was given to the tests, if one was.
fn given_server() -> Option<String> {
    env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())
}

/// Says whether the tests must not do without PostgreSQL.
pub fn is_required() -> bool {
    env::var("IDENTITY_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1")
}

/// Returns why there is no PostgreSQL, if there is none.
pub fn is_available() -> Result<(), String> {
    if given_server().is_some() {
        return Ok(());
    }
    Programs::find().map(drop)
}

/// The server that tests share, started by the first that needs it.
enum SharedServer {
    Given(String),
    Own(PostgresCluster),
}

/// Holds a failure to start, too, so that only the first test waits for it.
static SHARED: Mutex<Option<Result<SharedServer, String>>> = Mutex::const_new(None);

/// Returns the address of a database on the shared server.
async fn shared_url(database: &str) -> String {
    let mut shared = SHARED.lock().await;
    if shared.is_none() {
        *shared = Some(match given_server() {
            Some(url) => Ok(SharedServer::Given(url)),
            None => PostgresCluster::try_start(&[], None).await.map(SharedServer::Own),
        });
    }
    match shared.as_ref().unwrap() {
        Ok(SharedServer::Own(cluster)) => cluster.url(database),
        Ok(SharedServer::Given(url)) => {
            let mut url = Url::parse(url).expect("TEST_DATABASE_URL");
            url.set_path(database);
            url.into()
        }
        Err(error) => panic!("{error}"),
    }
}

/// Stops the shared server, if it was started.
pub fn stop_shared_server() {
    drop(SHARED.blocking_lock().take());
}

/// A database on the shared server.
pub struct TestDatabase {
    /// Its address.
    pub url: String,
    name: String,
}

/// The database that administrative statements are sent from.
const ADMINISTRATION: &str = "postgres";

/// Creates an empty database on the shared server.
pub async fn create_database() -> TestDatabase {
    let name = format!("t_{}", Uuid::new_v4().simple());
    administrate(&format!("CREATE DATABASE {name}")).await;
    TestDatabase {
        url: shared_url(&name).await,
        name,
    }
}

impl TestDatabase {
    /// Drops the database with the connections to it.
    pub async fn drop(self) {
        administrate(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn administrate(statement: &str) {
    let url = shared_url(ADMINISTRATION).await;
    sql::query_postgres(&url, statement).await.expect(statement);
}
