//! People who sign in, and the calls that are made for them.

use std::time::Duration;

use identity::proto::grpc::health::v1::health_client::HealthClient;
use identity::proto::identity::v1::auth_service_client::AuthServiceClient;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{
    Client, GetUserRequest, RefreshTokensRequest, SignInWithPasswordRequest, Tokens,
};
use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;

use super::server::Credential;
use super::{Answer, Database, population};

/// The password of everybody.
pub const PASSWORD: &str = "correct horse battery";

/// Writes users who have [`PASSWORD`] into a database that has been migrated.
pub async fn settle(database: &Database, count: usize, cost: u32) {
    let hash = bcrypt::hash(PASSWORD, cost).expect("a hash");
    population::fill(database, count, &hash).await;
}

/// Signs a user in.
pub async fn sign_in(
    channel: Channel,
    credential: &Credential,
    user: usize,
    deadline: Duration,
) -> Result<Tokens, Status> {
    let message = SignInWithPasswordRequest {
        identifier: population::email(user),
        password: PASSWORD.to_owned(),
        client: Some(Client {
            ip_address: "192.0.2.1".to_owned(),
            ..Client::default()
        }),
    };
    let mut request = credential.request(message);
    request.set_timeout(deadline);
    let response = AuthServiceClient::new(channel)
        .sign_in_with_password(request)
        .await?;
    Ok(response.into_inner().tokens.expect("tokens"))
}

/// Exchanges a refresh token.
pub async fn refresh(
    channel: Channel,
    credential: &Credential,
    refresh_token: String,
) -> Result<Tokens, Status> {
    let message = RefreshTokensRequest {
        refresh_token,
        client: None,
    };
    let request = credential.request(message);
    let response = AuthServiceClient::new(channel).refresh_tokens(request).await?;
    Ok(response.into_inner().tokens.expect("tokens"))
}

/// Reads a user by its id.
pub async fn get_user(channel: Channel, credential: Credential, user: usize) -> Answer {
    let request = credential.request(GetUserRequest {
        user_id: population::id(user).to_string(),
    });
    UserServiceClient::new(channel)
        .get_user(request)
        .await
        .map(drop)
        .into()
}

/// Asks whether the server serves.
pub async fn check_health(channel: Channel) -> Answer {
    match HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
    {
        Ok(answer) if answer.get_ref().status == 1 => Answer::Good,
        Ok(answer) => Answer::Failed(format!("the health is {}", answer.get_ref().status)),
        Err(status) => Err(status).into(),
    }
}
