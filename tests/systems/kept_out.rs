//! What it means that somebody is kept out.

use identity::proto::identity::v1::{GetMeRequest, Tokens};
use tonic::Code;

use crate::support::{Clients, Failure, PASSWORD, bearing};

/// Not even the right password signs in, for this reason; and the tokens from before are dead.
pub async fn assert_kept_out(clients: &Clients, identifier: &str, before: &Tokens, reason: &str) {
    let right = clients.sign_in(identifier, PASSWORD).await.unwrap_err();
    assert_eq!(
        (right.code(), right.reason().as_str()),
        (Code::FailedPrecondition, reason)
    );
    // Whoever does not know the password does not learn the reason.
    assert_wrong(clients, identifier, "not the right password").await;
    assert_ended(clients, before).await;
}

/// The password is answered like any wrong one.
pub async fn assert_wrong(clients: &Clients, identifier: &str, password: &str) {
    let wrong = clients.sign_in(identifier, password).await.unwrap_err();
    assert_eq!(
        (wrong.code(), wrong.reason().as_str()),
        (Code::Unauthenticated, "INVALID_CREDENTIALS"),
        "{identifier} {password}"
    );
}

/// The session of the tokens has ended.
pub async fn assert_ended(clients: &Clients, tokens: &Tokens) {
    assert!(!clients.is_active(&tokens.access_token).await);
    let refreshed = clients.refresh(&tokens.refresh_token).await.unwrap_err();
    let request = bearing(&tokens.access_token, GetMeRequest {});
    let me = Failure::from(clients.auth().get_me(request).await.unwrap_err());
    for failure in [refreshed, me] {
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::Unauthenticated, "SESSION_ENDED")
        );
    }
}

/// The session of the tokens goes on. Returns the next tokens.
pub async fn assert_live(clients: &Clients, tokens: &Tokens) -> Tokens {
    assert!(clients.is_active(&tokens.access_token).await);
    clients.refresh(&tokens.refresh_token).await.unwrap()
}
