//! Calls that wait at the same moment and go to the database together.
//!
//! The first call goes at once, alone, or as soon as everything that is ready has had its turn ([`Terms::gathers`]). Those
//! that come while it is under way wait in line, and when it is back they all go together, as one batch; nobody waits
//! for a clock. So the fewer calls there are, the sooner each of them goes, and the more there are, the less each of
//! them costs. Where that is not what costs most, half of them go ([`Terms::halves_above`]).
//!
//! A call that comes after a batch has gone is never answered by it: what was committed before a call began is seen by
//! the call. Whoever stops waiting leaves the line, or is no longer answered; the others do not notice. Each call has an
//! answer of its own.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::DatabaseError;

/// How calls go together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The batches that are under way at the same time, unless calls are overdue.
    pub(super) batches: usize,
    /// The most calls in one batch.
    pub(super) calls: usize,
    /// Of more calls than this, a batch takes at most half of those that wait, for it or for one under way. With all of
    /// them in one batch, the callers have nothing to do while the database is at work, and it has nothing while they are.
    pub(super) halves_above: Option<usize>,
    /// Whether a call that need not wait in line goes after the tasks that are ready and what the sockets have, with the
    /// calls that come of those. It pays where a batch costs much more than a turn of the runtime.
    pub(super) gathers: bool,
    /// Whether batches block the thread that they are on. They are sent from one that may block, all of them that follow
    /// each other from the same.
    pub(super) blocks: bool,
    /// How long a call waits in line before it is overdue.
    pub(super) patience: Duration,
    /// What becomes of a call then.
    pub(super) overdue: Overdue,
}

impl Terms {
    /// Returns the most calls in a batch while so many wait.
    fn most_of(&self, waiting: usize) -> usize {
        let halved = self.halves_above.map(|least| waiting.div_ceil(2).max(least));
        halved.map_or(self.calls, |most| most.min(self.calls))
    }
}

/// What becomes of a call that has waited in line for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It goes beside the batches that do not come back, and takes the others in line along.
    Goes,
    /// It gives up, as calls do that wait for a connection.
    Leaves,
}

/// Has calls go together. Cheap to clone.
pub(super) struct Together<Request, Answer>(Arc<Line<Request, Answer>>);

struct Line<Request, Answer> {
    terms: Terms,
    /// How many wait, in line or for a batch under way. It only says how many to take along, and may lag behind.
    waiting: AtomicUsize,
    state: Mutex<State<Request, Answer>>,
}

struct State<Request, Answer> {
    /// In the order of their numbers.
    calls: VecDeque<Call<Request, Answer>>,
    next_number: u64,
    /// How many tasks send batches.
    senders: usize,
}

struct Call<Request, Answer> {
    number: u64,
    request: Request,
    answer: oneshot::Sender<Result<Answer, DatabaseError>>,
}

impl<Request, Answer> Clone for Together<Request, Answer> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Request, Answer> Together<Request, Answer>
where
    Request: Send + 'static,
    Answer: Send + 'static,
{
    /// Makes an empty line.
    pub(super) fn new(terms: Terms) -> Self {
        Self(Arc::new(Line {
            terms,
            waiting: AtomicUsize::new(0),
            state: Mutex::new(State {
                calls: VecDeque::new(),
                next_number: 0,
                senders: 0,
            }),
        }))
    }

    /// Makes a call. `send` takes the requests of a batch and returns as many answers in the same order; it goes on
    /// whatever becomes of the calls.
    pub(super) async fn call<Sender, Answers>(
        &self,
        request: Request,
        send: Sender,
    ) -> Result<Answer, DatabaseError>
    where
        Sender: Fn(Vec<Request>) -> Answers + Clone + Send + Sync + 'static,
        Answers: Future<Output = Vec<Result<Answer, DatabaseError>>> + Send,
    {
        let line = &self.0;
        let (answer, mut answered) = oneshot::channel();
        let (mut place, goes_at_once) = line.enter(request, answer);
        if goes_at_once {
            spawn_sender(Arc::clone(line), send.clone());
        }
        let outcome = match timeout(line.terms.patience, &mut answered).await {
            Ok(outcome) => outcome,
            Err(_) => {
                match line.terms.overdue {
                    Overdue::Goes if line.may_overtake(place.number) => {
                        spawn_sender(Arc::clone(line), send);
                    }
                    Overdue::Leaves if line.leave(place.number) => {
                        return Err(DatabaseError::Unavailable(
                            "no connection became free in time".to_owned(),
                        ));
                    }
                    // It is under way.
                    Overdue::Goes | Overdue::Leaves => {}
                }
                answered.await
            }
        };
        place.is_answered = true;
        // The message of a panic may quote a value; its place has been logged.
        outcome.unwrap_or_else(|_| Err(DatabaseError::Internal("a batch panicked".to_owned())))
    }
}

