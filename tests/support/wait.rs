//! Waiting for something to become true, instead of sleeping and hoping.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long a condition may take to come true: far longer than it should on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// The pause between two looks: too short to be noticed, too long to keep a core busy.
const PAUSE: Duration = Duration::from_millis(20);

/// What a condition answers: `bool`, or an `Option` with the value waited for.
pub trait Answer {
    /// What there is once the condition is true.
    type Value;

    /// Returns the value if the condition is true.
    fn into_value(self) -> Option<Self::Value>;
}

impl Answer for bool {
    type Value = ();

    fn into_value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Answer for Option<T> {
    type Value = T;

    fn into_value(self) -> Option<T> {
        self
    }
}

/// Waits until a condition is true. Fails the test, with the description, if it does not become so.
pub async fn eventually<A: Answer>(
    description: &str,
    mut condition: impl AsyncFnMut() -> A,
) -> A::Value {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = timeout_at(deadline, condition()).await;
        if let Some(value) = answer.ok().and_then(Answer::into_value) {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "not within {} s: {description}",
            LIMIT.as_secs()
        );
        sleep(PAUSE).await;
    }
}
