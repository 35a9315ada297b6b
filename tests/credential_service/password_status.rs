//! `GetPasswordStatus`: whether there is a password, and since when.

use chrono::TimeDelta;
use identity::proto::identity::v1::{GetPasswordStatusRequest, GetPasswordStatusResponse};
use tonic::Code;

use super::calls::{OTHER_PASSWORD, set_password};
use crate::support::{Behaviour, Clients, Failure, PASSWORD, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed};

pub fn tests() -> Vec<Behaviour> {
    behaviours![the_status_says_since_when_and_nothing_else, nobody_has_no_status]
}

async fn status(clients: &Clients, user_id: &str) -> Result<GetPasswordStatusResponse, Failure> {
    let request = GetPasswordStatusRequest {
        user_id: user_id.to_owned(),
    };
    let response = clients.credentials().get_password_status(request).await?;
    Ok(response.into_inner())
}

async fn the_status_says_since_when_and_nothing_else(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let without = status(&server, &user.id).await.unwrap();
    assert_eq!(without, GetPasswordStatusResponse::default());

    set_password(&server, &user.id, PASSWORD).await.unwrap();
    let first = status(&server, &user.id).await.unwrap();
    assert!(first.password_set);
    server.clock.advance(TimeDelta::days(2));
    server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(status(&server, &user.id).await.unwrap(), first);

    set_password(&server, &user.id, OTHER_PASSWORD).await.unwrap();
    let second = status(&server, &user.id).await.unwrap();
    let seconds = |response: &GetPasswordStatusResponse| response.change_time.unwrap().seconds;
    assert!(seconds(&second) - seconds(&first) >= 2 * 24 * 3600);
}

async fn nobody_has_no_status(t: Test) {
    let server = t.start().await;
    assert_failed(status(&server, NOBODY).await, Code::NotFound, "USER_NOT_FOUND");
}
