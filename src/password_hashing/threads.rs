//! Threads for work that takes long and cannot be interrupted, at a low priority, so that whoever reads meanwhile gets a
//! core first: the functions of other systems, each user's once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Work that a thread does from beginning to end.
type Job = Box<dyn FnOnce() + Send>;

/// Threads that live as long as this value.
#[derive(Debug)]
pub(super) struct HashingThreads(Mutex<Sender<Job>>);

impl HashingThreads {
    /// Starts the threads. If the machine has none to give, jobs fail.
    pub(super) fn start(count: usize) -> Self {
        let (jobs, receiver) = channel();
        let shared_queue = Arc::new(Mutex::new(receiver));
        for _ in 0..count {
            let queue = Arc::clone(&shared_queue);
            let thread = std::thread::Builder::new().name("imported-hashing".to_owned());
            if let Err(error) = thread.spawn(move || work(&queue)) {
                tracing::error!(%error, "a thread for hashing could not be started");
            }
        }
        Self(Mutex::new(jobs))
    }

    /// Runs a job on one of the threads, and returns what it made; nothing if it panicked.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody may be waiting any more.
            let _ = answer.send(job());
        });
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(job)
            .ok()?;
        result.await.ok()
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    lower_priority();
    loop {
        // The lock is held while waiting: the others wait for the lock instead.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else {
            return;
        };
        // A job that panics is an answer that does not come, not a thread less.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Has the operating system prefer every other thread to this one. On Linux a priority is that of a thread; where
/// it cannot be lowered, hashes merely compete.
pub(super) fn lower_priority() {
    /// The lowest but a few: a core that nobody else wants is still used in full.
    const NICE: i32 = 15;
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the priority of hashing could not be lowered");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = NICE;
}

#[cfg(test)]
mod tests {
    use super::HashingThreads;

    #[tokio::test]
    async fn a_job_that_panics_leaves_the_thread_alive() {
        let threads = HashingThreads::start(1);
        assert_eq!(threads.run(|| -> u8 { panic!("on purpose") }).await, None);
        assert_eq!(threads.run(|| 7).await, Some(7));
    }
}