impl<Request, Answer> Line<Request, Answer> {
    fn state(&self) -> MutexGuard<'_, State<Request, Answer>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in line, and tells whether a task has to be spawned that sends batches.
    fn enter(
        &self,
        request: Request,
        answer: oneshot::Sender<Result<Answer, DatabaseError>>,
    ) -> (Place<'_, Request, Answer>, bool) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        let number = state.next_number;
        state.next_number += 1;
        state.calls.push_back(Call {
            number,
            request,
            answer,
        });
        let goes_at_once = state.senders < self.terms.batches;
        if goes_at_once {
            state.senders += 1;
        }
        drop(state);
        let place = Place {
            line: self,
            number,
            is_answered: false,
        };
        (place, goes_at_once)
    }

    /// Leaves the line, and tells whether the call was still in it.
    fn leave(&self, number: u64) -> bool {
        let mut state = self.state();
        let found = state.calls.binary_search_by_key(&number, |call| call.number);
        let left = found.ok().and_then(|index| state.calls.remove(index));
        drop(state);
        left.is_some()
    }

    /// Tells whether a call is still in line. If so, a task has to be spawned that sends a batch.
    fn may_overtake(&self, number: u64) -> bool {
        let mut state = self.state();
        let is_in_line = state
            .calls
            .binary_search_by_key(&number, |call| call.number)
            .is_ok();
        if is_in_line {
            state.senders += 1;
        }
        is_in_line
    }
}

/// A place in line, which is given up when it is dropped before the answer has come.
struct Place<'a, Request, Answer> {
    line: &'a Line<Request, Answer>,
    number: u64,
    is_answered: bool,
}

impl<Request, Answer> Drop for Place<'_, Request, Answer> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.line.leave(self.number);
        }
        self.line.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task that sends batches. It counts until there is nobody in line, or until the runtime ends.
struct Sending<Request, Answer> {
    line: Arc<Line<Request, Answer>>,
    is_over: bool,
}

impl<Request, Answer> Sending<Request, Answer> {
    /// Takes those in line who come first. Where there are none the task is over, at the same moment: whoever comes next
    /// has another one spawned.
    fn take(&mut self) -> Option<Vec<Call<Request, Answer>>> {
        let mut state = self.line.state();
        let waiting = self.line.waiting.load(Ordering::Relaxed);
        let count = state.calls.len().min(self.line.terms.most_of(waiting));
        if count == 0 {
            state.senders = state.senders.saturating_sub(1);
            self.is_over = true;
            return None;
        }
        Some(state.calls.drain(..count).collect())
    }
}

impl<Request, Answer> Drop for Sending<Request, Answer> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.line.state();
            state.senders = state.senders.saturating_sub(1);
        }
    }
}

