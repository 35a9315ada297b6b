//! Settings: from flags, the environment and `.env`, in that order of precedence.
//!
//! This is the only place that reads the environment. Each concern has a file of its own, which lists its
//! variables in its header. A wrong value stops the start; all wrong values are reported at once, each with
//! the name of its variable and never with a secret.

mod authorization;
mod connections;
mod database;
mod events;
mod health;
mod limits;
mod listen;
mod lockout;
mod logging;
mod master_key;
mod passwords;
mod pool;
mod profile;
mod providers;
mod sessions;
mod tls;
mod tokens;
mod variable;
mod watch;

use std::fmt::Write as _;
use std::path::PathBuf;

pub use authorization::{AuthorizationSettings, RateLimit};
pub use connections::ConnectionSettings;
pub use database::{DatabaseSettings, DatabaseUrl, PostgresTls, PostgresUrl, StatementLimits, TlsRoots};
pub use events::EventSettings;
pub use health::HealthSettings;
pub use limits::LimitSettings;
pub use listen::ListenSettings;
pub use lockout::LockoutSettings;
pub use logging::{LogFormat, LogSettings};
pub use passwords::PasswordSettings;
pub use pool::PoolSettings;
pub use profile::ProfileSettings;
pub use providers::{KeyTimes, ProviderSettings};
pub use sessions::SessionSettings;
pub use tls::{ClientCertificates, TlsFiles, TlsSettings};
pub use tokens::{OneTimeTokenLifetimes, TokenSettings};
pub use variable::{ConfigError, Sources, Variable};
pub use watch::WatchSettings;

use variable::Reader;

use crate::master_key::MasterKeySource;

/// Every setting of the service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where data is kept.
    pub data_dir: PathBuf,
    /// Where the server listens.
    pub listen: ListenSettings,
    /// Who may call.
    pub authorization: AuthorizationSettings,
    /// TLS of the gRPC server.
    pub tls: TlsSettings,
    /// Limits on connections.
    pub connections: ConnectionSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// The key that other keys are derived from.
    pub master_key: MasterKeySource,
    /// Passwords and their hashing.
    pub passwords: PasswordSettings,
    /// Sessions.
    pub sessions: SessionSettings,
    /// Tokens.
    pub tokens: TokenSettings,
    /// Accounts at providers.
    pub providers: ProviderSettings,
    /// Failed sign-ins.
    pub lockout: LockoutSettings,
    /// The audit trail.
    pub events: EventSettings,
    /// Watching users.
    pub watch: WatchSettings,
    /// What a profile must have.
    pub profile: ProfileSettings,
    /// The health checks.
    pub health: HealthSettings,
    /// Limits on calls.
    pub limits: LimitSettings,
    /// The log.
    pub log: LogSettings,
}

/// Where data is kept unless the variables say otherwise.
const DATA_DIR: Variable = Variable::new(
    "IDENTITY_DATA_DIR",
    "identity-data",
    "The folder of the embedded database and of what is generated on its first start",
);

const VARIABLES: &[Variable] = &[DATA_DIR];

