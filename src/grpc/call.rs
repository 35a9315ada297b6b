//! What happens around every call: its deadline, its metric, and the form of its errors.
//!
//! One place sees to it that only callers get through that may, that a call ends by its deadline with DEADLINE_EXCEEDED, that a panic is an answer
//! and not a lost connection, that nothing reaches the database before it has been migrated, and that every
//! error carries a `google.rpc.ErrorInfo`, also those that tonic gives before a handler runs.

use std::convert::Infallible;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::time::{Sleep, sleep_until};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Instrument;
use tracing::instrument::Instrumented;

use super::access::Method;
use super::authorize::{Admitted, Authorizer, Caller, Shown};
use super::correlation::{self, REQUEST_ID_HEADER, trace_id};
use super::error::ApiError;
use super::routes::Routes;
use super::violations::Violations;
use crate::clock::Clock;
use crate::domain::{Command, CorrelationId, Origin, Refusal, RequestRecord, Session, UserId};
use crate::health::Health;
use crate::proto::identity::v1::ErrorReason;
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
            .ok_or_else(|| ApiError::internal(&"a call has no context"))?;
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

/// Answers the calls of the gRPC port. Cheap to clone.
#[derive(Clone)]
pub struct CallService(Arc<Shared>);

struct Shared {
    routes: Routes,
    max_deadline: Duration,
    authorizer: Authorizer,
    clock: Arc<dyn Clock>,
    health: Health,
    metrics: Arc<Metrics>,
}

impl CallService {
    /// Puts together what answers. `max_deadline` is how long a call may take whatever its caller says.
    #[must_use]
    pub fn new(
        routes: Routes,
        max_deadline: Duration,
        authorizer: Authorizer,
        clock: Arc<dyn Clock>,
        health: Health,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Shared {
            routes,
            max_deadline,
            authorizer,
            clock,
            health,
            metrics,
        }))
    }
}

impl Service<Request<Incoming>> for CallService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Instrumented<CallFuture>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let started = Instant::now();
        let correlation_id = correlation::id_of(request.headers());
        let method = self.0.authorizer.method(request.uri().path());
        let name = method.map_or(OTHER_METHOD, |method| method.path);
        // Of the level of errors, so that also a quiet log tells which call a line belongs to.
        let span = tracing::error_span!(
            "call",
            method = name,
            correlation_id = correlation_id.as_str(),
            trace_id = trace_id(request.headers())
        );
        let request_id = correlation::header_of(&correlation_id);
        let (answer, deadline) = match self.0.deadline_of(&request, started) {
            Ok(deadline) => {
                let shared = Arc::clone(&self.0);
                (shared.answer(request, method, correlation_id, deadline), deadline)
            }
            Err(error) => (ready(Status::from(error).into_http()).boxed(), started),
        };
        let call = CallFuture {
            answer,
            deadline,
            timer: None,
            started,
            method: name,
            request_id,
            metrics: Arc::clone(&self.0.metrics),
        };
        call.instrument(span)
    }
}

/// A call that is being answered. It ends by its deadline, and is an answer also where it panics.
///
/// It is small, as what holds it is moved several times; what it works on is not moved any more.
pub struct CallFuture {
    /// Ends with the first answer of a streaming call: a stream may live on.
    answer: BoxFuture<'static, Response<Body>>,
    deadline: Instant,
    /// Made when the call has to wait for something.
    timer: Option<Pin<Box<Sleep>>>,
    started: Instant,
    method: &'static str,
    request_id: Option<HeaderValue>,
    metrics: Arc<Metrics>,
}

impl Future for CallFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = AssertUnwindSafe(|| self.answer.as_mut().poll(context));
        let answer = match catch_unwind(poll) {
            Ok(Poll::Ready(answer)) => answer,
            Ok(Poll::Pending) => {
                let deadline = self.deadline;
                let timer = self
                    .timer
                    .get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
                ready!(timer.as_mut().poll(context));
                Status::from(ApiError::deadline_exceeded()).into_http()
            }
            Err(_panic) => {
                self.metrics.panics.inc();
                Status::from(ApiError::internal(&"a handler panicked")).into_http()
            }
        };
        Poll::Ready(Ok(self.finish(answer)))
    }
}

impl CallFuture {
    fn finish(&mut self, mut answer: Response<Body>) -> Response<Body> {
        if let Some(id) = self.request_id.take() {
            answer.headers_mut().insert(REQUEST_ID_HEADER, id);
        }
        let code = code_of(answer.headers());
        let seconds = self.started.elapsed().as_secs_f64();
        self.metrics.count_call(self.method, code, seconds);
        tracing::debug!(?code, seconds, "call answered");
        answer
    }
}

impl Shared {
    /// Returns when a call has to be over. Fails for calls that nobody begins with.
    fn deadline_of<B>(&self, request: &Request<B>, started: Instant) -> Result<Instant, ApiError> {
        if request.uri().query().is_some() {
            // The method would be found as if the query were not there.
            return Err(ApiError::not_implemented());
        }
        let time = self.time_allowed(request.headers())?;
        if time.is_zero() {
            // A handler that never waits would finish all the same.
            return Err(ApiError::deadline_exceeded());
        }
        let path = request.uri().path();
        let needs_database = !ALWAYS_AVAILABLE.iter().any(|prefix| path.starts_with(prefix));
        if needs_database && !self.health.is_started() {
            return Err(ApiError::unavailable());
        }
        Ok(started + time)
    }

    /// Begins what a call asks for. Not an `async` function, which would hold the request twice.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        method: Option<Method>,
        correlation_id: CorrelationId,
        deadline: Instant,
    ) -> BoxFuture<'static, Response<Body>> {
        let (mut head, body) = request.into_parts();
        let answer = async move {
            let now = self.clock.now();
            let admitted = match self.authorize(&head, method, now).await {
                Ok(admitted) => admitted,
                Err(error) => return Status::from(error).into_http(),
            };
            head.extensions.insert(CallContext {
                caller: admitted.caller,
                standing: admitted.standing,
                now,
                deadline,
                correlation_id,
            });
            let Ok(answer) = self.routes.call(Request::from_parts(head, body)).await;
            with_details(answer)
        };
        answer.boxed()
    }

    /// Returns who calls, if that caller may call the method.
    async fn authorize(
        &self,
        head: &Parts,
        method: Option<Method>,
        now: DateTime<Utc>,
    ) -> Result<Admitted, ApiError> {
        let method = method.ok_or_else(ApiError::not_implemented)?;
        let shown = Shown {
            headers: &head.headers,
            peer: head.extensions.get(),
        };
        let admitted = self
            .authorizer
            .admit(method.access, shown, self.health.is_started(), now)
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