/// Sends batches, one after the other, in a task of its own until nobody is in line.
fn spawn_sender<Request, Answer, Sender, Answers>(line: Arc<Line<Request, Answer>>, send: Sender)
where
    Request: Send + 'static,
    Answer: Send + 'static,
    Sender: Fn(Vec<Request>) -> Answers + Send + Sync + 'static,
    Answers: Future<Output = Vec<Result<Answer, DatabaseError>>> + Send,
{
    let blocks = line.terms.blocks;
    let mut sending = Sending { line, is_over: false };
    // In a box: what runs a task is compiled for every type of future.
    let work: BoxFuture<'static, ()> = Box::pin(async move {
        if sending.line.terms.gathers {
            tokio::task::yield_now().await;
        }
        while let Some(calls) = sending.take() {
            let (requests, answers): (Vec<_>, Vec<_>) =
                calls.into_iter().map(|call| (call.request, call.answer)).unzip();
            // Of a batch that panics nobody is answered.
            let Ok(outcomes) = AssertUnwindSafe(async { send(requests).await })
                .catch_unwind()
                .await
            else {
                continue;
            };
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Whoever has stopped waiting needs no answer.
                let _ = answer.send(outcome);
            }
        }
    });
    if blocks {
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(work));
    } else {
        tokio::spawn(work);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::{Overdue, Terms, Together};

    const TERMS: Terms = Terms {
        batches: 1,
        calls: 8,
        halves_above: None,
        gathers: false,
        blocks: false,
        patience: Duration::from_secs(3600),
        overdue: Overdue::Goes,
    };

    /// Makes a call, and another one of a task that becomes ready by then, and returns how many went in each batch.
    async fn batches(gathers: bool) -> Vec<usize> {
        let line = Together::<u8, u8>::new(Terms { gathers, ..TERMS });
        let batches = Arc::new(Mutex::new(Vec::new()));
        let sizes = Arc::clone(&batches);
        let call = move |request| {
            let (line, sizes) = (line.clone(), Arc::clone(&sizes));
            let send = move |requests: Vec<u8>| {
                sizes.lock().unwrap().push(requests.len());
                async move { requests.into_iter().map(Ok).collect() }
            };
            tokio::spawn(async move { line.call(request, send).await })
        };
        let one = call(1);
        let other = tokio::spawn(async move { call(2).await });
        assert_eq!(one.await.unwrap().unwrap(), 1);
        assert_eq!(other.await.unwrap().unwrap().unwrap(), 2);
        let gone = batches.lock().unwrap();
        gone.clone()
    }

    #[tokio::test]
    async fn one_that_gathers_takes_along_what_becomes_ready() {
        assert_eq!(batches(true).await, [2]);
        assert_eq!(batches(false).await, [1, 1]);
    }

    /// Makes two calls, of which the second comes while the first is under way, and returns the threads that sent them.
    async fn threads(blocks: bool) -> [ThreadId; 2] {
        let line = Together::<u8, ThreadId>::new(Terms { blocks, ..TERMS });
        let (begun, way) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let mut calls = Vec::new();
        for request in 1..=2 {
            let (called, begins, own_way) = (line.clone(), Arc::clone(&begun), Arc::clone(&way));
            let send = move |requests: Vec<u8>| {
                let on_the_way = Arc::clone(&own_way);
                begins.fetch_add(1, Ordering::Relaxed);
                async move {
                    on_the_way.acquire().await.unwrap().forget();
                    requests.iter().map(|_| Ok(thread::current().id())).collect()
                }
            };
            calls.push(tokio::spawn(async move { called.call(request, send).await }));
            while line.0.waiting.load(Ordering::Relaxed) < usize::from(request)
                || begun.load(Ordering::Relaxed) == 0
            {
                tokio::task::yield_now().await;
            }
        }
        way.add_permits(2);
        let [one, other] = calls.try_into().unwrap();
        [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()]
    }

    #[tokio::test]
    async fn those_that_block_stay_on_one_thread_that_may() {
        let own = thread::current().id();
        assert_eq!(threads(false).await, [own, own]);
        let [one, other] = threads(true).await;
        assert!(one == other && one != own);
    }

    /// Makes eight calls, of which seven come while the first is under way, and returns how many went in each batch.
    async fn batches_of_eight(halves_above: Option<usize>) -> Vec<usize> {
        let line = Together::<u8, u8>::new(Terms {
            halves_above,
            ..TERMS
        });
        let batches = Arc::new(Mutex::new(Vec::new()));
        let way = Arc::new(Semaphore::new(0));
        let is_called = |request| {
            let has_begun = !batches.lock().unwrap().is_empty();
            has_begun && line.0.waiting.load(Ordering::Relaxed) == usize::from(request)
        };
        let mut calls = Vec::new();
        for request in 1..=8 {
            let (line, batches, way) = (line.clone(), Arc::clone(&batches), Arc::clone(&way));
            let send = move |requests: Vec<u8>| {
                batches.lock().unwrap().push(requests.len());
                let way = Arc::clone(&way);
                async move {
                    way.acquire().await.unwrap().forget();
                    requests.into_iter().map(Ok).collect()
                }
            };
            calls.push(tokio::spawn(async move { line.call(request, send).await }));
            while !is_called(request) {
                tokio::task::yield_now().await;
            }
        }
        way.add_permits(8);
        for (request, call) in (1..).zip(calls) {
            assert_eq!(call.await.unwrap().unwrap(), request);
        }
        let gone = batches.lock().unwrap();
        gone.clone()
    }

    #[tokio::test]
    async fn of_many_calls_half_go_together() {
        assert_eq!(batches_of_eight(None).await, [1, 7]);
        assert_eq!(batches_of_eight(Some(7)).await, [1, 7]);
        assert_eq!(batches_of_eight(Some(2)).await, [1, 4, 3]);
    }
}
