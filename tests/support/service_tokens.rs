//! Tokens of services, made as the command makes them.

use identity::clock::{Clock, SystemClock};
use identity::database::Database;
use identity::domain::{Scope, ServiceName};
use identity::repositories::ServiceTokenRepository;
use identity::telemetry::DatabaseMetrics;
use identity::tokens::ServiceTokens;

use super::Test;

/// Has callers show who they are.
pub const AUTH: (&str, &str) = ("IDENTITY_AUTH", "on");

impl Test {
    /// Returns the service tokens of the database, which has been migrated.
    pub fn service_tokens(&self) -> ServiceTokenRepository {
        let settings = self.settings(&[]);
        let database = Database::new(&settings.database, DatabaseMetrics::default()).unwrap();
        ServiceTokenRepository::new(database)
    }

    /// Makes a token of a service.
    pub async fn service_token(&self, name: &str, scopes: &[&str]) -> String {
        let name = ServiceName::parse(name).unwrap();
        let scopes = scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect();
        let (secret, new) = ServiceTokens::issue(name, scopes, None, SystemClock.now()).unwrap();
        self.service_tokens().create(new).await.unwrap();
        secret.reveal().to_owned()
    }
}
