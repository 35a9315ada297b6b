//! Settings, all from the environment.
//!
//! | variable | default | what it is |
//! |---|---|---|
//! | `TASKS_LISTEN` | `127.0.0.1:50061` | where calls are taken |
//! | `TASKS_DATABASE_URL` | `sqlite://tasks.db` | `sqlite://PATH` or `postgres://…` |
//! | `TASKS_SHARES_DATABASE` | `off` | `on` if the database is that of identity, which must have migrated it |
//! | `TASKS_IDENTITY_URL` | `http://127.0.0.1:50051` | where the identity service takes calls |
//! | `TASKS_IDENTITY_TOKEN_FILE` | none | a file with a service token, with which deletions of users are followed; needed unless the database is shared |
//! | `TASKS_ISSUER` | `identity` | the claim `iss` of access tokens |
//! | `TASKS_AUDIENCE` | `identity` | what the claim `aud` of access tokens must name |

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use tonic::transport::Endpoint;

use crate::access_tokens::TokenPolicy;

/// The settings of the service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where calls are taken.
    pub listen: SocketAddr,
    /// The database.
    pub database: DatabaseSettings,
    /// Where the identity service takes calls.
    pub identity: Endpoint,
    /// The token with which deletions of users are followed.
    pub identity_token: Option<ServiceToken>,
    /// Whose access tokens are taken.
    pub tokens: TokenPolicy,
}

/// Which database it is.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Its address.
    pub url: DatabaseUrl,
    /// Whether the identity service keeps its users in the same database.
    pub is_shared: bool,
}

impl fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseSettings")
            .field("is_shared", &self.is_shared)
            .finish_non_exhaustive()
    }
}

/// The address of a database. It may hold a password, and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The URL of a PostgreSQL database.
    Postgres(String),
    /// The path of an SQLite file.
    Sqlite(PathBuf),
}

/// The token that this service shows to the identity service. It is never printed.
#[derive(Clone)]
pub struct ServiceToken(String);

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceToken([redacted])")
    }
}

impl ServiceToken {
    /// Takes a token.
    #[must_use]
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// Returns the value of the metadata `authorization`; `None` if the token cannot be sent.
    pub(crate) fn authorization(&self) -> Option<tonic::metadata::AsciiMetadataValue> {
        let mut value: tonic::metadata::AsciiMetadataValue =
            format!("Bearer {}", self.0).parse().ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Settings {
    /// Reads the settings from variables, or says everything that is wrong with them.
    ///
    /// # Errors
    ///
    /// A sentence for each variable that is missing or wrong.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let text = |name: &str, default: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default.to_owned())
        };
        let issuer = text("TASKS_ISSUER", "identity");
        let audience = text("TASKS_AUDIENCE", "identity");
        let token_file = text("TASKS_IDENTITY_TOKEN_FILE", "");
        let shares = text("TASKS_SHARES_DATABASE", "off");
        let listen = text("TASKS_LISTEN", "127.0.0.1:50061").parse();
        let identity = text("TASKS_IDENTITY_URL", "http://127.0.0.1:50051");
        let url = DatabaseUrl::parse(&text("TASKS_DATABASE_URL", "sqlite://tasks.db"));

        let mut note = |mistake: String| mistakes.push(mistake);
        let is_shared = match shares.as_str() {
            "on" => true,
            "off" => false,
            _ => {
                note("TASKS_SHARES_DATABASE: neither on nor off".to_owned());
                false
            }
        };
        let identity_token = if token_file.is_empty() {
            if !is_shared {
                note(
                    "TASKS_IDENTITY_TOKEN_FILE: needed, to follow deletions of users, unless the database is shared"
                        .to_owned(),
                );
            }
            None
        } else {
            std::fs::read_to_string(&token_file)
                .map_err(|error| note(format!("TASKS_IDENTITY_TOKEN_FILE: {token_file}: {error}")))
                .ok()
                .map(|token| ServiceToken::new(token.trim().to_owned()))
        };
        let listen = listen
            .map_err(|error| note(format!("TASKS_LISTEN: {error}")))
            .ok();
        let identity = Endpoint::from_shared(identity)
            .map_err(|error| note(format!("TASKS_IDENTITY_URL: {error}")))
            .ok();
        if url.is_none() {
            note("TASKS_DATABASE_URL: neither sqlite://PATH nor postgres://…".to_owned());
        }
        match (listen, identity, url) {
            (Some(listen), Some(identity), Some(url)) if mistakes.is_empty() => Ok(Self {
                listen,
                database: DatabaseSettings { url, is_shared },
                identity,
                identity_token,
                tokens: TokenPolicy { issuer, audience },
            }),
            _ => Err(mistakes),
        }
    }
}

impl DatabaseUrl {
    /// Tells the databases apart.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            return (!path.is_empty()).then(|| Self::Sqlite(path.into()));
        }
        let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
        is_postgres.then(|| Self::Postgres(url.to_owned()))
    }
}
