//! The database: `DATABASE_URL`, `DATABASE_REPLICA_URL`, `IDENTITY_MIGRATE` and
//! `IDENTITY_DATABASE_*` but for the pools.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::Host;
use url::form_urlencoded;

use super::pool::PoolSettings;
use super::variable::{Reader, Variable};

const URL: Variable = Variable::secret(
    "DATABASE_URL",
    "postgres://user:password@host/name?sslmode=… or sqlite://path; identity.db in the data folder if not set",
);
const REPLICA_URL: Variable = Variable::secret(
    "DATABASE_REPLICA_URL",
    "A PostgreSQL streaming replica that reads go to; none if not set",
);
const MIGRATE: Variable = Variable::new(
    "IDENTITY_MIGRATE",
    "on",
    "Whether the server applies pending migrations when it starts (on or off)",
);
const STATEMENT_TIMEOUT: Variable = Variable::new(
    "IDENTITY_DATABASE_STATEMENT_TIMEOUT",
    "3s",
    "How long a statement may take (PostgreSQL)",
);
const LOCK_TIMEOUT: Variable = Variable::new(
    "IDENTITY_DATABASE_LOCK_TIMEOUT",
    "2s",
    "How long a statement may wait for a row that another one is changing (PostgreSQL)",
);
const IDLE_IN_TRANSACTION_TIMEOUT: Variable = Variable::new(
    "IDENTITY_DATABASE_IDLE_IN_TRANSACTION_TIMEOUT",
    "5s",
    "How long a transaction may do nothing before the database ends it (PostgreSQL)",
);
const BUSY_TIMEOUT: Variable = Variable::new(
    "IDENTITY_DATABASE_BUSY_TIMEOUT",
    "5s",
    "How long a statement waits for another process that holds the lock (SQLite)",
);
const ECHO: Variable = Variable::new(
    "IDENTITY_DATABASE_ECHO",
    "off",
    "Whether every SQL statement is logged, without its values (on or off)",
);

pub(super) const VARIABLES: &[Variable] = &[
    URL,
    REPLICA_URL,
    MIGRATE,
    STATEMENT_TIMEOUT,
    LOCK_TIMEOUT,
    IDLE_IN_TRANSACTION_TIMEOUT,
    BUSY_TIMEOUT,
    ECHO,
];

/// The database and how it is used.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Which database.
    pub url: DatabaseUrl,
    /// A replica for reads.
    pub replica_url: Option<Box<PostgresUrl>>,
    /// Whether the server applies migrations.
    pub migrate: bool,
    /// The connection pools.
    pub pool: PoolSettings,
    /// Limits on statements.
    pub limits: StatementLimits,
    /// Whether statements are logged.
    pub echo_sql: bool,
}

/// How long statements may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementLimits {
    /// A statement on PostgreSQL.
    pub statement_timeout: Duration,
    /// Waiting for a lock on PostgreSQL.
    pub lock_timeout: Duration,
    /// A transaction that does nothing on PostgreSQL.
    pub idle_in_transaction_timeout: Duration,
    /// Waiting for another process on SQLite.
    pub busy_timeout: Duration,
}

/// Where the data is.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// A PostgreSQL server.
    Postgres(Box<PostgresUrl>),
    /// A file.
    Sqlite(PathBuf),
}

/// The address of a PostgreSQL server. Its `Debug` does not print the password.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: PostgresTls,
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints the address without the password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let ports: Vec<String> = self.config.get_ports().iter().map(ToString::to_string).collect();
        write!(
            f,
            "postgres://{}{}@{}:{}/{}?sslmode={}",
            self.config.get_user().unwrap_or_default(),
            if self.config.get_password().is_some() {
                ":***"
            } else {
                ""
            },
            hosts.join(","),
            ports.join(","),
            self.config.get_dbname().unwrap_or_default(),
            self.tls.mode(),
        )
    }
}

/// How connections to PostgreSQL are secured: `sslmode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresTls {
    /// Not at all.
    Disable,
    /// Encrypted, whoever answers.
    Require,
    /// Encrypted, and the certificate is signed by one of these.
    VerifyCa(TlsRoots),
    /// Encrypted, the certificate is signed by one of these and names the host.
    VerifyFull(TlsRoots),
}

impl PostgresTls {
    const fn mode(&self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa(_) => "verify-ca",
            Self::VerifyFull(_) => "verify-full",
        }
    }
}

/// The authorities that certificates are checked against: `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsRoots {
    /// Those that the machine trusts.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

