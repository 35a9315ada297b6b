//! Servers and databases that end without a warning.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use identity::proto::identity::v1::BatchGetUsersRequest;

use crate::support::{
    Backend, Behaviour, Clients, PostgresCluster, Test, behaviours, new_user, postgres_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![o04_no_acknowledged_user_is_lost_in_20_kills],
        postgres_only![d04_no_acknowledged_user_is_lost_when_the_database_crashes],
    ]
    .concat()
}

/// How often the server is killed.
const KILLS: usize = 20;

/// How many users are acknowledged before each kill, at least.
const USERS_PER_KILL: usize = 50;

/// How many callers create users at the same time.
const WRITERS: usize = 8;

/// How many users there are whose creation is not on record.
const UNRECORDED: &str = "SELECT count(*) AS value FROM users WHERE id NOT IN
    (SELECT user_id FROM user_events WHERE type = 'user_created')";

/// A call to create a user that can be repeated.
#[derive(Debug, Clone)]
struct Call {
    email: String,
    request_id: String,
}

impl Call {
    fn new() -> Self {
        Self {
            email: format!("{}@example.com", Uuid::new_v4().simple()),
            request_id: Uuid::new_v4().to_string(),
        }
    }

    /// Returns whether the user is there now, as far as the caller is told.
    async fn send(&self, clients: &Clients) -> Result<String, tonic::Code> {
        let user = new_user().email(&self.email).request_id(&self.request_id);
        let outcome = clients.create(user).await;
        outcome
            .map(|created| created.id)
            .map_err(|failure| failure.code())
    }
}

/// Creates users until calls fail. `acknowledged` counts them.
async fn write(clients: Clients, acknowledged: Arc<watch::Sender<usize>>) -> (Vec<String>, Call) {
    let mut ids = Vec::new();
    loop {
        let call = Call::new();
        match call.send(&clients).await {
            Ok(id) => ids.push(id),
            Err(_) => return (ids, call),
        }
        acknowledged.send_modify(|count| *count += 1);
    }
}

/// Creates users from several callers until `end` has ended what they call, which it does once `enough` of
/// them are acknowledged. Returns the ids of the acknowledged ones, and the calls that failed.
async fn write_until(
    clients: &Clients,
    enough: usize,
    end: impl AsyncFnOnce(),
) -> (Vec<String>, Vec<Call>) {
    let (count, mut progress) = watch::channel(0);
    let count = Arc::new(count);
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write(clients.clone(), Arc::clone(&count)));
    }
    progress
        .wait_for(|acknowledged| *acknowledged >= enough)
        .await
        .unwrap();
    end().await;
    let (ids, calls): (Vec<_>, Vec<_>) = writers.join_all().await.into_iter().unzip();
    (ids.concat(), calls)
}

async fn o04_no_acknowledged_user_is_lost_in_20_kills(t: Test) {
    let mut ids = Vec::new();
    let mut unanswered: Vec<Call> = Vec::new();
    for round in 0..KILLS {
        let mut server = t.spawn(&[], &["serve"]);
        server.wait_until_serving().await;
        for call in unanswered {
            // Whether the kill came before or after the commit, the user is there once.
            ids.push(call.send(&server).await.unwrap());
        }
        let clients: Clients = (*server).clone();
        // Some more in each round, so that the kill does not always hit the same moment.
        let enough = USERS_PER_KILL + round % WRITERS;
        let (more_ids, calls) = write_until(&clients, enough, async || server.kill_9()).await;
        ids.extend(more_ids);
        unanswered = calls;
    }

    let mut server = t.spawn(&[], &["serve"]);
    server.wait_until_serving().await;
    for call in unanswered {
        ids.push(call.send(&server).await.unwrap());
    }
    assert!(ids.len() >= KILLS * USERS_PER_KILL, "{}", ids.len());
    assert_all_there(&server, &ids).await;
    // No failed call was carried out beside its repetition.
    let count = t.sql_value("SELECT count(*) AS value FROM users").await;
    assert_eq!(count, Some(ids.len().to_string()));
    // Each is on record, once, and so is nothing that did not happen.
    let unrecorded = t.sql_value(UNRECORDED).await;
    assert_eq!(unrecorded.as_deref(), Some("0"), "users without their event");
    let events = t.sql_value("SELECT count(*) AS value FROM user_events").await;
    assert_eq!(events, Some(ids.len().to_string()));
    if t.backend == Backend::Sqlite {
        let integrity = t
            .sql_value("SELECT integrity_check AS value FROM pragma_integrity_check")
            .await;
        assert_eq!(integrity.as_deref(), Some("ok"));
        let orphans = t
            .sql_values("SELECT \"table\" AS value FROM pragma_foreign_key_check")
            .await;
        assert_eq!(orphans, []);
    }
    let (code, report, _) = t.run(&[], &["migrate", "verify"]).await;
    assert_eq!(code, 0, "{report}");
}

async fn d04_no_acknowledged_user_is_lost_when_the_database_crashes(t: Test) {
    /// Restarting PostgreSQL takes a while.
    const CRASHES: usize = 5;
    let cluster = PostgresCluster::start(&[]).await;
    let url = cluster.url("postgres");
    let server = t.start_with(&[("DATABASE_URL", &url)]).await;
    let mut ids = Vec::new();
    for round in 0..CRASHES {
        let enough = USERS_PER_KILL + round;

        let (more_ids, unanswered) =
            write_until(&server, enough, async || cluster.kill_postmaster().await).await;

        cluster.start_again().await;
        ids.extend(more_ids);
        for call in unanswered {
            let id =
                crate::support::eventually("the call succeeds", async || call.send(&server).await.ok())
                    .await;
            ids.push(id);
        }
        assert_all_there(&server, &ids).await;
    }
    let rows = cluster
        .psql("postgres", "SELECT count(*) FROM users")
        .await
        .unwrap();
    assert_eq!(rows[0][0], Some(ids.len().to_string()));
    let unrecorded = cluster.psql("postgres", UNRECORDED).await.unwrap();
    assert_eq!(
        unrecorded[0][0].as_deref(),
        Some("0"),
        "users without their event"
    );
    let events = cluster
        .psql("postgres", "SELECT count(*) FROM user_events")
        .await
        .unwrap();
    assert_eq!(events[0][0], Some(ids.len().to_string()));
}

async fn assert_all_there(clients: &Clients, ids: &[String]) {
    for batch in ids.chunks(100) {
        let request = BatchGetUsersRequest {
            user_ids: batch.to_vec(),
        };
        let response = clients.users().batch_get_users(request).await.unwrap();
        let users = response.into_inner().users;
        let found: Vec<&String> = users.iter().map(|user| &user.id).collect();
        assert_eq!(found, batch.iter().collect::<Vec<_>>());
    }
}
