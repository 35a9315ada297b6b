//! Load: one kind of call, made over and over.
//!
//! In a closed loop each of n callers makes its next call when the one before is answered: what a server can do. In an
//! open loop calls begin when they are due, whatever became of those before, and their latency counts from when they
//! were due: what people notice. A server that stops for a second cannot hide it by not being asked meanwhile
//! (coordinated omission).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::latencies::Latencies;

/// How a call ended.
#[derive(Debug)]
pub enum Answer {
    Good,
    /// The server said that it has no time for it.
    Refused,
    /// The deadline passed.
    Late,
    /// Anything else, in words.
    Failed(String),
}

impl From<Result<(), tonic::Status>> for Answer {
    fn from(outcome: Result<(), tonic::Status>) -> Self {
        match outcome {
            Ok(()) => Self::Good,
            Err(status) => match status.code() {
                tonic::Code::ResourceExhausted => Self::Refused,
                tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => Self::Late,
                _ => Self::Failed(format!("{status:?}")),
            },
        }
    }
}

/// Which call it is.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// The caller, from 0; each call of an open loop has its own.
    pub caller: usize,
    /// The number of the call of that caller, from 0.
    pub number: u64,
}

impl Turn {
    /// Picks one of `count` things: at random, but the same in every run, and independently of other turns.
    pub fn pick(self, count: usize) -> usize {
        // The mixing step of SplitMix64.
        let seed = (self.caller as u64) << 40 ^ self.number;
        let mut mixed = seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(0x1234_5678_9ABC_DEF1);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    }
}

/// What became of calls.
#[derive(Debug, Clone, Default)]
pub struct Load {
    pub good: Latencies,
    pub refused: Latencies,
    pub late: Latencies,
    pub failed: Latencies,
    /// What the first call that failed said.
    pub first_failure: Option<String>,
    /// The time in which calls were counted.
    pub seconds: f64,
}

impl Load {
    /// Returns how many calls per second were answered well.
    pub fn rate(&self) -> f64 {
        self.good.count() as f64 / self.seconds
    }

    /// Returns how long every call took, however it ended: what people notice.
    pub fn noticed(&self) -> Latencies {
        let mut all = self.good.clone();
        for others in [&self.refused, &self.late, &self.failed] {
            all.add(others);
        }
        all
    }

    /// Ends the bench if a call was not answered well.
    pub fn all_good(self) -> Self {
        let refused_or_late = self.refused.count() + self.late.count();
        assert!(
            self.failed.count() == 0 && refused_or_late == 0,
            "{} refused or late, {} failed: {:?}",
            refused_or_late,
            self.failed.count(),
            self.first_failure
        );
        self
    }

    fn note(&mut self, answer: Answer, latency: Duration) {
        match answer {
            Answer::Good => self.good.record(latency),
            Answer::Refused => self.refused.record(latency),
            Answer::Late => self.late.record(latency),
            Answer::Failed(text) => {
                self.failed.record(latency);
                self.first_failure.get_or_insert(text);
            }
        }
    }

    /// Adds what became of other calls in the same time.
    pub fn add(&mut self, other: &Self) {
        self.good.add(&other.good);
        self.refused.add(&other.refused);
        self.late.add(&other.late);
        self.failed.add(&other.failed);
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }
}

/// Keeps `in_flight` calls under way. Calls that end within `warm_up`, or after `span` more, are made but not counted:
/// at both ends the server is busy with what counts.
pub async fn closed_loop<C, F>(in_flight: usize, warm_up: Duration, span: Duration, call: C) -> Load
where
    C: Fn(Turn) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send,
{
    let counts_from = Instant::now() + warm_up;
    let counts_to = counts_from + span;
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut load = Load::default();
                for number in 0.. {
                    let asked = Instant::now();
                    if asked >= counts_to {
                        break;
                    }
                    let answer = call(Turn { caller, number }).await;
                    let answered = Instant::now();
                    if (counts_from..counts_to).contains(&answered) {
                        load.note(answer, answered - asked);
                    } else if let Answer::Failed(text) = answer {
                        // A failure is never overlooked.
                        load.note(Answer::Failed(text), answered - asked);
                    }
                }
                load
            })
        })
        .collect();
    let mut sum = Load {
        seconds: span.as_secs_f64(),
        ..Load::default()
    };
    for caller in callers {
        sum.add(&caller.await.expect("a caller"));
    }
    sum
}

/// Begins calls at a constant rate for as long as `span`, and waits for all of their answers.
///
/// A thread of its own keeps the time: the timers of the runtime are as coarse as the latencies that are measured.
pub async fn open_loop<C, F>(per_second: f64, span: Duration, call: C) -> Load
where
    C: Fn(Turn) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    open_loop_until(per_second, span, Arc::default(), call).await
}

/// Like [`open_loop`], and ends as soon as `is_over` says so.
pub async fn open_loop_until<C, F>(
    per_second: f64,
    span: Duration,
    is_over: Arc<AtomicBool>,
    call: C,
) -> Load
where
    C: Fn(Turn) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    assert!(per_second > 0.0, "calls never begin at this rate");
    let (results, mut answers) = mpsc::unbounded_channel();
    let runtime = Handle::current();
    let pace = std::thread::spawn(move || {
        let begin = Instant::now();
        for number in 0_u32.. {
            let due = begin + Duration::from_secs_f64(f64::from(number) / per_second);
            if due >= begin + span || is_over.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (call, results) = (call.clone(), results.clone());
            runtime.spawn(async move {
                let turn = Turn {
                    caller: number as usize,
                    number: 0,
                };
                let answer = call(turn).await;
                // Nobody listens any more only if the bench has failed.
                let _ = results.send((answer, due.elapsed()));
            });
        }
        begin.elapsed()
    });
    let mut load = Load::default();
    while let Some((answer, latency)) = answers.recv().await {
        load.note(answer, latency);
    }
    load.seconds = pace.join().expect("the pace").as_secs_f64();
    load
}
