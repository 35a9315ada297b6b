//! The calls of a connection: what keeps one from going on for ever because of its client.
//!
//! hyper runs each call in a task of its own and hands it to an executor: ours. Around the call, the task watches
//! over the answer. One whose client does not take it (it gives no window) is reset after the send timeout. One that
//! has begun and has nothing to say, a stream that waits for news, is ended when the server ends.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderMap;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

use super::admission::{Place, QuietCall, RunningCall};
use crate::telemetry::ListenerMetrics;

/// What holds for the calls of every connection.
#[derive(Debug)]
pub(super) struct StreamRules {
    /// How long a client may leave an answer unread.
    pub(super) send_timeout: Duration,
    /// How long a stream without news lives on after the server began to end.
    pub(super) patience: Duration,
    /// Whether the server is ending.
    pub(super) end: watch::Receiver<bool>,
    /// Makes the status with which such a stream ends.
    pub(super) ending: fn() -> Status,
    pub(super) metrics: ListenerMetrics,
}

/// Runs the calls of a connection.
#[derive(Debug, Clone)]
pub(super) struct CallExecutor(Arc<Calls>);

#[derive(Debug)]
struct Calls {
    place: Place,
    rules: Arc<StreamRules>,
    has_called: AtomicBool,
}

impl CallExecutor {
    pub(super) fn new(place: Place, rules: Arc<StreamRules>) -> Self {
        Self(Arc::new(Calls {
            place,
            rules,
            has_called: AtomicBool::new(false),
        }))
    }
}

impl<F> Executor<F> for CallExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        let is_first = !self.0.has_called.swap(true, Ordering::AcqRel);
        let running = self.0.place.begin_call(is_first);
        let rules = Arc::clone(&self.0.rules);
        // Boxed: the task, which is moved several times while it is made, would hold room for it more than once.
        let call = Box::pin(call);
        tokio::spawn(async move {
            watch_over(call, &running, &rules).await;
        });
    }
}

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// How far the answer of a call has come. Shared by the body and the task around it, which take turns.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    must_end: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// There is no answer yet, or it is over.
    #[default]
    Calling,
    /// There is nothing to send at the moment.
    Waiting,
    /// The client has something to take.
    Sending {
        /// Whether it is there since the call was looked at last.
        is_new: bool,
    },
}

impl Progress {
    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Runs a call until it ends or its client has let it wait for too long. A call that is dropped is reset.
async fn watch_over<F: Future>(mut call: Pin<Box<F>>, running: &RunningCall, rules: &StreamRules) {
    let progress = Arc::new(Progress::default());
    let mut unread: Option<Pin<Box<Sleep>>> = None;
    let mut quiet: Option<Quiet<'_>> = None;
    std::future::poll_fn(|context| {
        loop {
            let polled = PROGRESS.sync_scope(Arc::clone(&progress), || call.as_mut().poll(context));
            if polled.is_ready() {
                return Poll::Ready(());
            }
            match progress.state() {
                State::Calling => return Poll::Pending,
                State::Sending { is_new } => {
                    quiet = None;
                    let timer = unread.get_or_insert_with(|| Box::pin(sleep(rules.send_timeout)));
                    if is_new {
                        timer.as_mut().reset(Instant::now() + rules.send_timeout);
                        progress.set(State::Sending { is_new: false });
                    }
                    ready!(timer.as_mut().poll(context));
                    rules.metrics.unread_answers.inc();
                    tracing::debug!("an answer was not taken and is given up");
                    return Poll::Ready(());
                }
                State::Waiting => {
                    let quiet = quiet.get_or_insert_with(|| Quiet {
                        end: Box::pin(patience(rules)),
                        _call: running.keep_quiet(),
                    });
                    ready!(quiet.end.as_mut().poll(context));
                    if progress.must_end.swap(true, Ordering::AcqRel) {
                        return Poll::Ready(());
                    }
                    // The body says so when it is polled once more.
                }
            }
        }
    })
    .await;
}

/// A stream that waits for news.
struct Quiet<'call> {
    /// Is over when it has waited for long enough.
    end: Pin<Box<dyn Future<Output = ()> + Send + 'call>>,
    _call: QuietCall<'call>,
}

async fn patience(rules: &StreamRules) {
    let mut end = rules.end.clone();
    // An error means that the server is gone.
    let _ = end.wait_for(|is_ending| *is_ending).await;
    sleep(rules.patience).await;
}

/// The body of an answer, in pieces, which tells how far it has come.
pub(super) struct WatchedBody {
    inner: tonic::body::Body,
    /// What is left of the last piece.
    rest: Bytes,
    ending: fn() -> Status,
    progress: Option<Arc<Progress>>,
}

/// What is handed over at once. As soon as a client gives any window, hyper takes a whole piece into the buffers of the
/// connection: pieces of the size of a frame bound what a client can have wait there.
const PIECE_BYTES: usize = 16 * 1024;

