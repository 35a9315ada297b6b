//! The metrics, in the text format of Prometheus (OpenMetrics).

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::ListenerMetrics;
use crate::database::{DatabaseError, PoolStatus};
use crate::domain::Refusal;
use crate::id_tokens::IdTokenError;
use crate::password_hashing::HashingStatus;
use crate::sign_in::SignInError;

/// Every metric of the server. Labels are names from the code and the protos, never values of callers.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<MethodLabels, Histogram>,
    /// Panics that were caught.
    pub panics: Counter,
    /// Rounds in which everything that has expired was looked for.
    pub purges: Counter,
    /// How often the service tokens were read.
    pub service_token_readings: Counter,
    database_up: Gauge,
    probe_seconds: Gauge<f64, AtomicU64>,
    pool_connections: Family<PoolLabels, Gauge>,
    pool_waiting: Family<PoolNameLabels, Gauge>,
    hashing_running: Gauge,
    hashing_waiting: Gauge,
    /// What the database layer counts.
    pub database: DatabaseMetrics,
    /// What password hashing counts.
    pub hashing: HashingMetrics,
    /// What signing in counts.
    pub sign_in: SignInMetrics,
    /// What the gRPC port counts.
    pub listener: ListenerMetrics,
    /// What watching users counts.
    pub watch: WatchMetrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolNameLabels {
    pool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransactionLabels {
    name: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    server: &'static str,
}

/// Counts what happens in the database layer.
#[derive(Debug, Clone, Default)]
pub struct DatabaseMetrics {
    transactions: Family<TransactionLabels, Counter>,
    reads: Family<ReadLabels, Counter>,
}

impl DatabaseMetrics {
    /// Counts an attempt at a transaction.
    pub(crate) fn count_transaction(&self, name: &'static str, outcome: &'static str) {
        self.transactions
            .get_or_create(&TransactionLabels { name, outcome })
            .inc();
    }

    /// Counts a read by the server that answered it: `primary` or `replica`.
    pub(crate) fn count_read(&self, server: &'static str) {
        self.reads.get_or_create(&ReadLabels { server }).inc();
    }
}

/// Counts what happens to passwords that are hashed.
#[derive(Debug, Clone, Default)]
pub struct HashingMetrics {
    /// Hashes that were computed.
    pub computed: Counter,
    /// Hashes that were refused because too many were waiting.
    pub refused: Counter,
    /// Hashes that nobody waited for any more, before or while they were computed.
    pub abandoned: Counter,
}

/// Counts what becomes of sign-ins and refresh tokens.
#[derive(Debug, Clone, Default)]
pub struct SignInMetrics {
    sign_ins: Family<OutcomeLabels, Counter>,
    refreshes: Family<OutcomeLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl SignInMetrics {
    /// Counts a sign-in that was answered.
    pub(crate) fn count_sign_in<T>(&self, outcome: &Result<T, SignInError>) {
        self.sign_ins
            .get_or_create(&OutcomeLabels {
                outcome: outcome_name(outcome),
            })
            .inc();
    }

    /// Counts a refresh token that was presented.
    pub(crate) fn count_refresh<T>(&self, outcome: &Result<T, SignInError>) {
        self.refreshes
            .get_or_create(&OutcomeLabels {
                outcome: outcome_name(outcome),
            })
            .inc();
    }
}

/// Counts what becomes of watching users.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    /// Streams that are open.
    pub watchers: Gauge,
    /// Users and changes that were told.
    pub delivered: Counter,
    /// How long after they happened changes could be told.
    pub delay_seconds: Histogram,
    /// How long changes have been held back by a transaction that runs.
    pub held_back_seconds: Gauge<f64, AtomicU64>,
}

impl Default for WatchMetrics {
    fn default() -> Self {
        Self {
            watchers: Gauge::default(),
            delivered: Counter::default(),
            delay_seconds: call_histogram(),
            held_back_seconds: Gauge::default(),
        }
    }
}

impl WatchMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("watchers", "Streams of WatchUsers", self.watchers.clone());
        registry.register(
            "watch_delivered",
            "Users and changes that were told to watchers",
            self.delivered.clone(),
        );
        registry.register_with_unit(
            "watch_delay",
            "How long after they happened changes could be told to watchers",
            Unit::Seconds,
            self.delay_seconds.clone(),
        );
        registry.register_with_unit(
            "watch_held_back",
            "How long changes have been held back from watchers by a transaction of the cluster",
            Unit::Seconds,
            self.held_back_seconds.clone(),
        );
    }
}

/// The outcomes that are worth telling apart on a dashboard.
const fn outcome_name<T>(outcome: &Result<T, SignInError>) -> &'static str {
    match outcome {
        Ok(_) => "success",
        Err(SignInError::Hashing(_)) => "overloaded",
        Err(SignInError::IdToken(IdTokenError::Rejected)) => "id_token_rejected",
        Err(SignInError::IdToken(IdTokenError::Unavailable { .. })) => "provider_unavailable",
        Err(SignInError::ProfileIncomplete(_)) => "refused",
        Err(SignInError::Database(DatabaseError::Refused(refusal))) => match refusal {
            Refusal::InvalidCredentials => "invalid_credentials",
            Refusal::TooManyAttempts { .. } => "too_many_attempts",
            Refusal::UserBlocked(_) | Refusal::UserInactive(_) => "kept_out",
            Refusal::TokenInvalid => "token_invalid",
            Refusal::TokenExpired => "token_expired",
            Refusal::TokenReused => "token_reused",
            Refusal::SessionEnded => "session_ended",
            Refusal::UserNotFound(_)
            | Refusal::EtagMismatch(_)
            | Refusal::EmailTaken
            | Refusal::UsernameTaken
            | Refusal::UserIdTaken
            | Refusal::RequestIdReused
            | Refusal::IdentifierRequired
            | Refusal::SignUpDisabled
            | Refusal::TokenRequired
            | Refusal::SessionNotFound(_)
            | Refusal::LastCredential(_)
            | Refusal::EmailRequired(_)
            | Refusal::LinkRequired
            | Refusal::IdentityTaken
            | Refusal::OAuthAccountNotFound(_)
            | Refusal::ReauthenticationRequired => "refused",
        },
        Err(_) => "failed",
    }
}

