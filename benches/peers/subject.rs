//! What is measured: this service, or a peer. Each is started, has users, and is asked the same things.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use http::Request;
use identity::proto::identity::v1::GetMeRequest;
use identity::proto::identity::v1::auth_service_client::AuthServiceClient;
use serde_json::json;
use tonic::transport::Channel;

use crate::peer::{JSON, PEERS, Peer, Processes, ask, login};
use crate::support::http1::Http1;
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
        started.guard();
        Running {
            started_in,
            process: started.id(),
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

    /// Returns who makes calls beside others, over no connection of theirs: those of the peers have one for each call that is
    /// in flight.
    pub fn another_caller(&self) -> Caller {
        match (&self.keeper, self.caller()) {
            (Keeper::Ours(server), Caller::Ours { service, people, .. }) => Caller::Ours {
                channel: server.channel(),
                service,
                people,
            },
            (_, caller) => caller,
        }
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