/// An answer up to this length is handed over as it is. If its client never gives it window, it waits in the connection
/// and takes no more memory there than the record of its stream does.
const SMALL_BYTES: usize = 1024;

/// What is handed over last of a longer one. hyper takes it only when there is window for everything before it; without
/// it, the task would be over while the answer waits for a window that never comes.
const LAST_PIECE_BYTES: usize = 1;

impl WatchedBody {
    /// Wraps the answer of the call whose task this is.
    pub(super) fn new(inner: tonic::body::Body, ending: fn() -> Status) -> Self {
        let progress = PROGRESS.try_with(Arc::clone).ok();
        Self {
            inner,
            rest: Bytes::new(),
            ending,
            progress,
        }
    }

    fn note(&self, state: State) {
        if let Some(progress) = &self.progress {
            progress.set(state);
        }
    }

    fn must_end(&self) -> bool {
        self.progress
            .as_ref()
            .is_some_and(|progress| progress.must_end.load(Ordering::Acquire))
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let length = match self.rest.len() {
            0 => return None,
            LAST_PIECE_BYTES => LAST_PIECE_BYTES,
            more => (more - LAST_PIECE_BYTES).min(PIECE_BYTES),
        };
        Some(self.rest.split_to(length))
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(piece) = self.next_piece() {
            self.note(State::Sending { is_new: true });
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Poll::Ready(next) = Pin::new(&mut self.inner).poll_frame(context) else {
            if self.must_end() {
                self.note(State::Calling);
                let mut trailers = HeaderMap::new();
                // Fails for statuses that cannot be written, which ours can.
                let _ = (self.ending)().add_header(&mut trailers);
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            self.note(State::Waiting);
            return Poll::Pending;
        };
        self.note(State::Sending { is_new: true });
        let Some(Ok(frame)) = next else {
            return Poll::Ready(next);
        };
        match frame.into_data() {
            Ok(data) if data.len() <= SMALL_BYTES => Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(data) => {
                self.rest = data;
                let piece = self.next_piece().unwrap_or_default();
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::SocketAddr;
    use std::pin::pin;
    use std::sync::atomic::AtomicU32;
    use std::task::Waker;

    use super::super::admission::Admission;
    use super::*;

    const SEND_TIMEOUT: Duration = Duration::from_millis(50);

    fn rules(end: watch::Receiver<bool>) -> StreamRules {
        StreamRules {
            send_timeout: SEND_TIMEOUT,
            patience: Duration::ZERO,
            end,
            ending: || Status::unavailable("the server is ending"),
            metrics: ListenerMetrics::default(),
        }
    }

    fn place() -> Place {
        let admission = Admission::new(1, 1, 1, ListenerMetrics::default());
        let from = SocketAddr::from(([192, 0, 2, 1], 1));
        Arc::new(admission).admit(from).expect("a place")
    }

    /// What a client is given time for is the next piece, and not all of the answer.
    #[tokio::test]
    async fn each_piece_has_the_send_timeout_to_itself() {
        let (_server, end) = watch::channel(false);
        let rules = rules(end);
        let running = place().begin_call(true);
        let pieces_taken = AtomicU32::new(0);
        let mut pieces_sent = 0;
        let answer = poll_fn(|_| {
            let is_new = pieces_sent <= pieces_taken.load(Ordering::Relaxed);
            if is_new {
                pieces_sent += 1;
                PROGRESS.with(|progress| progress.set(State::Sending { is_new }));
            }
            Poll::<()>::Pending
        });
        let mut call = pin!(watch_over(Box::pin(answer), &running, &rules));
        let mut context = Context::from_waker(Waker::noop());

        for _ in 0..3 {
            assert!(call.as_mut().poll(&mut context).is_pending());
            sleep(SEND_TIMEOUT).await;
            pieces_taken.fetch_add(1, Ordering::Relaxed);
        }
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(rules.metrics.unread_answers.get(), 0);

        call.await;
        assert_eq!(rules.metrics.unread_answers.get(), 1);
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_news_keeps_quiet() {
        let (_server, end) = watch::channel(false);
        let rules = rules(end);
        let place = place();
        let running = place.begin_call(true);
        let sending = State::Sending { is_new: true };
        let mut states = [sending, State::Waiting, State::Waiting, sending, State::Waiting].into_iter();
        let stream = poll_fn(|_| {
            let next = states.next();
            PROGRESS.with(|progress| progress.set(next.expect("a state")));
            Poll::<()>::Pending
        });
        let mut call = pin!(watch_over(Box::pin(stream), &running, &rules));
        let mut context = Context::from_waker(Waker::noop());

        for is_at_work in [true, false, false, true, false] {
            assert!(call.as_mut().poll(&mut context).is_pending());
            drop(place.begin_call(false));
            assert_eq!(place.are_calls_concurrent(), is_at_work);
        }
    }
}
