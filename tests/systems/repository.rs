//! The repository of users, without a server around it.

use identity::clock::{Clock, SystemClock};
use identity::database::{Database, DatabaseError};
use identity::domain::{Actor, Command, Email, NewUser, Origin, Profile, Refusal, UserId};
use identity::repositories::UserRepository;
use identity::telemetry::DatabaseMetrics;

use crate::support::Test;

/// Prepares the database of a test as a server with this configuration would.
pub fn database(t: &Test, configuration: &[(&str, &str)]) -> Database {
    Database::new(&t.settings(configuration).database, DatabaseMetrics::default()).unwrap()
}

/// Makes the repository over the test's database, which is migrated.
pub async fn repository(t: &Test, configuration: &[(&str, &str)]) -> UserRepository {
    let database = database(t, configuration);
    database.migrate_up(&SystemClock).await.unwrap();
    UserRepository::new(database)
}

/// A user to create, with an email and nothing else.
pub fn new_named(email: &str) -> Command<NewUser> {
    let now = SystemClock.now();
    without_request_id(NewUser {
        id: UserId::generate(now),
        profile: Profile {
            email: Some(Email::parse(email).unwrap()),
            ..Profile::default()
        },
        password_hash: None,
        created_at: now,
    })
}

/// A change that nobody gave a request id.
pub fn without_request_id<T>(value: T) -> Command<T> {
    Command::new(value, operator())
}

/// Where the changes come from that tests make without a server.
pub fn operator() -> Origin {
    Origin::beside_calls(Actor::Operator)
}

/// Returns why a change was refused, if it was.
pub fn refusal(error: &DatabaseError) -> Option<Refusal> {
    if let DatabaseError::Refused(refusal) = error {
        Some(*refusal)
    } else {
        None
    }
}
