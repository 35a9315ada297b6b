//! `ExportUser`.

use identity::proto::identity::v1::export_user_response::Item;
use identity::proto::identity::v1::{ExportUserRequest, ExportUserResponse};
use tonic::Code;

use super::calls::{NOBODY, assert_failed, assert_refused};
use crate::support::{AUTH, Behaviour, Clients, Failure, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        long_lists_are_exported_whole,
        s08_an_export_has_no_secrets,
        users_export_themselves_and_nobody_else,
        whom_nobody_knows_cannot_be_exported,
    ]
}

/// Returns everything that is held about a user.
pub async fn export(clients: &Clients, user_id: &str) -> Result<Vec<Item>, Failure> {
    let request = ExportUserRequest {
        user_id: user_id.to_owned(),
    };
    let mut stream = clients.users().export_user(request).await?.into_inner();
    let mut items = Vec::new();
    while let Some(ExportUserResponse { item }) = stream.message().await? {
        items.push(item.expect("an item"));
    }
    Ok(items)
}

async fn long_lists_are_exported_whole(t: Test) {
    const ATTEMPTS: usize = 250;
    let server = t.start().await;
    let (ada, _) = server.signed_in("ada@example.com").await;
    for _ in 1..ATTEMPTS {
        server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    }

    let items = export(&server, &ada.id).await.unwrap();

    let attempts: Vec<&str> = items
        .iter()
        .filter_map(|item| {
            if let Item::LoginAttempt(attempt) = item {
                Some(attempt.id.as_str())
            } else {
                None
            }
        })
        .collect();
    let different: std::collections::BTreeSet<_> = attempts.iter().collect();
    assert_eq!((attempts.len(), different.len()), (ATTEMPTS, ATTEMPTS));
    let sessions = items.iter().filter(|item| matches!(item, Item::Session(_)));
    assert_eq!(sessions.count(), ATTEMPTS, "also those that gave way to others");
}

async fn s08_an_export_has_no_secrets(t: Test) {
    let server = t.start().await;
    let (ada, tokens) = server.signed_in("ada@example.com").await;
    let hashes = t
        .sql_values("SELECT password_hash AS value FROM users WHERE password_hash IS NOT NULL")
        .await;

    let text = format!("{:?}", export(&server, &ada.id).await.unwrap());

    let hash = hashes[0].clone().unwrap();
    for secret in [&hash, &tokens.access_token, &tokens.refresh_token] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
}

async fn users_export_themselves_and_nobody_else(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let admin = server.with_token(&t.service_token("admin", &["admin"]).await);
    let (ada, tokens) = admin.signed_in("ada@example.com").await;
    let (bob, _) = admin.signed_in("bob@example.com").await;
    let as_ada = server.with_token(&tokens.access_token);

    let items = export(&as_ada, &ada.id).await.unwrap();

    assert!(matches!(&items[0], Item::User(user) if user.id == ada.id));
    let others = export(&as_ada, &bob.id).await;
    assert_failed(others, Code::NotFound, "USER_NOT_FOUND");
}

async fn whom_nobody_knows_cannot_be_exported(t: Test) {
    let server = t.start().await;
    let nobody = export(&server, NOBODY).await;
    assert_failed(nobody, Code::NotFound, "USER_NOT_FOUND");
    assert_refused(export(&server, "").await, "user_id", "FIELD_REQUIRED");
    assert_refused(export(&server, "x").await, "user_id", "INVALID_FORMAT");
}
