//! The server as it is released, in a process of its own, with authorization on.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Child;
use std::time::Duration;

use identity::proto::grpc::health::v1::health_client::HealthClient;
use identity::proto::identity::v1::ListUsersRequest;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;

use super::{Database, eventually, processes, system};

/// The deadline that calls name, as those of careful clients do: longer than anything that is measured takes.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Settings of every server of a bench. All load comes from one place, which a server would otherwise slow down, and a
/// run takes longer than an access token lives.
const SETTINGS: [(&str, &str); 4] = [
    ("IDENTITY_AUTH", "on"),
    ("IDENTITY_RATE_LIMIT_PER_USER", "off"),
    ("IDENTITY_MAX_CONCURRENT_STREAMS", "1000"),
    ("IDENTITY_ACCESS_TOKEN_LIFETIME", "1h"),
];

/// The server. It ends when it is dropped.
pub struct Server {
    process: Child,
    guard: Option<processes::Guard>,
    address: SocketAddr,
    operations: SocketAddr,
    credential: Credential,
}

/// What calls show.
#[derive(Debug, Clone)]
pub struct Credential(MetadataValue<Ascii>);

impl Credential {
    /// Shows a token.
    pub fn of(token: &str) -> Self {
        Self(format!("Bearer {token}").parse().expect("a header value"))
    }

    /// Makes the request of a call that shows this, and names a deadline.
    pub fn request<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(DEADLINE);
        request.metadata_mut().insert("authorization", self.0.clone());
        request
    }
}

impl Server {
    /// Starts it, waits until it serves, and makes a token that may do everything.
    pub async fn start(database: &Database, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn(database, settings);
        server.guard();
        server.wait_until_serving().await;
        let token = database.run(&["service-token", "create", "bench", "--scope", "admin"]);
        server.credential = Credential::of(token.trim_end());
        server.wait_until_known().await;
        server
    }

    /// Has it end with the bench, however that ends. Not a part of its start, which may be timed.
    pub fn guard(&mut self) {
        self.guard = Some(processes::Guard::of(self.process.id()));
    }

    /// Starts it and waits for nothing.
    pub fn spawn(database: &Database, settings: &[(&str, &str)]) -> Self {
        let free = || SocketAddr::from((Ipv4Addr::LOCALHOST, system::free_port()));
        let (address, operations) = (free(), free());
        let process = database
            .program()
            .env("IDENTITY_LISTEN", address.to_string())
            .env("IDENTITY_OPERATIONS_LISTEN", operations.to_string())
            .envs(SETTINGS)
            .envs(settings.iter().copied())
            .spawn()
            .expect("the program");
        Self {
            process,
            guard: None,
            address,
            operations,
            credential: Credential::of("none"),
        }
    }

    /// Waits until the health says so.
    pub async fn wait_until_serving(&self) {
        let mut health = HealthClient::new(self.channel());
        eventually("the server serves", async || {
            let answer = health.check(HealthCheckRequest::default()).await;
            answer.is_ok_and(|answer| answer.into_inner().status == 1)
        })
        .await;
    }

    /// Waits until the server knows the token, which another process has made.
    async fn wait_until_known(&self) {
        let mut users = UserServiceClient::new(self.channel());
        eventually("the server knows the token", async || {
            let request = self.request(ListUsersRequest::default());
            users.list_users(request).await.is_ok()
        })
        .await;
    }

    /// Makes the request of a call that may do everything.
    pub fn request<M>(&self, message: M) -> tonic::Request<M> {
        self.credential.request(message)
    }

    /// Returns what may do everything.
    pub fn credential(&self) -> Credential {
        self.credential.clone()
    }

    /// Makes a token of a service with these scopes only.
    pub async fn credential_for(&self, database: &Database, scopes: &[&str]) -> Credential {
        let mut arguments = vec!["service-token", "create", "bench"];
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        Credential::of(database.run(&arguments).trim_end())
    }

    /// Returns a connection of its own.
    pub fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.expect("an address").connect_lazy()
    }

    /// Returns where it takes calls.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where it tells about itself.
    pub fn operations_address(&self) -> SocketAddr {
        self.operations
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns its resident memory.
    pub fn resident_mebibytes(&self) -> f64 {
        processes::resident_mebibytes(self.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
