//! Clients of a server, in this process or another one.

use std::net::SocketAddr;

use hyper_util::rt::TokioIo;
use identity::proto::google::r#type::Date;
use identity::proto::grpc::health::v1::health_client::HealthClient;
use identity::proto::identity::v1::auth_service_client::AuthServiceClient;
use identity::proto::identity::v1::credential_service_client::CredentialServiceClient;
use identity::proto::identity::v1::o_auth_account_service_client::OAuthAccountServiceClient;
use identity::proto::identity::v1::security_service_client::SecurityServiceClient;
use identity::proto::identity::v1::session_service_client::SessionServiceClient;
use identity::proto::identity::v1::status_service_client::StatusServiceClient;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{
    Client, CreateUserRequest, GetMeRequest, GetMeResponse, GetUserRequest, IntrospectTokenRequest,
    IntrospectTokenResponse, ListSigningKeysRequest, RefreshTokensRequest, SignInWithIdTokenRequest,
    SignInWithIdTokenResponse, SignInWithPasswordRequest, SigningKey, Tokens, User,
};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::certificates::connect_tls;
use super::{Failure, eventually};

/// The clients of one server. They share a connection, which is made on the first call and again whenever
/// it is lost.
#[derive(Clone)]
pub struct Clients {
    grpc_address: SocketAddr,
    operations_address: SocketAddr,
    channel: Channel,
    credential: Credential,
}

/// A connection whose calls show who is calling.
pub type Connection = InterceptedService<Channel, Credential>;

