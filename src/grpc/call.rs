//! What happens around every call: its deadline, its metric, and the form of its errors.
//!
//! One layer sees to it that a call ends by its deadline with DEADLINE_EXCEEDED, that a panic is an answer
//! and not a lost connection, that nothing reaches the database before it has been migrated, and that every
//! error carries a `google.rpc.ErrorInfo`, also those that tonic gives before a handler runs.

use std::collections::HashSet;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::error::ApiError;
use super::violations::Violations;
use crate::clock::Clock;
use crate::health::Health;
use crate::proto::identity::v1::ErrorReason;
use crate::telemetry::Metrics;
use crate::tokens::SecretToken;

/// What a handler knows about a call beside its message.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Who calls. Callers are not authenticated yet, so they are all the same one.
    pub caller: String,
    /// When the call arrived.
    pub now: DateTime<Utc>,
    /// When the answer is of no more use.
    pub deadline: Instant,
    /// The token in `authorization: Bearer …`, not verified.
    pub token: Option<SecretToken>,
}

impl CallContext {
    /// Takes a request apart.
    pub(super) fn split<T>(request: tonic::Request<T>) -> Result<(Self, T), ApiError> {
        let (_, mut extensions, message) = request.into_parts();
        let context = extensions
            .remove::<Self>()
            .ok_or_else(|| ApiError::internal(&"a call did not pass through the layer"))?;
        Ok((context, message))
    }
}

/// The name that unauthenticated callers have in common.
const ANYONE: &str = "anyone";

/// The method label of calls to methods that do not exist.
const OTHER_METHOD: &str = "other";

/// Services that answer also before the database has been migrated.
const ALWAYS_AVAILABLE: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.",
    "/identity.v1.StatusService/",
];

/// Wraps the services in [`CallService`].
#[derive(Debug, Clone)]
pub struct CallLayer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    methods: HashSet<&'static str>,
    max_deadline: Duration,
    clock: Arc<dyn Clock>,
    health: Health,
    metrics: Arc<Metrics>,
}

impl CallLayer {
    /// Makes the layer. `max_deadline` is how long a call may take whatever its caller says.
    #[must_use]
    pub fn new(
        methods: HashSet<&'static str>,
        max_deadline: Duration,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Shared {
            methods,
            max_deadline,
            clock,
            health,
            metrics,
        }))
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

/// Sees to what every call needs. See the module.
#[derive(Debug, Clone)]
pub struct CallService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<B>> for CallService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was made ready is used; the clone takes its place.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let started = Instant::now();
            let path = request.uri().path();
            let method = shared.methods.get(path).copied().unwrap_or(OTHER_METHOD);
            let answer = shared.answer(inner, request).await;
            let code = code_of(answer.headers());
            let seconds = started.elapsed().as_secs_f64();
            shared.metrics.count_call(method, code, seconds);
            tracing::debug!(method, ?code, seconds, "call answered");
            Ok(answer)
        })
    }
}

impl Shared {
    async fn answer<S, B>(&self, mut inner: S, mut request: Request<B>) -> Response<Body>
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    {
        if request.uri().query().is_some() {
            // tonic would route it as if the query were not there.
            return Status::from(ApiError::not_implemented()).into_http();
        }
        let deadline = match self.time_allowed(request.headers()) {
            Ok(time) => time,
            Err(error) => return Status::from(error).into_http(),
        };
        if deadline.is_zero() {
            // A handler that never waits would finish all the same.
            return Status::from(ApiError::deadline_exceeded()).into_http();
        }
        let path = request.uri().path();
        let needs_database = !ALWAYS_AVAILABLE.iter().any(|prefix| path.starts_with(prefix));
        if needs_database && !self.health.is_started() {
            return Status::from(ApiError::unavailable()).into_http();
        }
        let token = bearer_token(request.headers());
        request.extensions_mut().insert(CallContext {
            caller: ANYONE.to_owned(),
            now: self.clock.now(),
            deadline: Instant::now() + deadline,
            token,
        });
        // The future of a streaming call ends with its first answer: a stream may live on.
        let work = AssertUnwindSafe(inner.call(request)).catch_unwind();
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(Ok(response))) => with_details(response),
            Ok(Ok(Err(impossible))) => match impossible {},
            Ok(Err(_panic)) => {
                self.metrics.panics.inc();
                Status::from(ApiError::internal(&"a handler panicked")).into_http()
            }
            Err(_) => Status::from(ApiError::deadline_exceeded()).into_http(),
        }
    }

    /// Returns how long a call may take: as long as its caller allows, but not longer than the server.
    fn time_allowed(&self, headers: &HeaderMap) -> Result<Duration, ApiError> {
        let Some(value) = headers.get("grpc-timeout") else {
            return Ok(self.max_deadline);
        };
        let asked = value.to_str().ok().and_then(parse_timeout).ok_or_else(|| {
            ApiError::from(Violations::one(
                "grpc-timeout",
                ErrorReason::InvalidFormat,
                "must be up to eight digits and a unit of H, M, S, m, u or n",
            ))
        })?;
        Ok(asked.min(self.max_deadline))
    }
}

/// Returns the token of `authorization: Bearer …` (RFC 6750 §2.1), if there is exactly one.
fn bearer_token(headers: &HeaderMap) -> Option<SecretToken> {
    const SCHEME: &str = "bearer";
    let mut values = headers.get_all("authorization").iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| SecretToken::new(token.to_owned()))
}

/// Parses the value of `grpc-timeout` as the gRPC protocol over HTTP/2 defines it.
fn parse_timeout(text: &str) -> Option<Duration> {
    const MAX_DIGITS: usize = 8;
    const SECONDS_PER_MINUTE: u64 = 60;
    const SECONDS_PER_HOUR: u64 = 3600;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * SECONDS_PER_HOUR)),
        "M" => Some(Duration::from_secs(amount * SECONDS_PER_MINUTE)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The code of an answer. A success has its code after the body, so no code here means success.
fn code_of(headers: &HeaderMap) -> Code {
    headers
        .get("grpc-status")
        .map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// Gives an error without details, which only tonic makes, the code and the details it should have.
fn with_details(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let code = code_of(headers);
    if code == Code::Ok || headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let error = match code {
        Code::Unimplemented => ApiError::not_implemented(),
        // What tonic says of a message over the limit.
        Code::OutOfRange | Code::ResourceExhausted => ApiError::too_large(),
        Code::DeadlineExceeded => ApiError::deadline_exceeded(),
        // Whatever else tonic says before a handler runs is about bytes that are not a message.
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => ApiError::malformed(),
    };
    Status::from(error).into_http()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse_timeout;

    #[test]
    fn timeouts() {
        assert_eq!(parse_timeout("15S"), Some(Duration::from_secs(15)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            parse_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for text in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "1.5S",
            "123456789S",
            "+1S",
            "1 S",
            "１S",
        ] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }
}
