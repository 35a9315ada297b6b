//! Clients of a server, in this process or another one.

use std::net::SocketAddr;

use identity::proto::google::r#type::Date;
use identity::proto::grpc::health::v1::health_client::HealthClient;
use identity::proto::identity::v1::status_service_client::StatusServiceClient;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{CreateUserRequest, GetUserRequest, User};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{Failure, eventually};

/// The clients of one server. They share a connection, which is made on the first call and again whenever
/// it is lost.
#[derive(Clone)]
pub struct Clients {
    grpc_address: SocketAddr,
    operations_address: SocketAddr,
    channel: Channel,
}

impl Clients {
    pub(super) fn new(grpc_address: SocketAddr, operations_address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{grpc_address}")).unwrap();
        Self {
            grpc_address,
            operations_address,
            channel: endpoint.connect_lazy(),
        }
    }

    /// Returns where the server takes gRPC calls.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Returns the connection.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns a client of the user service.
    pub fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel())
    }

    /// Returns a client of the status service.
    pub fn status(&self) -> StatusServiceClient<Channel> {
        StatusServiceClient::new(self.channel())
    }

    /// Returns a client of the health service.
    pub fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel())
    }

    /// Returns the health of a service (`""` is the server), or why there is none.
    pub async fn health_of(&self, service: &str) -> Result<ServingStatus, Failure> {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let response = self.health().check(request).await?;
        Ok(response.into_inner().status())
    }

    /// Says whether the health is good; it is not while the server cannot be reached.
    pub async fn is_serving(&self) -> bool {
        self.health_of("")
            .await
            .is_ok_and(|health| health == ServingStatus::Serving)
    }

    /// Waits until the health says that the server serves.
    pub async fn wait_until_serving(&self) {
        eventually("the health is SERVING", async || self.is_serving().await).await;
    }

    /// Waits until the health says that the server does not serve.
    pub async fn wait_until_not_serving(&self) {
        eventually("the health is NOT_SERVING", async || {
            self.health_of("")
                .await
                .is_ok_and(|health| health == ServingStatus::NotServing)
        })
        .await;
    }

    /// Creates a user.
    pub async fn create(&self, user: NewUser) -> Result<User, Failure> {
        let response = self.users().create_user(user.0).await?;
        Ok(response.into_inner().user.expect("a user in the response"))
    }

    /// Creates a user that has an email and nothing else.
    pub async fn create_user(&self, email: &str) -> User {
        self.create(new_user().email(email))
            .await
            .expect("the user is created")
    }

    /// Returns the user with an id.
    pub async fn get(&self, user_id: &str) -> Result<User, Failure> {
        let request = GetUserRequest {
            user_id: user_id.to_owned(),
        };
        let response = self.users().get_user(request).await?;
        Ok(response.into_inner().user.expect("a user in the response"))
    }

    /// Asks the operations server. Returns the status and the body.
    pub async fn http_get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.operations_address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect("a whole response");
        let status = head.split(' ').nth(1).expect("a status");
        (status.parse().unwrap(), body.to_owned())
    }
}

/// A user to create, which has nothing yet.
pub fn new_user() -> NewUser {
    NewUser(CreateUserRequest {
        user: Some(User::default()),
        ..CreateUserRequest::default()
    })
}

/// A user to create.
#[derive(Clone)]
pub struct NewUser(CreateUserRequest);

impl NewUser {
    /// Sets the email.
    pub fn email(self, email: &str) -> Self {
        self.with(|user| email.clone_into(&mut user.email))
    }

    /// Sets the username.
    pub fn username(self, username: &str) -> Self {
        self.with(|user| username.clone_into(&mut user.username))
    }

    /// Sets the full name.
    pub fn full_name(self, full_name: &str) -> Self {
        self.with(|user| full_name.clone_into(&mut user.full_name))
    }

    /// Sets the date of birth.
    pub fn birth_date(self, year: i32, month: i32, day: i32) -> Self {
        self.with(|user| user.birth_date = Some(Date { year, month, day }))
    }

    /// Sets the password.
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.0.password);
        self
    }

    /// Chooses the id.
    pub fn user_id(mut self, user_id: &str) -> Self {
        user_id.clone_into(&mut self.0.user_id);
        self
    }

    /// Sets the request id.
    pub fn request_id(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.0.request_id);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut User)) -> Self {
        change(self.0.user.as_mut().unwrap());
        self
    }
}