impl DatabaseSettings {
    pub(super) fn read(reader: &mut Reader<'_>, data_dir: Option<&Path>) -> Option<Self> {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const HOUR: Duration = Duration::from_secs(3600);
        let url = reader.parse(&URL, |text| match (text, data_dir) {
            ("", Some(data_dir)) => Ok(DatabaseUrl::Sqlite(data_dir.join("identity.db"))),
            _ => DatabaseUrl::parse(text),
        });
        let replica_url = reader.parse_optional(&REPLICA_URL, |text| match DatabaseUrl::parse(text)? {
            DatabaseUrl::Postgres(address) => Ok(address),
            DatabaseUrl::Sqlite(_) => Err("must be a postgres:// address".to_owned()),
        });
        if let (Some(DatabaseUrl::Sqlite(_)), Some(Some(_))) = (&url, &replica_url) {
            reader.note(&REPLICA_URL, "goes with a DATABASE_URL of PostgreSQL only");
        }
        let migrate = reader.switch(&MIGRATE);
        let pool = PoolSettings::read(reader);
        let statement_timeout = reader.duration(&STATEMENT_TIMEOUT, MILLISECOND..=HOUR);
        let lock_timeout = reader.duration(&LOCK_TIMEOUT, MILLISECOND..=HOUR);
        let idle_in_transaction_timeout =
            reader.duration(&IDLE_IN_TRANSACTION_TIMEOUT, MILLISECOND..=HOUR);
        let busy_timeout = reader.duration(&BUSY_TIMEOUT, Duration::ZERO..=HOUR);
        let echo_sql = reader.switch(&ECHO);
        Some(Self {
            url: url?,
            replica_url: replica_url?,
            migrate: migrate?,
            pool: pool?,
            limits: StatementLimits {
                statement_timeout: statement_timeout?,
                lock_timeout: lock_timeout?,
                idle_in_transaction_timeout: idle_in_transaction_timeout?,
                busy_timeout: busy_timeout?,
            },
            echo_sql: echo_sql?,
        })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => url.fmt(f),
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
        }
    }
}

impl DatabaseUrl {
    /// Parses an address. What is wrong is said without quoting any of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return if path.is_empty() || path.starts_with(':') {
                Err("must name a file, as in sqlite://folder/identity.db".to_owned())
            } else {
                Ok(Self::Sqlite(PathBuf::from(path)))
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(text).map(|url| Self::Postgres(Box::new(url)));
        }
        Err("must begin with postgres:// or sqlite://".to_owned())
    }
}

impl PostgresUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let mut mode = None;
        let mut roots = TlsRoots::System;
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" if value == "system" => roots = TlsRoots::System,
                "sslrootcert" => roots = TlsRoots::File(PathBuf::from(value.as_ref())),
                _ => {
                    rest.append_pair(&key, &value);
                }
            }
        }
        // The driver decodes %20 but not the plus sign that stands for a space in a form.
        let driver_query = rest.finish().replace('+', "%20");
        let config: tokio_postgres::Config = format!("{address}?{driver_query}")
            .parse()
            .map_err(|_| "is not an address that PostgreSQL's clients understand".to_owned())?;
        if config.get_hosts().is_empty() {
            return Err("must name a host".to_owned());
        }
        let tls = match mode.as_deref() {
            None if is_on_this_machine(&config) => PostgresTls::Disable,
            Some("disable") => PostgresTls::Disable,
            Some("require") => PostgresTls::Require,
            Some("verify-ca") => PostgresTls::VerifyCa(roots),
            None | Some("verify-full") => PostgresTls::VerifyFull(roots),
            Some("prefer" | "allow") => {
                return Err(
                    "sslmode prefer and allow can be downgraded without notice; use disable, require, \
                     verify-ca or verify-full"
                        .to_owned(),
                );
            }
            Some(_) => {
                return Err("sslmode must be disable, require, verify-ca or verify-full".to_owned());
            }
        };
        Ok(Self { config, tls })
    }
}

fn is_on_this_machine(config: &tokio_postgres::Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{DatabaseUrl, PostgresTls, TlsRoots};

    fn tls(text: &str) -> Option<PostgresTls> {
        match DatabaseUrl::parse(text) {
            Ok(DatabaseUrl::Postgres(url)) => Some(url.tls),
            _ => None,
        }
    }

    #[test]
    fn sslmode_is_never_weaker_than_asked() {
        assert_eq!(
            tls("postgres://u@db.example/x?sslmode=disable"),
            Some(PostgresTls::Disable)
        );
        assert_eq!(
            tls("postgres://u@db.example/x?sslmode=require"),
            Some(PostgresTls::Require)
        );
        assert_eq!(
            tls("postgres://u@db.example/x"),
            Some(PostgresTls::VerifyFull(TlsRoots::System))
        );
        assert_eq!(
            tls("postgres://u@h1,h2/x?sslmode=verify-ca&sslrootcert=/ca%20file.pem"),
            Some(PostgresTls::VerifyCa(TlsRoots::File("/ca file.pem".into())))
        );
        assert_eq!(tls("postgres://u@127.0.0.1/x"), Some(PostgresTls::Disable));
        for text in [
            "postgres://u@h/x?sslmode=prefer",
            "postgres://u@h/x?sslmode=on",
            "mysql://h/x",
            "sqlite://",
        ] {
            assert!(DatabaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn printing_an_address_hides_the_password() {
        let url = DatabaseUrl::parse("postgres://ada:secret@db.example:5433/x")
            .map(|url| format!("{url} {url:?}"));
        assert!(
            url.is_ok_and(|text| text.contains("ada:***@db.example:5433/x") && !text.contains("secret"))
        );
    }
}
