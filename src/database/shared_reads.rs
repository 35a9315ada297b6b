//! Reads of one thing each that share a query.
//!
//! Reads that wait at the same moment are answered by one query for all of their keys ([`super::together`]). A read never
//! joins a query that has gone, so that it sees whatever was committed before it began, and never gets the error of
//! another one: a query that fails for a reason that may lie in one of the keys is repeated for each key alone.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::DatabaseError;
use super::together::{Overdue, Terms, Together};
use crate::domain::{Session, SessionId, User, UserId};

/// How long a read waits for a query of others to come back before it goes beside it: longer than queries take, and
/// shorter than somebody minds. It is what a connection costs that is lost without a word.
const PATIENCE: Duration = Duration::from_millis(50);

/// Reads that share a query which is asked for keys and returns what there is for each of them. Cheap to clone.
pub(crate) struct SharedReads<Key, Value>(Together<Key, Option<Value>>);

/// A session as a token names it: with the name of the key that signed the token.
pub(crate) type TokenSession = (SessionId, String);

/// The reads that are shared.
pub(crate) struct AllSharedReads {
    /// Users by their ids.
    pub(crate) users_by_id: SharedReads<UserId, User>,
    /// Users by their normalised emails.
    pub(crate) users_by_email: SharedReads<String, User>,
    /// Users by their normalised usernames.
    pub(crate) users_by_username: SharedReads<String, User>,
    /// Sessions and their users.
    pub(crate) sessions_with_user: SharedReads<SessionId, (Session, User)>,
    /// Sessions and their users, for tokens.
    pub(crate) sessions_for_token: SharedReads<TokenSession, (Session, User)>,
}

impl AllSharedReads {
    /// Makes them, each with so many queries under way at the same time.
    pub(super) fn new(queries: usize) -> Self {
        Self {
            users_by_id: SharedReads::new(queries, PATIENCE),
            users_by_email: SharedReads::new(queries, PATIENCE),
            users_by_username: SharedReads::new(queries, PATIENCE),
            sessions_with_user: SharedReads::new(queries, PATIENCE),
            sessions_for_token: SharedReads::new(queries, PATIENCE),
        }
    }
}

impl<Key, Value> SharedReads<Key, Value>
where
    Key: Clone + Eq + Hash + Send + Sync + 'static,
    Value: Clone + Send + 'static,
{
    /// The most keys in one query: enough to share its cost, and few enough that nobody waits long for the others.
    const KEYS: usize = 128;

    fn new(queries: usize, patience: Duration) -> Self {
        Self(Together::new(Terms {
            batches: queries,
            calls: Self::KEYS,
            halves_above: None,
            gathers: false,
            blocks: false,
            patience,
            overdue: Overdue::Goes,
        }))
    }

    /// Returns what there is for a key. `query` asks for several.
    pub(crate) async fn get<Query, Found>(
        &self,
        key: Key,
        query: Query,
    ) -> Result<Option<Value>, DatabaseError>
    where
        Query: Fn(Vec<Key>) -> Found + Clone + Send + Sync + 'static,
        Found: Future<Output = Result<HashMap<Key, Value>, DatabaseError>> + Send,
    {
        let query = Arc::new(query);
        let send = move |keys| {
            let query = Arc::clone(&query);
            async move { answers(keys, query.as_ref()).await }
        };
        self.0.call(key, send).await
    }
}

/// Asks for all keys at once, and returns the answer of each.
async fn answers<Key, Value, Query, Found>(
    keys: Vec<Key>,
    query: &Query,
) -> Vec<Result<Option<Value>, DatabaseError>>
where
    Key: Clone + Eq + Hash + Send + Sync,
    Value: Clone + Send,
    Query: Fn(Vec<Key>) -> Found + Sync,
    Found: Future<Output = Result<HashMap<Key, Value>, DatabaseError>> + Send,
{
    let asked = distinct(&keys);
    let is_each_asked_once = asked.len() == keys.len();
    match query(asked).await {
        Ok(mut found) if is_each_asked_once => keys.iter().map(|key| Ok(found.remove(key))).collect(),
        Ok(found) => keys.iter().map(|key| Ok(found.get(key).cloned())).collect(),
        // It may lie in one of the keys: in what is stored there, for instance.
        Err(DatabaseError::Internal(reason)) if keys.len() > 1 => {
            tracing::debug!(%reason, "asking for each key alone");
            let mut answers = Vec::with_capacity(keys.len());
            for key in keys {
                let found = query(vec![key.clone()]).await;
                answers.push(found.map(|mut found| found.remove(&key)));
            }
            answers
        }
        // There is no connection, or somebody holds the table, whatever the key.
        Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
    }
}

