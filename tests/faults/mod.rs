//! Faults of the database and of the process.

pub mod blocker;
mod cancelled;
mod conflicts;
mod exhaustion;
mod kill;
mod outage;
mod pool;
mod replica;
mod sqlite_file;
mod tls;
mod together;
mod unknown_outcome;

use identity::proto::identity::v1::{
    BatchGetUsersRequest, GetStatusRequest, PoolStatus, UpdateUserRequest, User,
};

use crate::support::{Behaviour, Clients, Failure, Test, eventually};

pub fn tests() -> Vec<Behaviour> {
    [
        cancelled::tests(),
        conflicts::tests(),
        exhaustion::tests(),
        kill::tests(),
        outage::tests(),
        pool::tests(),
        replica::tests(),
        sqlite_file::tests(),
        tls::tests(),
        together::tests(),
        unknown_outcome::tests(),
    ]
    .concat()
}

/// Gives a user another name.
async fn rename(clients: &Clients, user_id: &str, full_name: &str) -> Result<User, Failure> {
    let response = clients.users().update_user(renaming(user_id, full_name)).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// The request that gives a user another name.
fn renaming(user_id: &str, full_name: &str) -> UpdateUserRequest {
    UpdateUserRequest {
        user: Some(User {
            id: user_id.to_owned(),
            full_name: full_name.to_owned(),
            ..User::default()
        }),
        ..UpdateUserRequest::default()
    }
}

/// Reads a user in a way that shares no query with others who read users at the same moment.
async fn read_alone(clients: &Clients, user_id: &str) -> Result<User, Failure> {
    let request = BatchGetUsersRequest {
        user_ids: vec![user_id.to_owned()],
    };
    let response = clients.users().batch_get_users(request).await?;
    Ok(response.into_inner().users.remove(0))
}

/// Returns how a pool is doing.
pub async fn pool(clients: &Clients, name: &str) -> PoolStatus {
    let response = clients.status().get_status(GetStatusRequest {}).await.unwrap();
    let pools = response.into_inner().pools;
    let found = pools.into_iter().find(|pool| pool.name == name);
    found.expect("a pool of that name")
}

/// Waits until a change is under way. On SQLite, those that come while nobody has the connection would share it, and not
/// wait for it.
pub async fn one_has_begun(clients: &Clients) {
    eventually("a change is under way", async || {
        let writer = pool(clients, "writer").await;
        writer.size > writer.idle
    })
    .await;
}

/// Returns the process ids of the servers' connections to the test's PostgreSQL database, of those that match
/// a condition.
async fn backends(t: &Test, condition: &str) -> Vec<String> {
    let pids = t
        .sql_values(&format!(
            "SELECT pid AS value FROM pg_stat_activity
             WHERE application_name = 'identity' AND datname = current_database() AND {condition}"
        ))
        .await;
    pids.into_iter().flatten().collect()
}

/// Ends those connections, and waits until they are gone.
async fn terminate(t: &Test, condition: &str) -> usize {
    let ended = t
        .sql_values(&format!(
            "WITH found AS MATERIALIZED (
                 SELECT pid FROM pg_stat_activity
                 WHERE application_name = 'identity' AND datname = current_database() AND {condition}
             )
             SELECT pg_terminate_backend(pid, 10000) AS value FROM found"
        ))
        .await;
    assert!(
        ended.iter().all(|ended| ended.as_deref() == Some("t")),
        "{ended:?}"
    );
    ended.len()
}

/// Returns the value of a metric, 0 before it is counted for the first time.
async fn metric(clients: &Clients, name: &str) -> u64 {
    let (status, text) = clients.http_get("/metrics").await;
    assert_eq!(status, 200);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}