/// What calls show, unless they have something of their own.
#[derive(Clone, Default)]
pub struct Credential(Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(value) = &self.0
            && !metadata.contains_key("authorization")
        {
            metadata.insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Clients {
    pub(super) fn new(grpc_address: SocketAddr, operations_address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{grpc_address}")).unwrap();
        Self {
            grpc_address,
            operations_address,
            channel: endpoint.connect_lazy(),
            credential: Credential::default(),
        }
    }

    /// Returns clients of the same server, which calls itself `localhost`, that connect with TLS.
    pub fn over_tls(&self, config: ClientConfig) -> Self {
        let address = self.grpc_address;
        let connector = tower::service_fn(move |_| {
            let connecting = connect_tls(address, config.clone());
            async { connecting.await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        Self {
            channel: endpoint.connect_with_connector_lazy(connector),
            ..self.clone()
        }
    }

    /// Returns clients that show a token with every call.
    pub fn with_token(&self, token: &str) -> Self {
        let value = format!("Bearer {token}").parse().expect("a header value");
        Self {
            credential: Credential(Some(value)),
            ..self.clone()
        }
    }

    /// Returns where the server takes gRPC calls.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Returns where the operations server listens.
    pub fn operations_address(&self) -> SocketAddr {
        self.operations_address
    }

    /// Returns the connection.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    fn connection(&self) -> Connection {
        InterceptedService::new(self.channel(), self.credential.clone())
    }

    /// Returns a client of the user service.
    pub fn users(&self) -> UserServiceClient<Connection> {
        UserServiceClient::new(self.connection())
    }

    /// Returns a client of the auth service.
    pub fn auth(&self) -> AuthServiceClient<Connection> {
        AuthServiceClient::new(self.connection())
    }

    /// Returns a client of the credential service.
    pub fn credentials(&self) -> CredentialServiceClient<Connection> {
        CredentialServiceClient::new(self.connection())
    }

    /// Returns a client of the service of accounts at providers.
    pub fn oauth_accounts(&self) -> OAuthAccountServiceClient<Connection> {
        OAuthAccountServiceClient::new(self.connection())
    }

    /// Returns a client of the session service.
    pub fn sessions(&self) -> SessionServiceClient<Connection> {
        SessionServiceClient::new(self.connection())
    }

    /// Returns a client of the security service.
    pub fn security(&self) -> SecurityServiceClient<Connection> {
        SecurityServiceClient::new(self.connection())
    }

    /// Returns a client of the status service.
    pub fn status(&self) -> StatusServiceClient<Connection> {
        StatusServiceClient::new(self.connection())
    }

    /// Returns a client of the health service.
    pub fn health(&self) -> HealthClient<Connection> {
        HealthClient::new(self.connection())
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

    /// Waits until what a server does at its start is over, which takes connections of its pools.
    pub async fn wait_until_settled(&self) {
        eventually("what the server does at its start is over", async || {
            self.metric("identity_purges_total").await > 0.0
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

    /// Creates a user that has an email and [`PASSWORD`].
    pub async fn create_with_password(&self, email: &str) -> User {
        self.create(new_user().email(email).password(PASSWORD))
            .await
            .expect("the user is created")
    }

    /// Signs in from nowhere in particular.
    pub async fn sign_in(&self, identifier: &str, password: &str) -> Result<Tokens, Failure> {
        self.sign_in_from("", identifier, password).await
    }

    /// Signs in from an address.
    pub async fn sign_in_from(
        &self,
        ip_address: &str,
        identifier: &str,
        password: &str,
    ) -> Result<Tokens, Failure> {
        let request = SignInWithPasswordRequest {
            identifier: identifier.to_owned(),
            password: password.to_owned(),
            client: Some(Client {
                ip_address: ip_address.to_owned(),
                ..Client::default()
            }),
        };
        let response = self.auth().sign_in_with_password(request).await?;
        Ok(response.into_inner().tokens.expect("tokens in the response"))
    }

    /// Signs in with an ID token of a provider.
    pub async fn sign_in_with_id_token(
        &self,
        provider: &str,
        id_token: &str,
    ) -> Result<SignInWithIdTokenResponse, Failure> {
        let request = SignInWithIdTokenRequest {
            provider: provider.to_owned(),
            id_token: id_token.to_owned(),
            ..SignInWithIdTokenRequest::default()
        };
        self.present_id_token(request).await
    }

    /// Signs in with an ID token, with all that the request can say.
    pub async fn present_id_token(
        &self,
        request: SignInWithIdTokenRequest,
    ) -> Result<SignInWithIdTokenResponse, Failure> {
        Ok(self.auth().sign_in_with_id_token(request).await?.into_inner())
    }

    /// Creates a user with an email and [`PASSWORD`] who is signed in.
    pub async fn signed_in(&self, email: &str) -> (User, Tokens) {
        let user = self.create_with_password(email).await;
        let tokens = self.sign_in(email, PASSWORD).await.expect("the user signs in");
        (user, tokens)
    }

    /// Exchanges a refresh token.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Failure> {
        let request = RefreshTokensRequest {
            refresh_token: refresh_token.to_owned(),
            client: None,
        };
        let response = self.auth().refresh_tokens(request).await?;
        Ok(response.into_inner().tokens.expect("tokens in the response"))
    }

    /// Asks whether an access token is good.
    pub async fn introspect(&self, access_token: &str) -> Result<IntrospectTokenResponse, Failure> {
        let request = IntrospectTokenRequest {
            token: access_token.to_owned(),
        };
        let response = self.auth().introspect_token(request).await?;
        Ok(response.into_inner())
    }

    /// Says whether an access token is good.
    pub async fn is_active(&self, access_token: &str) -> bool {
        self.introspect(access_token).await.expect("an answer").active
    }

    /// Returns a metric, such as `identity_hashing_computed_total`; zero if it has not been counted yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.http_get("/metrics").await;
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .map(|value| value.parse::<f64>().expect("a number"))
            .sum()
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

    /// Asks the operations server with further header lines, each ending in `\r\n`. Returns the whole response.
    pub async fn http_get_with(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.operations_address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    /// Asks who is calling, with an access token.
    pub async fn get_me(&self, access_token: &str) -> Result<GetMeResponse, Failure> {
        let request = bearing(access_token, GetMeRequest {});
        Ok(self.auth().get_me(request).await?.into_inner())
    }

    /// Returns the public keys that access tokens can be verified with.
    pub async fn signing_keys(&self) -> Vec<SigningKey> {
        let response = self.auth().list_signing_keys(ListSigningKeysRequest {}).await;
        response.expect("the keys").into_inner().keys
    }

    /// Returns how many password hashes the server has computed.
    pub async fn computed_hashes(&self) -> u64 {
        let count = self.metric("identity_hashing_computed_total").await;
        count.to_string().parse().expect("a whole number")
    }
}

/// A password that is accepted.
pub const PASSWORD: &str = "correct horse battery";

/// Adds an access token to a request, as a person's client would send it.
pub fn bearing<M>(access_token: &str, message: M) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {access_token}").parse().expect("a header value");
    request.metadata_mut().insert("authorization", value);
    request
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

    /// Returns the request that creates it.
    pub fn request(&self) -> CreateUserRequest {
        self.0.clone()
    }

    fn with(mut self, change: impl FnOnce(&mut User)) -> Self {
        change(self.0.user.as_mut().unwrap());
        self
    }
}
