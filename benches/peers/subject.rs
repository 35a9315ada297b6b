//! What is measured: this service, or a peer. Each is started, has users, and is asked the same things.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use http::Request;
use identity::proto::identity::v1::GetMeRequest;
use identity::proto::identity::v1::auth_service_client::AuthServiceClient;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::support::http1::{Http1, Response};
use crate::support::people::{self, PASSWORD};
use crate::support::server::{Credential, DEADLINE, Server};
use crate::support::{Answer, Database, eventually, population, processes, system};

/// Users of everybody; more than there are sign-ins under way in the closed loop.
const USERS: usize = 32;
/// Users who are made at the same time: each costs a hash.
const AT_ONCE: usize = 4;
/// Users who ask who they are.
const SIGNED_IN: usize = 8;
const COST: u32 = 12;
/// Between two looks at a subject that starts.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a subject may take to start: Python on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What is measured, when it does not run.
pub enum Subject {
    Ours(Database),
    Peer(&'static Peer, Database),
}

/// How a peer likes to be asked.
pub struct Peer {
    name: &'static str,
    folder: &'static str,
    create: &'static str,
    sign_in: &'static str,
    who_am_i: &'static str,
    login: fn(&str) -> (&'static str, String),
    credential: fn(&Response) -> (&'static str, String),
}

const JSON: &str = "application/json";

const PEERS: [Peer; 3] = [
    Peer {
        name: "fastapi-users",
        folder: "fastapi_users",
        create: "/auth/register",
        sign_in: "/auth/jwt/login",
        who_am_i: "/users/me",
        login: |email| {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("username", email)
                .append_pair("password", PASSWORD)
                .finish();
            ("application/x-www-form-urlencoded", form)
        },
        credential: |answer| {
            let token = field(&answer.body, "access_token");
            ("authorization", format!("Bearer {token}"))
        },
    },
    Peer {
        name: "Django REST framework",
        folder: "django_drf",
        create: "/users",
        sign_in: "/sign-in",
        who_am_i: "/me",
        login: |email| {
            (
                JSON,
                json!({ "username": email, "password": PASSWORD }).to_string(),
            )
        },
        credential: |answer| ("authorization", format!("Token {}", field(&answer.body, "token"))),
    },
    Peer {
        name: "better-auth",
        folder: "better_auth",
        create: "/api/auth/sign-up/email",
        sign_in: "/api/auth/sign-in/email",
        who_am_i: "/api/auth/get-session",
        login: |email| (JSON, json!({ "email": email, "password": PASSWORD }).to_string()),
        credential: |answer| {
            let set = answer.headers.get_all("set-cookie").iter();
            let cookies: Vec<&str> = set
                .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
                .collect();
            ("cookie", cookies.join("; "))
        },
    },
];

fn field(body: &[u8], name: &str) -> String {
    let value: Value = serde_json::from_slice(body).expect("JSON");
    value[name].as_str().expect("a token").to_owned()
}

/// Returns this service and the peers that are installed, each with a database of its own, and why others are left out.
pub async fn all(administration: &Database) -> (Vec<Subject>, Vec<String>) {
    let mut subjects = vec![Subject::Ours(administration.another("ours").await)];
    let mut missing = Vec::new();
    for peer in &PEERS {
        if peer.installation().is_dir() {
            let database = administration.another(peer.folder).await;
            subjects.push(Subject::Peer(peer, database));
        } else {
            missing.push(format!(
                "{} is left out: it is not installed in {}; benches/peers/{}/install does that",
                peer.name,
                peer.installation().display(),
                peer.folder
            ));
        }
    }
    (subjects, missing)
}

impl Peer {
    /// Returns the folder with what it needs.
    fn installation(&self) -> PathBuf {
        let home = std::env::var_os("IDENTITY_BENCH_PEERS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"),
            PathBuf::from,
        );
        home.join(self.folder)
    }

    fn start(&self, database: &Database, address: SocketAddr, has_tables: bool) -> Processes {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("benches/peers")
            .join(self.folder)
            .join("start");
        let mut command = Command::new(script);
        command
            .arg(self.installation())
            .env("PORT", address.port().to_string())
            .env(
                "DATABASE_URL",
                database.url.replacen("postgres://", "postgresql://", 1),
            )
            // The same after every start, so that what is measured is not a start with new secrets.
            .env(
                "PEER_SECRET",
                "a secret of the bench, which nobody else should use",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if has_tables {
            command.env("PEER_TABLES", "existing");
        }
        Processes(command.spawn().expect(self.name), None)
    }
}

/// A peer's first process, which ends the others.
struct Processes(Child, Option<processes::Guard>);

impl Drop for Processes {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let members = processes::family(self.0.id());
        system::send_signal(self.0.id(), "TERM");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && self.0.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(PAUSE);
        }
        // One that has work left after that is not waited for.
        for member in members {
            if self.0.try_wait().is_ok_and(|status| status.is_none()) {
                system::send_signal(member, "KILL");
            }
        }
        let _ = self.0.wait();
    }
}

impl Subject {
    /// Returns what people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "identity",
            Self::Peer(peer, _) => peer.name,
        }
    }

    /// Starts it on an empty database, makes its users, and signs some of them in.
    pub async fn start_first(&self) -> Running {
        match self {
            Self::Ours(database) => {
                drop(Server::start(database, &[]).await);
                people::settle(database, USERS, COST).await;
            }
            Self::Peer(peer, database) => {
                let running = Self::start_peer(peer, database, false).await;
                let caller = running.caller();
                let others = (0..USERS).map(|user| caller.create(user));
                stream::iter(others)
                    .buffer_unordered(AT_ONCE)
                    .collect::<()>()
                    .await;
            }
        }
        self.start().await.with_credentials().await
    }

    /// Starts it on what is there, and waits for its first answer.
    pub async fn start(&self) -> Running {
        match self {
            Self::Ours(database) => {
                let begin = Instant::now();
                let mut server = Server::spawn(database, &[]);
                wait_for(server.address(), begin).await;
                let channel = server.channel();
                while !matches!(people::check_health(channel.clone()).await, Answer::Good) {
                    tokio::time::sleep(PAUSE).await;
                }
                let started_in = begin.elapsed();
                server.guard();
                let token = database.run(&["service-token", "create", "bench", "--scope", "admin"]);
                let caller = Caller::Ours {
                    channel,
                    service: Credential::of(token.trim_end()),
                    people: Arc::default(),
                };
                Running {
                    started_in,
                    process: server.id(),
                    caller,
                    keeper: Keeper::Ours(server),
                }
            }
            Self::Peer(peer, database) => Self::start_peer(peer, database, true).await,
        }
    }

    async fn start_peer(peer: &'static Peer, database: &Database, has_tables: bool) -> Running {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, system::free_port()));
        let begin = Instant::now();
        let mut started = peer.start(database, address, has_tables);
        wait_for(address, begin).await;
        let client = Http1::new(address);
        let health = Request::get("/health")
            .header("host", address.to_string())
            .body(String::new());
        let health = health.expect("a request");
        while !client
            .call(&health)
            .await
            .is_ok_and(|answer| answer.status.is_success())
        {
            assert!(begin.elapsed() < START_LIMIT, "{} does not answer", peer.name);
            tokio::time::sleep(PAUSE).await;
        }
        let started_in = begin.elapsed();
        started.1 = Some(processes::Guard::of(started.0.id()));
        Running {
            started_in,
            process: started.0.id(),
            caller: Caller::Peer {
                peer,
                client,
                address,
                people: Arc::default(),
            },
            keeper: Keeper::Peer(started),
        }
    }
}

