//! Everything at the same time on the same few users: no change waits for another that waits for it.

use futures_util::future::join_all;
use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::{LookupUserRequest, Tokens};

use super::calls::{
    OTHER_PASSWORD, PATIENT, assert_no_orphans, block, change_password, count, delete, reason,
    reset_password, revoke, revoke_all, set_password, sign_out, unblock,
};
use crate::support::{Backend, Behaviour, Clients, Failure, PASSWORD, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![everything_at_once_is_never_a_fault_of_the_service]
}

/// The users. So few that calls meet all the time.
const EMAILS: [&str; 3] = ["ada@example.com", "bob@example.com", "cyd@example.com"];

/// How often each caller calls.
const CALLS: usize = 60;

/// What callers are told who get in each other's way.
const EXPECTED: [&str; 13] = [
    "OK",
    "INVALID_CREDENTIALS",
    "USER_BLOCKED",
    "USER_INACTIVE",
    "USER_NOT_FOUND",
    "EMAIL_TAKEN",
    "SESSION_ENDED",
    "SESSION_NOT_FOUND",
    "TOKEN_INVALID",
    "TOKEN_REUSED",
    "TOKEN_EXPIRED",
    "CONCURRENT_CHANGE",
    "ETAG_MISMATCH",
];

/// A user as one caller knows it.
struct Caller<'a> {
    clients: &'a Clients,
    email: &'static str,
    user_id: String,
    tokens: Option<Tokens>,
}

impl Caller<'_> {
    async fn sign_in(&mut self) -> Result<(), Failure> {
        let outcome = match self.clients.sign_in(self.email, PASSWORD).await {
            Err(failure) if failure.reason() == "INVALID_CREDENTIALS" => {
                self.clients.sign_in(self.email, OTHER_PASSWORD).await
            }
            outcome => outcome,
        };
        self.tokens = Some(outcome?);
        Ok(())
    }

    async fn refresh(&mut self) -> Result<(), Failure> {
        let Some(tokens) = self.tokens.take() else {
            return self.sign_in().await;
        };
        let outcomes = join_all((0..3).map(|_| self.clients.refresh(&tokens.refresh_token))).await;
        for outcome in outcomes {
            self.tokens = Some(outcome?);
        }
        Ok(())
    }

    /// Deletes the user, and creates it again.
    async fn replace(&mut self) -> Result<(), Failure> {
        let outcome = delete(self.clients, &self.user_id).await;
        let user = new_user().email(self.email).password(PASSWORD);
        if let Ok(user) = self.clients.create(user).await {
            self.user_id = user.id;
        }
        outcome
    }

    /// Finds the user that another caller created in place of the one who was deleted, if there is one already.
    async fn find_again(&mut self) {
        let request = LookupUserRequest {
            identifier: Some(Identifier::Email(self.email.to_owned())),
        };
        if let Ok(response) = self.clients.users().lookup_user(request).await {
            self.user_id = response.into_inner().user.expect("a user").id;
        }
    }

    /// Makes call number `step` of a caller of some kind.
    async fn call(&mut self, kind: usize, step: usize) -> Result<(), Failure> {
        let clients = self.clients;
        let user_id = self.user_id.clone();
        let tokens = self.tokens.clone().unwrap_or_default();
        match (kind, step % 4) {
            (0..=2, _) => self.refresh().await,
            (3, 0) => set_password(clients, &user_id, PASSWORD).await,
            (3, 1) => reset_password(clients, &user_id, OTHER_PASSWORD).await,
            (4, 0) => block(clients, &user_id).await,
            (4, 1) => unblock(clients, &user_id).await,
            (5, 0) => revoke_all(clients, &user_id).await.map(drop),
            (5, 2) if step % 12 == 2 => self.replace().await,
            (6, 0) => sign_out(clients, &tokens.refresh_token, true).await.map(drop),
            (6, 2) => revoke(clients, &tokens.session_id).await.map(drop),
            (7, 1) => change_password(clients, &tokens.access_token, PASSWORD, OTHER_PASSWORD).await,
            (7, 2) => change_password(clients, &tokens.access_token, OTHER_PASSWORD, PASSWORD).await,
            _ => self.sign_in().await,
        }
    }
}

/// Returns how many attempts at transactions were made, and how many of them were tried again.
async fn transactions(clients: &Clients) -> (f64, f64) {
    let (_, text) = clients.http_get("/metrics").await;
    let (mut made, mut retried) = (0.0, 0.0);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("identity_database_transactions_total{") {
            let (labels, value) = rest.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().expect("a number");
            made += value;
            if labels.contains("retried") {
                retried += value;
            }
        }
    }
    (made, retried)
}

async fn everything_at_once_is_never_a_fault_of_the_service(t: Test) {
    let settings = [
        PATIENT.as_slice(),
        &[
            ("IDENTITY_MAX_SESSIONS_PER_USER", "4"),
            ("IDENTITY_HASHING_QUEUE", "1000"),
            ("IDENTITY_MAX_DEADLINE", "60s"),
        ],
    ]
    .concat();
    let server = t.start_with(&settings).await;
    let replica = t.start_with(&settings).await;
    let mut ids = Vec::new();
    for email in EMAILS {
        ids.push(server.create_with_password(email).await.id);
    }

    let callers = (0..8 * EMAILS.len()).map(|number| {
        let (kind, user) = (number / EMAILS.len(), number % EMAILS.len());
        let clients: &Clients = if number % 2 == 0 { &server } else { &replica };
        let mut caller = Caller {
            clients,
            email: EMAILS[user],
            user_id: ids[user].clone(),
            tokens: None,
        };
        async move {
            let mut reasons = Vec::new();
            for step in 0..CALLS {
                let outcome = caller.call(kind, step).await;
                if outcome.is_err() {
                    caller.tokens = None;
                }
                if reason(&outcome) == "USER_NOT_FOUND" {
                    caller.find_again().await;
                }
                reasons.push((kind, step, reason(&outcome)));
            }
            reasons
        }
    });
    let reasons = join_all(callers).await.concat();

    for (kind, step, reason) in &reasons {
        let is_malformed = ["FIELD_REQUIRED", "TOKEN_REQUIRED"].contains(&reason.as_str());
        assert!(
            EXPECTED.contains(&reason.as_str()) || is_malformed,
            "{reason} for call {step} of kind {kind}"
        );
    }
    let successes = reasons.iter().filter(|(_, _, reason)| reason == "OK").count();
    assert!(successes > reasons.len() / 4, "{successes} of {}", reasons.len());
    for clients in [&server, &replica] {
        let (made, retried) = transactions(clients).await;
        assert!(retried <= made / 50.0, "{retried} of {made} were tried again");
    }
    assert_no_orphans(&t).await;
    let twice = "(SELECT session_id FROM refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL
                  GROUP BY session_id HAVING count(*) > 1) AS twice";
    assert_eq!(count(&t, twice).await, 0);
    // PostgreSQL says so itself, once those who were told of it have gone.
    server.shutdown().await;
    replica.shutdown().await;
    if t.backend == Backend::Postgres {
        let deadlocks = "SELECT deadlocks AS value FROM pg_stat_database
                         WHERE datname = current_database()";
        assert_eq!(t.sql_value(deadlocks).await.as_deref(), Some("0"));
    }
}
