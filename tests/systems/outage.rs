//! A database that goes away and comes back: the network to PostgreSQL, the file of SQLite.

use std::fs;
use std::path::PathBuf;

use crate::support::{Backend, Proxy, Test};

/// The means to take a test's database away.
pub enum Outage {
    /// PostgreSQL is reached through this.
    Network(Proxy),
    /// SQLite is this file.
    File(PathBuf),
}

impl Outage {
    /// Prepares an outage. Returns the `DATABASE_URL` that is affected by it, too.
    pub async fn prepare(t: &Test) -> (Self, String) {
        match t.backend {
            Backend::Postgres => {
                let proxy = Proxy::start(t.database_address()).await;
                let url = t.database_url_via(proxy.address());
                (Self::Network(proxy), url)
            }
            Backend::Sqlite => {
                let url = t.database_url();
                let path = url.strip_prefix("sqlite://").unwrap();
                (Self::File(PathBuf::from(path)), url)
            }
        }
    }

    /// Takes the database away.
    pub fn begin(&self) {
        match self {
            Self::Network(proxy) => proxy.refuse(),
            Self::File(path) => fs::rename(path, path.with_extension("away")).unwrap(),
        }
    }

    /// Brings the database back.
    pub fn end(&self) {
        match self {
            Self::Network(proxy) => proxy.forward(),
            Self::File(path) => fs::rename(path.with_extension("away"), path).unwrap(),
        }
    }
}