/// Waits until somebody listens.
async fn wait_for(address: SocketAddr, begin: Instant) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(begin.elapsed() < START_LIMIT, "nobody listens on {address}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A subject that runs, until it is dropped.
pub struct Running {
    /// How long it took from the start of its first process to its first answer.
    pub started_in: Duration,
    process: u32,
    caller: Caller,
    keeper: Keeper,
}

enum Keeper {
    Ours(Server),
    Peer(Processes),
}

impl Running {
    /// Returns the memory of all of its processes.
    pub fn mebibytes(&self) -> f64 {
        let members = processes::family(self.process);
        members.into_iter().map(processes::proportional_mebibytes).sum()
    }

    /// Returns who makes calls.
    pub fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// Signs in those who will ask who they are.
    pub async fn with_credentials(mut self) -> Self {
        match &mut self.caller {
            Caller::Ours {
                channel,
                service,
                people,
            } => {
                let mut signed_in = Vec::new();
                for user in 0..SIGNED_IN {
                    // The server has to notice first that there is a new service.
                    let tokens = eventually("the server knows the token", async || {
                        people::sign_in(channel.clone(), service, user, DEADLINE)
                            .await
                            .ok()
                    });
                    signed_in.push(Credential::of(&tokens.await.access_token));
                }
                *people = Arc::new(signed_in);
            }
            Caller::Peer {
                peer,
                client,
                address,
                people,
            } => {
                let mut signed_in = Vec::new();
                for user in 0..SIGNED_IN {
                    let answer = client
                        .call(&login(peer, *address, user))
                        .await
                        .expect("a sign-in");
                    assert!(answer.status.is_success(), "{}: {}", peer.name, answer.status);
                    signed_in.push((peer.credential)(&answer));
                }
                *people = Arc::new(signed_in);
            }
        }
        self
    }
}

/// Who makes calls.
#[derive(Clone)]
pub enum Caller {
    Ours {
        channel: Channel,
        service: Credential,
        people: Arc<Vec<Credential>>,
    },
    Peer {
        peer: &'static Peer,
        client: Http1,
        address: SocketAddr,
        people: Arc<Vec<(&'static str, String)>>,
    },
}

impl Caller {
    /// Signs in.
    pub async fn sign_in(&self, user: usize) -> Answer {
        let user = user % USERS;
        match self {
            Self::Ours { channel, service, .. } => {
                let tokens = people::sign_in(channel.clone(), service, user, DEADLINE).await;
                tokens.map(drop).into()
            }
            Self::Peer {
                peer,
                client,
                address,
                ..
            } => ask(client, &login(peer, *address, user), "").await,
        }
    }

    /// Asks who somebody is who is signed in.
    pub async fn who_am_i(&self, person: usize) -> Answer {
        match self {
            Self::Ours { channel, people, .. } => {
                let request = people[person % people.len()].request(GetMeRequest {});
                let mut auth = AuthServiceClient::new(channel.clone());
                auth.get_me(request).await.map(drop).into()
            }
            Self::Peer {
                peer,
                client,
                address,
                people,
            } => {
                let (name, value) = &people[person % people.len()];
                let request = Request::get(peer.who_am_i)
                    .header("host", address.to_string())
                    .header(*name, value)
                    .body(String::new());
                ask(client, &request.expect("a request"), "@example.com").await
            }
        }
    }

    /// Makes a user of a peer.
    async fn create(&self, user: usize) {
        let Self::Peer {
            peer,
            client,
            address,
            ..
        } = self
        else {
            return;
        };
        let person =
            json!({ "email": population::email(user), "password": PASSWORD, "name": "Ada Lovelace" });
        let request = Request::post(peer.create)
            .header("host", address.to_string())
            .header("content-type", JSON)
            .body(person.to_string());
        let answer = client.call(&request.expect("a request")).await.expect("a user");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status.is_success(),
            "{}: {} {text}",
            peer.name,
            answer.status
        );
    }
}

fn login(peer: &Peer, address: SocketAddr, user: usize) -> Request<String> {
    let (kind, body) = (peer.login)(&population::email(user));
    let request = Request::post(peer.sign_in)
        .header("host", address.to_string())
        .header("content-type", kind)
        .body(body);
    request.expect("a request")
}

/// Makes a call to a peer, within the deadline that calls to this service have, too. An answer has to contain a text: one
/// peer says nothing, with a good status, to somebody whom it does not know.
async fn ask(client: &Http1, request: &Request<String>, text: &str) -> Answer {
    match timeout(DEADLINE, client.call(request)).await {
        Err(_) => Answer::Late,
        Ok(Err(error)) => Answer::Failed(error),
        Ok(Ok(answer)) => match answer.status.as_u16() {
            200..300 if String::from_utf8_lossy(&answer.body).contains(text) => Answer::Good,
            429 | 503 => Answer::Refused,
            status => Answer::Failed(format!("{status} {}", String::from_utf8_lossy(&answer.body))),
        },
    }
}
