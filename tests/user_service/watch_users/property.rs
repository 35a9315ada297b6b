//! Whatever happens, in whatever order, the copy of a consumer becomes what the table is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use identity::proto::identity::v1::User;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::task::JoinHandle;
use tonic::Code;

use super::order::{change_by_hand, change_by_hand_on_sqlite};
use super::watching::{Copy, Watch, after, from_beginning, table};
use super::{CHECKPOINTS, block, delete, rename};
use crate::faults::blocker::Blocker;
use crate::support::{Backend, Behaviour, Clients, Process, Test, behaviours, eventually};
use crate::user_service::calls::{Change, Method};

pub fn tests() -> Vec<Behaviour> {
    behaviours![the_copy_of_a_consumer_becomes_the_table_whatever_happens]
}

/// How many things happen.
const STEPS: usize = 60;

/// The seed of the randomness, to see again what was seen: 32 bytes in hexadecimal digits.
const SEED: &str = "IDENTITY_TEST_SEED";

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody creates a user through a server.
    Create { server: usize },
    /// Somebody renames a user.
    Rename { server: usize, user: usize },
    /// Somebody blocks a user.
    Block { server: usize, user: usize },
    /// Somebody lifts the block of a user.
    Unblock { server: usize, user: usize },
    /// Somebody deletes a user.
    Delete { server: usize, user: usize },
    /// Another program begins to change a user, or ends that.
    Late { slot: usize, commits: bool },
    /// A server is killed and started again.
    Kill { server: usize },
    /// The consumer goes away and comes back.
    Reconnect { server: usize },
    /// All that is under way ends, and the copy is looked at.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let a_server = || 0..2_usize;
    let pair = || (a_server(), any::<usize>());
    prop_oneof![
        4 => a_server().prop_map(|server| Step::Create { server }),
        5 => pair().prop_map(|(server, user)| Step::Rename { server, user }),
        2 => pair().prop_map(|(server, user)| Step::Block { server, user }),
        2 => pair().prop_map(|(server, user)| Step::Unblock { server, user }),
        2 => pair().prop_map(|(server, user)| Step::Delete { server, user }),
        6 => (0..LATE, any::<bool>()).prop_map(|(slot, commits)| Step::Late { slot, commits }),
        1 => a_server().prop_map(|server| Step::Kill { server }),
        3 => a_server().prop_map(|server| Step::Reconnect { server }),
        2 => Just(Step::Settle),
    ]
}

/// Users that only the other program changes, each in a transaction of its own.
const LATE: usize = 3;

fn seed() -> [u8; 32] {
    let text = std::env::var(SEED).unwrap_or_else(|_| {
        let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        random.map(|uuid| uuid.simple().to_string()).concat()
    });
    let mut seed = [0; 32];
    for (index, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).expect(SEED);
    }
    seed
}

fn steps(seed: [u8; 32]) -> Vec<Step> {
    let randomness = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), randomness);
    let mut steps: Vec<Step> = (0..STEPS)
        .map(|_| step().new_tree(&mut runner).unwrap().current())
        .collect();
    steps.push(Step::Settle);
    steps
}

async fn the_copy_of_a_consumer_becomes_the_table_whatever_happens(t: Test) {
    let seed = seed();
    let digits: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut world = World::begin(&t).await;
    for (number, step) in steps(seed).into_iter().enumerate() {
        let what = format!("{SEED}={digits}, step {number}: {step:?}");
        world.take(&t, step, &what).await;
    }
}

/// What a consumer keeps, in one transaction with what it does: its copy, and how far it has come.
#[derive(Default)]
struct Kept {
    copy: Copy,
    token: Option<String>,
    /// Why it gave up, which it never should.
    failure: Option<String>,
}

struct World {
    servers: [Process; 2],
    users: Vec<User>,
    late_users: Vec<User>,
    late: [Option<Blocker>; LATE],
    /// What the users of the snapshot had been through before.
    before: BTreeSet<String>,
    kept: Arc<Mutex<Kept>>,
    connected_to: usize,
    consumer: JoinHandle<()>,
    count: usize,
}

impl World {
    async fn begin(t: &Test) -> Self {
        let settings = [CHECKPOINTS, ("IDENTITY_DATABASE_LOCK_TIMEOUT", "10s")];
        let mut one = t.spawn(&settings, &["serve"]);
        one.wait_until_serving().await;
        let mut other = t.spawn(&settings, &["serve"]);
        other.wait_until_serving().await;
        let mut late_users = Vec::new();
        for slot in 0..LATE {
            late_users.push(one.create_user(&format!("late{slot}@example.com")).await);
        }
        let before = event_ids(t).await;
        let kept = Arc::new(Mutex::new(Kept::default()));
        let consumer = consume((*one).clone(), Arc::clone(&kept));
        // Who begins anew without a token begins with a later snapshot: what was created in between
        // is in it, and in no event.
        eventually("the consumer has begun", async || {
            kept.lock().unwrap().token.is_some().then_some(())
        })
        .await;
        Self {
            servers: [one, other],
            users: Vec::new(),
            late_users,
            late: [const { None }; LATE],
            before,
            kept,
            connected_to: 0,
            consumer,
            count: 0,
        }
    }