/// Returns each key once, in the order in which they came.
fn distinct<Key: Clone + Eq + Hash>(keys: &[Key]) -> Vec<Key> {
    let mut seen = std::collections::HashSet::with_capacity(keys.len());
    keys.iter().filter(|key| seen.insert(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::{DatabaseError, SharedReads};

    /// Nobody goes beside a query that is under way.
    const FOREVER: Duration = Duration::from_secs(3600);

    /// A key that no query can be asked for.
    const BAD: u8 = 0;

    /// What happens, one after the other.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// A call reads a key.
        Read(u8),
        /// A change of a key is committed.
        Write(u8),
        /// One of the callers goes away.
        Leave(usize),
        /// The oldest query comes back.
        Answer,
        /// The connection of the oldest query is lost.
        Cut,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u8..4).prop_map(Step::Read),
            1 => (0_u8..4).prop_map(Step::Write),
            1 => (0_usize..8).prop_map(Step::Leave),
            2 => Just(Step::Answer),
            1 => Just(Step::Cut),
        ];
        proptest::collection::vec(step, 0..60)
    }

    /// A database in which every key has the number of its changes. What a query sees is decided when it arrives.
    #[derive(Clone, Default)]
    struct Stored {
        values: Arc<Mutex<HashMap<u8, u64>>>,
        queries: Arc<Mutex<VecDeque<Query>>>,
        cut: Arc<Mutex<usize>>,
    }

    struct Query {
        keys: Vec<u8>,
        comes_back: oneshot::Sender<bool>,
    }

    impl Stored {
        fn value(&self, key: u8) -> u64 {
            self.values.lock().unwrap().get(&key).copied().unwrap_or(0)
        }

        async fn ask(self, keys: Vec<u8>) -> Result<HashMap<u8, u64>, DatabaseError> {
            let seen = keys.iter().map(|key| (*key, self.value(*key))).collect();
            let (comes_back, answered) = oneshot::channel();
            let is_bad = keys.contains(&BAD);
            self.queries.lock().unwrap().push_back(Query { keys, comes_back });
            if answered.await != Ok(true) {
                return Err(DatabaseError::Unavailable("cut".to_owned()));
            }
            if is_bad {
                return Err(DatabaseError::Internal("a bad key".to_owned()));
            }
            Ok(seen)
        }

        /// Has the oldest query come back, well or not.
        fn end_oldest(&self, is_answered: bool) -> bool {
            let Some(query) = self.queries.lock().unwrap().pop_front() else {
                return false;
            };
            if !is_answered {
                *self.cut.lock().unwrap() += query.keys.len();
            }
            query.comes_back.send(is_answered).is_ok()
        }
    }

    /// Lets everything happen that can.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    struct Reader {
        key: u8,
        /// The number of changes that were committed before it began.
        at_least: u64,
        answer: JoinHandle<Result<Option<u64>, DatabaseError>>,
    }

    async fn play(steps: Vec<Step>, patience: Duration) {
        let stored = Stored::default();
        let reads = Arc::new(SharedReads::<u8, u64>::new(1, patience));
        let mut readers: Vec<Reader> = Vec::new();
        for step in steps {
            match step {
                Step::Read(key) => {
                    let (reads, database) = (Arc::clone(&reads), stored.clone());
                    readers.push(Reader {
                        key,
                        at_least: stored.value(key),
                        answer: tokio::spawn(async move {
                            reads.get(key, move |keys| database.clone().ask(keys)).await
                        }),
                    });
                }
                Step::Write(key) => *stored.values.lock().unwrap().entry(key).or_default() += 1,
                Step::Leave(index) if index < readers.len() => readers.remove(index).answer.abort(),
                Step::Leave(_) => {}
                Step::Answer => drop(stored.end_oldest(true)),
                Step::Cut => drop(stored.end_oldest(false)),
            }
            settle().await;
        }
        while !readers.iter().all(|reader| reader.answer.is_finished()) {
            // Whoever left took nobody along: the others are under way, or will be.
            stored.end_oldest(true);
            settle().await;
        }
        let cut = *stored.cut.lock().unwrap();
        for reader in readers {
            match reader.answer.await.unwrap() {
                Ok(value) => {
                    assert_ne!(reader.key, BAD);
                    assert!(
                        value.unwrap() >= reader.at_least,
                        "a read that joined a query that had gone"
                    );
                }
                Err(DatabaseError::Internal(_)) => {
                    assert_eq!(reader.key, BAD, "the error of another read")
                }
                Err(error) => assert!(error.is_of_connection() && cut > 0, "{error}"),
            }
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    proptest! {
        #[test]
        fn every_read_sees_what_was_committed_before_it_and_nobody_elses_error(
            steps in steps(),
            is_patient: bool,
        ) {
            let patience = if is_patient { FOREVER } else { Duration::ZERO };
            runtime().block_on(play(steps, patience));
        }
    }

    #[test]
    fn the_first_goes_at_once_and_those_who_wait_go_together() {
        runtime().block_on(async {
            let stored = Stored::default();
            let reads = Arc::new(SharedReads::<u8, u64>::new(1, FOREVER));
            let mut answers = Vec::new();
            for key in [1, 2, 3, 2] {
                let (reads, database) = (Arc::clone(&reads), stored.clone());
                answers.push(tokio::spawn(async move {
                    reads.get(key, move |keys| database.clone().ask(keys)).await
                }));
                settle().await;
            }
            assert_eq!(stored.queries.lock().unwrap()[0].keys, [1]);
            assert!(stored.end_oldest(true));
            settle().await;
            assert_eq!(stored.queries.lock().unwrap()[0].keys, [2, 3]);
            // One who leaves cancels nobody else's query.
            answers.remove(2).abort();
            assert!(stored.end_oldest(true));
            for answer in answers {
                assert_eq!(answer.await.unwrap().unwrap(), Some(0));
            }
        });
    }
}
