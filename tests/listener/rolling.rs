//! Three replicas that are restarted one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use uuid::Uuid;

use super::may_be_repeated;
use crate::support::{Behaviour, Clients, Process, Test, eventually, new_user, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![o07_no_call_fails_while_three_replicas_are_restarted]
}

const REPLICAS: usize = 3;
const CALLERS: usize = 6;

/// Makes a call on one replica after the other, until one of them takes it. Only what may be repeated is.
async fn create(replicas: &[Clients], first: usize) -> String {
    const ATTEMPTS: usize = 10;
    let request_id = Uuid::new_v4().to_string();
    let user = new_user()
        .email(&format!("{request_id}@example.com"))
        .request_id(&request_id);
    let mut attempt = 0;
    loop {
        let replica = &replicas[(first + attempt) % replicas.len()];
        let outcome = replica.users().create_user(user.request()).await;
        attempt += 1;
        match outcome {
            Ok(response) => return response.into_inner().user.expect("a user").id,
            Err(status) if may_be_repeated(&status) && attempt < ATTEMPTS => {}
            Err(status) => panic!("attempt {attempt}: {status:?}"),
        }
    }
}

async fn o07_no_call_fails_while_three_replicas_are_restarted(t: Test) {
    let mut replicas: Vec<Process> = (0..REPLICAS).map(|_| t.spawn(&[], &["serve"])).collect();
    for replica in &mut replicas {
        replica.wait_until_serving().await;
    }
    let clients: Arc<[Clients]> = replicas.iter().map(|replica| (**replica).clone()).collect();
    let (is_over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (clients, is_over, made) =
                (Arc::clone(&clients), Arc::clone(&is_over), Arc::clone(&made));
            tokio::spawn(async move {
                let mut ids = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    ids.push(create(&clients, number + ids.len()).await);
                    made.fetch_add(1, Ordering::Relaxed);
                }
                ids
            })
        })
        .collect();
    let progress = async || {
        let before = made.load(Ordering::Relaxed);
        eventually("calls go on", async || made.load(Ordering::Relaxed) > before + 20).await;
    };

    for replica in &mut replicas {
        progress().await;
        replica.terminate();
        assert_eq!(replica.wait().await.code(), Some(0), "{}", replica.output());
        progress().await;
        replica.start_again();
        replica.wait_until_serving().await;
    }
    progress().await;

    is_over.store(true, Ordering::Relaxed);
    let mut created = 0;
    for caller in callers {
        let ids = caller.await.expect("no call fails");
        created += ids.len();
    }
    let count = t.sql_value("SELECT count(*) AS value FROM users").await;
    assert_eq!(count, Some(created.to_string()), "nothing is done twice");
    let signing = t
        .sql_value("SELECT count(*) AS value FROM signing_keys WHERE retires_at IS NULL")
        .await;
    assert_eq!(signing.as_deref(), Some("1"));
}