/// From a quarter of a millisecond to about 16 seconds, each bucket twice the one before: the fastest read
/// and the longest deadline both fall inside.
fn call_histogram() -> Histogram {
    const FIRST_BUCKET_SECONDS: f64 = 0.000_25;
    const BUCKETS: u16 = 17;
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        FIRST_BUCKET_SECONDS,
        2.0,
        BUCKETS,
    ))
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("identity"),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(call_histogram),
            panics: Counter::default(),
            purges: Counter::default(),
            service_token_readings: Counter::default(),
            database_up: Gauge::default(),
            probe_seconds: Gauge::default(),
            pool_connections: Family::default(),
            pool_waiting: Family::default(),
            hashing_running: Gauge::default(),
            hashing_waiting: Gauge::default(),
            database: DatabaseMetrics::default(),
            hashing: HashingMetrics::default(),
            sign_in: SignInMetrics::default(),
            listener: ListenerMetrics::default(),
            watch: WatchMetrics::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "grpc_calls",
            "Calls by method and status code",
            self.calls.clone(),
        );
        registry.register_with_unit(
            "grpc_call_duration",
            "How long calls took",
            Unit::Seconds,
            self.call_seconds.clone(),
        );
        registry.register("panics", "Panics that were caught", self.panics.clone());
        registry.register(
            "purges",
            "Rounds in which everything that has expired was looked for",
            self.purges.clone(),
        );
        registry.register(
            "service_token_readings",
            "How often the service tokens were read from the database",
            self.service_token_readings.clone(),
        );
        registry.register(
            "database_up",
            "Whether the database answers (1) or not (0)",
            self.database_up.clone(),
        );
        registry.register_with_unit(
            "database_probe_duration",
            "How long the last answered probe of the database took",
            Unit::Seconds,
            self.probe_seconds.clone(),
        );
        registry.register(
            "database_pool_connections",
            "Connections by pool and state",
            self.pool_connections.clone(),
        );
        registry.register(
            "database_pool_waiting",
            "Calls that wait for a connection",
            self.pool_waiting.clone(),
        );
        registry.register(
            "database_transactions",
            "Attempts at transactions by name and outcome",
            self.database.transactions.clone(),
        );
        registry.register(
            "database_reads",
            "Reads by the server that answered them, where there is a replica",
            self.database.reads.clone(),
        );
        registry.register(
            "hashing_running",
            "Passwords that are being hashed",
            self.hashing_running.clone(),
        );
        registry.register(
            "hashing_waiting",
            "Passwords that wait to be hashed",
            self.hashing_waiting.clone(),
        );
        registry.register(
            "hashing_computed",
            "Passwords that were hashed",
            self.hashing.computed.clone(),
        );
        registry.register(
            "hashing_refused",
            "Passwords that were refused because too many were waiting",
            self.hashing.refused.clone(),
        );
        registry.register(
            "hashing_abandoned",
            "Passwords whose hash nobody waited for any more, before or while it was computed",
            self.hashing.abandoned.clone(),
        );
        registry.register(
            "sign_ins",
            "Sign-ins with a password by outcome",
            self.sign_in.sign_ins.clone(),
        );
        registry.register(
            "token_refreshes",
            "Refresh tokens that were presented by outcome",
            self.sign_in.refreshes.clone(),
        );
        self.listener.register(registry);
        self.watch.register(registry);
        self
    }

    /// Counts a call that was answered.
    pub fn count_call(&self, method: &'static str, code: tonic::Code, seconds: f64) {
        let code = code_name(code);
        self.calls.get_or_create(&CallLabels { method, code }).inc();
        self.call_seconds
            .get_or_create(&MethodLabels { method })
            .observe(seconds);
    }

    /// Notes the outcome of a probe of the database.
    pub fn set_database(&self, is_up: bool, probe_seconds: Option<f64>) {
        self.database_up.set(i64::from(is_up));
        if let Some(seconds) = probe_seconds {
            self.probe_seconds.set(seconds);
        }
    }

    /// Writes every metric, with the present state of the pools and of the hashing queue.
    #[must_use]
    pub fn encode(&self, pools: &[PoolStatus], hashing: HashingStatus) -> String {
        for pool in pools {
            let in_use = pool.size.saturating_sub(pool.idle);
            for (state, count) in [("idle", pool.idle), ("in_use", in_use)] {
                let labels = PoolLabels {
                    pool: pool.name,
                    state,
                };
                self.pool_connections.get_or_create(&labels).set(i64::from(count));
            }
            let labels = PoolNameLabels { pool: pool.name };
            self.pool_waiting
                .get_or_create(&labels)
                .set(i64::from(pool.waiting));
        }
        self.hashing_running
            .set(i64::try_from(hashing.running).unwrap_or(i64::MAX));
        self.hashing_waiting
            .set(i64::try_from(hashing.waiting).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The name of a code as the gRPC specification writes it.
const fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
