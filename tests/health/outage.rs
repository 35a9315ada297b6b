//! A database that can be taken away and given back.

use std::fs;
use std::path::PathBuf;

use crate::support::{Backend, Proxy, Test, TestServer};

/// The way to take the database of a test away: on PostgreSQL the network between it and the server, on
/// SQLite the file.
pub enum Outage {
    Network { proxy: Proxy, database_url: String },
    File { path: PathBuf, database_url: String },
}

impl Outage {
    /// Prepares it; the database is still there.
    pub async fn of(t: &Test) -> Self {
        match t.backend {
            Backend::Postgres => {
                let proxy = Proxy::start(t.database_address()).await;
                let database_url = t.database_url_via(proxy.address());
                Self::Network { proxy, database_url }
            }
            Backend::Sqlite => {
                let database_url = t.database_url();
                let path = PathBuf::from(database_url.strip_prefix("sqlite://").unwrap());
                Self::File { path, database_url }
            }
        }
    }

    /// Returns the `DATABASE_URL` of a server that shall notice.
    pub fn database_url(&self) -> &str {
        match self {
            Self::Network { database_url, .. } | Self::File { database_url, .. } => database_url,
        }
    }

    /// Starts a server that will notice, and waits until it serves.
    pub async fn start_server(&self, t: &Test, overrides: &[(&str, &str)]) -> TestServer {
        let own = [("DATABASE_URL", self.database_url())];
        t.start_with(&[own.as_slice(), overrides].concat()).await
    }

    /// Takes the database away.
    pub fn begin(&self) {
        match self {
            Self::Network { proxy, .. } => proxy.refuse(),
            Self::File { path, .. } => fs::rename(path, path.with_extension("away")).unwrap(),
        }
    }

    /// Gives it back.
    pub fn end(&self) {
        match self {
            Self::Network { proxy, .. } => proxy.forward(),
            Self::File { path, .. } => fs::rename(path.with_extension("away"), path).unwrap(),
        }
    }
}