impl Settings {
    /// Reads the settings, or reports everything that is wrong with them.
    pub fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(sources);
        let data_dir = reader.parse(&DATA_DIR, |text| Ok(PathBuf::from(text)));
        let settings = (|| {
            // Every part is read before the first missing one ends the function.
            let tls = TlsSettings::read(&mut reader);
            let listen = ListenSettings::read(&mut reader, tls.as_ref());
            let connections = ConnectionSettings::read(&mut reader);
            let authorization = AuthorizationSettings::read(&mut reader, listen.as_ref());
            let database = DatabaseSettings::read(&mut reader, data_dir.as_deref());
            let master_key = master_key::read(&mut reader);
            let passwords = PasswordSettings::read(&mut reader);
            let sessions = SessionSettings::read(&mut reader);
            let tokens = TokenSettings::read(&mut reader);
            let providers = ProviderSettings::read(&mut reader);
            let lockout = LockoutSettings::read(&mut reader);
            let events = EventSettings::read(&mut reader);
            let watch = WatchSettings::read(&mut reader);
            let profile = ProfileSettings::read(&mut reader);
            let health = HealthSettings::read(&mut reader);
            let limits = LimitSettings::read(&mut reader);
            let log = LogSettings::read(&mut reader);
            Some(Self {
                data_dir: data_dir?,
                listen: listen?,
                authorization: authorization?,
                tls: tls?,
                connections: connections?,
                database: database?,
                master_key: master_key?,
                passwords: passwords?,
                sessions: sessions?,
                tokens: tokens?,
                providers: providers?,
                lockout: lockout?,
                events: events?,
                watch: watch?,
                profile: profile?,
                health: health?,
                limits: limits?,
                log: log?,
            })
        })();
        reader.finish(settings)
    }

    /// Returns every variable, in the order in which `.env.example` lists them.
    #[must_use]
    pub fn variables() -> Vec<&'static Variable> {
        [
            VARIABLES,
            listen::VARIABLES,
            authorization::VARIABLES,
            tls::VARIABLES,
            connections::VARIABLES,
            database::VARIABLES,
            pool::VARIABLES,
            master_key::VARIABLES,
            passwords::VARIABLES,
            sessions::VARIABLES,
            tokens::VARIABLES,
            providers::VARIABLES,
            lockout::VARIABLES,
            events::VARIABLES,
            watch::VARIABLES,
            profile::VARIABLES,
            health::VARIABLES,
            limits::VARIABLES,
            logging::VARIABLES,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Returns the text of `.env.example`: every variable with what it does and its default.
    #[must_use]
    pub fn example() -> String {
        let mut text =
            "# Every setting with its default. Copy this file to .env and uncomment what you change.\n\
                        # Flags and the environment have precedence.\n"
                .to_owned();
        for variable in Self::variables() {
            let _ = write!(
                text,
                "\n# {}\n#{}={}\n",
                variable.help, variable.name, variable.default
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, Sources};

    fn errors(pairs: &[(&str, &str)]) -> String {
        Settings::read(&Sources::from_pairs(pairs))
            .map(|_| String::new())
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(errors(&[]), "");
    }

    #[test]
    fn the_example_lists_every_variable_with_its_default() {
        let example = include_str!("../../.env.example");
        assert_eq!(
            example,
            Settings::example(),
            "write Settings::example() to .env.example"
        );
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_variable() {
        let text = errors(&[
            ("IDENTITY_LISTEN", "nowhere"),
            ("IDENTITY_BCRYPT_COST", "99"),
            ("IDENTITY_HEALTH_INTERVAL", "soon"),
            ("DATABASE_URL", "mysql://host/db"),
            ("IDENTITY_REQUIRED_PROFILE_FIELDS", "full_name,shoe_size"),
        ]);
        for variable in [
            "IDENTITY_LISTEN",
            "IDENTITY_BCRYPT_COST",
            "IDENTITY_HEALTH_INTERVAL",
            "DATABASE_URL",
            "IDENTITY_REQUIRED_PROFILE_FIELDS",
        ] {
            assert!(text.contains(variable), "{variable}: {text}");
        }
    }

    #[test]
    fn a_secret_is_never_quoted() {
        let text = errors(&[
            ("DATABASE_URL", "postgres://user:hunter2@host/db?sslmode=prefer"),
            ("IDENTITY_MASTER_KEY", "hunter3"),
        ]);
        assert!(
            text.contains("DATABASE_URL") && text.contains("IDENTITY_MASTER_KEY"),
            "{text}"
        );
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn beyond_loopback_is_refused() {
        assert!(errors(&[("IDENTITY_LISTEN", "0.0.0.0:50051")]).contains("loopback"));
        assert_eq!(errors(&[("IDENTITY_LISTEN", "[::1]:0")]), "");
    }

    #[test]
    fn beyond_loopback_needs_tls_or_that_plain_text_is_asked_for() {
        let beyond = ("IDENTITY_LISTEN", "0.0.0.0:50051");
        let certificate = ("IDENTITY_TLS_CERT_FILE", "server.pem");
        let key = ("IDENTITY_TLS_KEY_FILE", "server.key");
        assert_eq!(errors(&[beyond, ("IDENTITY_TLS", "off")]), "");
        assert_eq!(errors(&[beyond, certificate, key]), "");
        assert!(errors(&[beyond, ("IDENTITY_TLS", "on")]).contains("IDENTITY_TLS_CERT_FILE"));
        let operations = ("IDENTITY_OPERATIONS_LISTEN", "0.0.0.0:9464");
        assert!(errors(&[operations, certificate, key]).contains("IDENTITY_OPERATIONS_LISTEN"));
        assert_eq!(errors(&[operations, ("IDENTITY_OPERATIONS_TLS", "off")]), "");
    }

    #[test]
    fn half_of_what_tls_needs_is_refused() {
        let certificate = ("IDENTITY_TLS_CERT_FILE", "server.pem");
        let authorities = ("IDENTITY_TLS_CLIENT_CA_FILE", "clients.pem");
        assert!(errors(&[certificate]).contains("IDENTITY_TLS_KEY_FILE"));
        assert!(errors(&[authorities]).contains("IDENTITY_TLS_CERT_FILE"));
        assert!(errors(&[certificate, ("IDENTITY_TLS", "off")]).contains("IDENTITY_TLS"));
        assert!(errors(&[("IDENTITY_TLS", "perhaps")]).contains("IDENTITY_TLS"));
    }
}
