//! Lets others go first.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that goes on only after the tasks that are ready when it is woken, where there may be some.
///
/// Each call of a connection wakes it when it has an answer. tokio runs a task that another one has woken next, so that
/// every answer would be written by itself, in a system call that costs more than many calls do; after the others, the
/// connection finds all of their answers.
///
/// Where there are no others, it goes on at once: tokio wakes another thread for a task that has gone to the end of the
/// queue, even of an empty one, which takes longer than most calls do.
pub(super) struct After<F, Others> {
    inner: F,
    are_there_others: Others,
    has_waited: bool,
}

impl<F, Others> After<F, Others>
where
    F: Future + Unpin,
    Others: Fn() -> bool + Unpin,
{
    /// Has a future go on after others, if there are any.
    pub(super) const fn others(inner: F, are_there_others: Others) -> Self {
        Self {
            inner,
            are_there_others,
            has_waited: false,
        }
    }
}

impl<F, Others> Future for After<F, Others>
where
    F: Future + Unpin,
    Others: Fn() -> bool + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.has_waited = !self.has_waited && (self.are_there_others)();
        if self.has_waited {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake};

    use super::After;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_goes_on_at_once_if_there_are_no_others() {
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut context = Context::from_waker(&waker);
        let others = AtomicUsize::new(1);
        let are_there_others = || others.load(Ordering::Relaxed) > 0;
        let polls = AtomicUsize::new(0);
        let inner = poll_fn(|_| {
            polls.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        });
        let mut future = pin!(After::others(inner, are_there_others));
        for (left, woken, polled) in [
            (1, 1, 0),
            (0, 1, 1),
            (0, 1, 2),
            (0, 1, 3),
            (1, 2, 3),
            (1, 2, 4),
            (1, 3, 4),
            (0, 3, 5),
        ] {
            others.store(left, Ordering::Relaxed);
            assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
            assert_eq!(wakes.0.load(Ordering::Relaxed), woken);
            assert_eq!(polls.load(Ordering::Relaxed), polled);
        }
    }

    #[test]
    fn it_asks_to_be_polled_again_before_it_goes_on() {
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut context = Context::from_waker(&waker);
        let mut polls = 0;
        let mut future = pin!(After::others(
            poll_fn(|_| {
                polls += 1;
                if polls == 2 {
                    Poll::Ready(polls)
                } else {
                    Poll::Pending
                }
            }),
            || true
        ));
        for (poll, woken) in [
            (Poll::Pending, 1),
            (Poll::Pending, 1),
            (Poll::Pending, 2),
            (Poll::Ready(2), 2),
        ] {
            assert_eq!(future.as_mut().poll(&mut context), poll);
            assert_eq!(wakes.0.load(Ordering::Relaxed), woken);
        }
    }

    #[tokio::test]
    async fn tasks_that_are_ready_go_first() {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let note = |name| {
            let order = Arc::clone(&order);
            async move { order.lock().expect("no panic").push(name) }
        };
        let late = tokio::spawn(After::others(Box::pin(note("connection")), || true));
        let call = tokio::spawn(note("call"));
        let never = tokio::spawn(pending::<()>());
        late.await.expect("no panic");
        call.await.expect("no panic");
        never.abort();
        assert_eq!(*order.lock().expect("no panic"), ["call", "connection"]);
    }
}