    fn clients(&self, server: usize) -> Clients {
        (*self.servers[server]).clone()
    }

    fn some_user(&self, number: usize) -> Option<User> {
        (!self.users.is_empty()).then(|| self.users[number % self.users.len()].clone())
    }

    fn new_name(&mut self) -> String {
        self.count += 1;
        format!("n{}", self.count)
    }

    async fn reconnect(&mut self, server: usize) {
        self.consumer.abort();
        // What one consumer still takes while the next begins would be told twice.
        if let Err(end) = (&mut self.consumer).await {
            assert!(end.is_cancelled(), "{end}");
        }
        self.connected_to = server;
        self.consumer = consume(self.clients(server), Arc::clone(&self.kept));
    }

    async fn take(&mut self, t: &Test, step: Step, what: &str) {
        let name = self.new_name();
        match step {
            Step::Create { server } => {
                let user = self
                    .clients(server)
                    .create_user(&format!("{name}@example.com"))
                    .await;
                self.users.push(user);
            }
            Step::Rename { server, user } => {
                if let Some(user) = self.some_user(user) {
                    rename(&self.clients(server), &user, &name).await;
                }
            }
            Step::Block { server, user } => {
                if let Some(user) = self.some_user(user) {
                    block(&self.clients(server), &user.id).await;
                }
            }
            Step::Unblock { server, user } => {
                if let Some(user) = self.some_user(user) {
                    let change = Change::of(&user.id);
                    Method::Unblock
                        .call(&self.clients(server), change)
                        .await
                        .expect(what);
                }
            }
            Step::Delete { server, user } => {
                if let Some(user) = self.some_user(user) {
                    delete(&self.clients(server), &user.id).await;
                    self.users.retain(|other| other.id != user.id);
                }
            }
            Step::Late { slot, commits } => self.change_late(t, slot, commits, &name).await,
            Step::Kill { server } => {
                let process = &mut self.servers[server];
                process.kill_9();
                process.start_again();
                process.wait_until_serving().await;
            }
            Step::Reconnect { server } => self.reconnect(server).await,
            Step::Settle => self.settle(t, what).await,
        }
    }

    async fn change_late(&mut self, t: &Test, slot: usize, commits: bool, name: &str) {
        let user_id = &self.late_users[slot].id;
        if t.backend == Backend::Sqlite {
            // There is one writer: whoever writes lets nobody else write meanwhile.
            t.sql(&change_by_hand_on_sqlite(user_id, name)).await.unwrap();
            return;
        }
        match self.late[slot].take() {
            None => {
                let change = change_by_hand(user_id, name);
                self.late[slot] = Some(Blocker::holding(&t.database_url(), &change).await);
            }
            Some(late) if commits => late.execute("COMMIT").await.unwrap(),
            Some(late) => late.release().await,
        }
    }

    async fn settle(&mut self, t: &Test, what: &str) {
        for slot in 0..LATE {
            if let Some(late) = self.late[slot].take() {
                late.execute("COMMIT").await.unwrap();
            }
        }
        let expected = table(&self.clients(0)).await.expect(what);
        let events: BTreeSet<String> = event_ids(t).await;
        eventually(what, async || {
            if self.consumer.is_finished() {
                self.reconnect(self.connected_to).await;
            }
            let kept = self.kept.lock().unwrap();
            assert_eq!(kept.failure, None, "{what}");
            let is_all_told = events
                .difference(&self.before)
                .all(|id| kept.copy.event_ids.contains(id));
            kept.copy.users == expected && is_all_told
        })
        .await;
        let kept = self.kept.lock().unwrap();
        assert!(kept.copy.event_ids.is_subset(&events), "{what}");
    }
}

/// Returns the ids of all events.
async fn event_ids(t: &Test) -> BTreeSet<String> {
    let id = match t.backend {
        Backend::Postgres => "id::text",
        Backend::Sqlite => {
            "lower(substr(hex(id),1,8)||'-'||substr(hex(id),9,4)||'-'||substr(hex(id),13,4)||'-'||substr(hex(id),17,4)||'-'||substr(hex(id),21))"
        }
    };
    let ids = t
        .sql_values(&format!("SELECT {id} AS value FROM user_events"))
        .await;
    ids.into_iter().map(|text| text.expect("an id")).collect()
}

/// Follows the users, and goes on where it was, until the task is aborted.
fn consume(clients: Clients, kept: Arc<Mutex<Kept>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let token = kept.lock().unwrap().token.clone();
        let request = token.map_or_else(from_beginning, |token| after(&token));
        let outcome = async {
            let mut watch = Watch::begin(&clients, request).await?;
            loop {
                let message = watch.message().await?;
                let mut kept = kept.lock().unwrap();
                kept.copy
                    .apply(message.content.expect("something in the message"));
                kept.token = Some(message.resume_token);
            }
        };
        let end: Result<(), crate::support::Failure> = outcome.await;
        let failure = end.expect_err("an end");
        // A server that was killed is come back to.
        if !matches!(
            failure.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled
        ) {
            kept.lock().unwrap().failure = Some(format!("{failure:?}"));
        }
    })
}
