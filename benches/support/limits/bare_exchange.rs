//! A call that exchanges a refresh token and does nothing else: a bare server of the same stack as that of the empty call,
//! with one method, which makes the exchange with the repository of the service. It recognises nobody, derives and signs
//! nothing, and has no layers: what is left of a call if all of that were free.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use identity::clock::{Clock, SystemClock};
use identity::config::{Settings, Sources};
use identity::database::Database;
use identity::domain::{
    Actor, Client, ClientId, Command, NewRefreshToken, Origin, RefreshedSession, Rotation, Session,
    SessionPolicy, SignInMethod, UserId,
};
use identity::repositories::{RefreshTokenRepository, SessionRepository};
use identity::telemetry::DatabaseMetrics;
use tokio::sync::Mutex;
use tonic::server::UnaryService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::support::databases::{self, MASTER_KEY};
use crate::support::load::Answer;
use crate::support::population;
use crate::support::roles::{self, BareServer, Method};

/// What the process is started as.
pub const ROLE: &str = "bare-exchange";

const DATABASE_URL: &str = "DATABASE_URL";
/// How many sessions there are, one for each of the first users.
const SESSIONS: usize = 32;
const POLICY: SessionPolicy = SessionPolicy {
    lifetime: chrono::TimeDelta::days(90),
    idle_lifetime: chrono::TimeDelta::days(30),
    max_per_user: 100,
};

/// Starts the server on a database that has been migrated and has users.
pub fn start(database: &databases::Database) -> BareServer {
    BareServer::start(roles::command(ROLE).env(DATABASE_URL, &database.url))
}

/// Exchanges the token of a session.
pub async fn call(channel: Channel, session: usize, deadline: Duration) -> Answer {
    roles::call::<Exchange>(channel, session as u64, deadline).await
}

/// Serves until the standard input ends.
pub async fn serve() {
    let url = std::env::var(DATABASE_URL).expect(DATABASE_URL);
    let variables = [(DATABASE_URL, url.as_str()), ("IDENTITY_MASTER_KEY", MASTER_KEY)];
    let settings = Settings::read(&Sources::from_pairs(&variables)).expect("settings");
    let database = Database::new(&settings.database, DatabaseMetrics::default()).expect("a database");
    let tokens = RefreshTokenRepository::new(database.clone());
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        sessions.push(Mutex::new(Live::begin(&tokens, number).await));
    }
    let exchanges = Exchanges {
        repository: SessionRepository::new(database),
        sessions,
    };
    roles::serve(Exchange(Arc::new(exchanges))).await;
}

/// A session and its live token.
struct Live {
    session: Session,
    token_hash: [u8; 32],
}

impl Live {
    async fn begin(tokens: &RefreshTokenRepository, number: usize) -> Self {
        let now = SystemClock.now();
        let user_id = UserId::parse(&population::id(number).to_string()).expect("an id");
        let session = Session::begin(user_id, SignInMethod::Password, client(), POLICY, now);
        let token_hash = hash(&session);
        let token = NewRefreshToken {
            session: session.clone(),
            token_hash,
            client: client(),
            created_at: now,
        };
        tokens.create(token).await.expect("a session");
        Self { session, token_hash }
    }
}

fn client() -> Client {
    Client {
        ip_address: None,
        user_agent: None,
        client_id: ClientId::default(),
    }
}

/// What stands for the digest of the live token. Nobody else has it, and it is as random as one.
fn hash(session: &Session) -> [u8; 32] {
    let mut text = session.id.uuid().as_bytes().to_vec();
    text.extend(session.generation.to_be_bytes());
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    digest.as_ref().try_into().expect("32 bytes")
}

struct Exchanges {
    repository: SessionRepository,
    sessions: Vec<Mutex<Live>>,
}

impl Exchanges {
    async fn exchange(&self, number: u64) -> Result<(), Status> {
        let number = usize::try_from(number).expect("a session");
        // Nobody else exchanges this one: the lock is there for the compiler.
        let mut live = self.sessions[number].lock().await;
        let now = SystemClock.now();
        let mut next = live.session.clone();
        next.generation += 1;
        let rotation = Rotation {
            session_id: live.session.id,
            generation: live.session.generation,
            token_hash: live.token_hash,
            next_token_hash: hash(&next),
            client: client(),
            policy: POLICY,
            now,
        };
        let next_token_hash = rotation.next_token_hash;
        let failed = |reason: &dyn std::fmt::Debug| Status::internal(format!("{reason:?}"));
        let refresh = Command::new(rotation, Origin::beside_calls(Actor::Operator));
        let session = match self.repository.refresh(refresh).await {
            Ok(RefreshedSession::Refreshed(session)) => session,
            Ok(RefreshedSession::Refused(refusal)) => return Err(failed(&refusal)),
            Err(error) => return Err(failed(&error)),
        };
        *live = Live {
            session,
            token_hash: next_token_hash,
        };
        Ok(())
    }
}

#[derive(Clone)]
struct Exchange(Arc<Exchanges>);

impl Method for Exchange {
    const SERVICE: &'static str = "bench.BareExchange";
    type Request = u64;
}

impl UnaryService<u64> for Exchange {
    type Response = ();
    type Future = BoxFuture<'static, Result<Response<()>, Status>>;

    fn call(&mut self, request: Request<u64>) -> Self::Future {
        let exchanges = Arc::clone(&self.0);
        Box::pin(async move {
            exchanges.exchange(request.into_inner()).await?;
            Ok(Response::new(()))
        })
    }
}
