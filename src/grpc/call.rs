//! What happens around every call: its deadline, its metric, and the form of its errors.
//!
//! One layer sees to it that only callers get through that may, that a call ends by its deadline with DEADLINE_EXCEEDED, that a panic is an answer
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
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::authorize::{Admitted, Authorizer, Caller, Shown};
use super::correlation::{self, REQUEST_ID_HEADER, trace_id};
use super::error::ApiError;
use super::violations::Violations;
use crate::clock::Clock;
use crate::domain::{Command, CorrelationId, Origin, Refusal, RequestRecord, Session, UserId};
use crate::health::Health;
use crate::proto::identity::v1::ErrorReason;
use crate::sign_in::Authenticated;
use crate::telemetry::Metrics;
use crate::tokens::StandingToken;

/// What a handler knows about a call beside its message.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Who calls.
    pub caller: Caller,
    /// The token of a service that calls, which may be revoked while the call goes on.
    pub standing: Option<StandingToken>,
    /// When the call arrived.
    pub now: DateTime<Utc>,
    /// When the answer is of no more use.
    pub deadline: Instant,
    /// What ties together what is on record about the call.
    pub correlation_id: CorrelationId,
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

    /// Returns where a change comes from that is made by this call: from whom the credential says, whatever else the
    /// request says.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            actor: self.caller.actor(),
            correlation_id: self.correlation_id.clone(),
        }
    }

    /// Makes a change of what the call asks for.
    pub(super) fn command<T>(&self, value: T, request: Option<RequestRecord>) -> Command<T> {
        Command {
            request,
            ..Command::new(value, self.origin())
        }
    }

    /// Returns the user who calls for itself.
    pub(super) fn user(&self) -> Result<&Authenticated, ApiError> {
        match &self.caller {
            Caller::User(user) => Ok(user),
            Caller::FormerUser(_) => Err(Refusal::SessionEnded.into()),
            Caller::Anyone | Caller::Service(_) => Err(Refusal::TokenRequired.into()),
        }
    }

    /// Checks that the caller may reach the data of a user: services may, and users may reach their own. What belongs to
    /// somebody else is as if it did not exist.
    pub(super) fn check_reach(&self, id: UserId) -> Result<(), ApiError> {
        if self.may_reach(id)? {
            Ok(())
        } else {
            Err(Refusal::UserNotFound(id).into())
        }
    }

    /// Checks that the caller may reach a session.
    pub(super) fn check_reach_of_session(&self, session: &Session) -> Result<(), ApiError> {
        if self.may_reach(session.user_id)? {
            Ok(())
        } else {
            Err(Refusal::SessionNotFound(session.id).into())
        }
    }

    fn may_reach(&self, id: UserId) -> Result<bool, ApiError> {
        match &self.caller {
            Caller::Anyone | Caller::Service(_) => Ok(true),
            Caller::User(caller) => Ok(caller.user.id == id),
            Caller::FormerUser(_) => Err(Refusal::SessionEnded.into()),
        }
    }
}

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
    authorizer: Authorizer,
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
        authorizer: Authorizer,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Shared {
            methods,
            max_deadline,
            authorizer,
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
        let correlation_id = correlation::id_of(request.headers());
        let path = request.uri().path();
        let method = shared.methods.get(path).copied().unwrap_or(OTHER_METHOD);
        // Of the level of errors, so that also a quiet log tells which call a line belongs to.
        let span = tracing::error_span!(
            "call",
            method,
            correlation_id = correlation_id.as_str(),
            trace_id = trace_id(request.headers())
        );
        let work = async move {
            let started = Instant::now();
            let id = correlation::header_of(&correlation_id);
            let mut answer = shared.answer(inner, request, correlation_id).await;
            if let Some(id) = id {
                answer.headers_mut().insert(REQUEST_ID_HEADER, id);
            }
            let code = code_of(answer.headers());
            let seconds = started.elapsed().as_secs_f64();
            shared.metrics.count_call(method, code, seconds);
            tracing::debug!(?code, seconds, "call answered");
            Ok(answer)
        };
        Box::pin(work.instrument(span))
    }
}

impl Shared {
    async fn answer<S, B>(
        &self,
        mut inner: S,
        request: Request<B>,
        correlation_id: CorrelationId,
    ) -> Response<Body>
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
        let now = self.clock.now();
        let ends = Instant::now() + deadline;
        // The future of a streaming call ends with its first answer: a stream may live on.
        let work = AssertUnwindSafe(async move {
            let (mut head, body) = request.into_parts();
            let admitted = match self.authorize(&head, now).await {
                Ok(admitted) => admitted,
                Err(error) => return Ok(Status::from(error).into_http()),
            };
            head.extensions.insert(CallContext {
                caller: admitted.caller,
                standing: admitted.standing,
                now,
                deadline: ends,
                correlation_id,
            });
            inner
                .call(Request::from_parts(head, body))
                .await
                .map(with_details)
        })
        .catch_unwind();
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(impossible))) => match impossible {},
            Ok(Err(_panic)) => {
                self.metrics.panics.inc();
                Status::from(ApiError::internal(&"a handler panicked")).into_http()
            }
            Err(_) => Status::from(ApiError::deadline_exceeded()).into_http(),
        }
    }

    /// Returns who calls, if that caller may call the method.
    async fn authorize(&self, head: &Parts, now: DateTime<Utc>) -> Result<Admitted, ApiError> {
        let shown = Shown {
            headers: &head.headers,
            peer: head.extensions.get(),
        };
        let admitted = self
            .authorizer
            .admit(head.uri.path(), shown, self.health.is_started(), now)
            .await?;
        tracing::debug!(caller = %admitted.caller.actor(), "call admitted");
        Ok(admitted)
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
