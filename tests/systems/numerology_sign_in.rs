//! The numerology application: who can sign in, and who cannot.

use identity::proto::identity::v1::{AuthProvider, User};
use tonic::Code;

use super::calls::{deactivate, reactivate};
use super::count;
use super::kept_out::{assert_ended, assert_kept_out, assert_live, assert_wrong};
use super::numerology::{CONFIGURATION, ada};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        num_07_a_user_without_a_password_is_stored_with_a_null_hash,
        num_07_a_user_without_a_password_never_signs_in_with_one,
        num_08_a_deactivated_user_returns_with_everything_intact,
        num_08_a_deactivated_user_cannot_sign_in,
    ]
}

async fn num_07_a_user_without_a_password_is_stored_with_a_null_hash(t: Test) {
    let server = t.start_with(CONFIGURATION).await;

    let user = server.create(ada()).await.unwrap();

    assert!(!user.password_set);
    assert_eq!(user.auth_provider(), AuthProvider::Unspecified);
    assert_eq!(
        t.sql_value("SELECT password_hash AS value FROM users").await,
        None
    );
    // Nor can SQL by hand store an empty hash, or call the account one that began with a password.
    for change in ["password_hash = ''", "auth_provider = 'password'"] {
        let error = t.sql(&format!("UPDATE users SET {change}")).await.unwrap_err();
        assert!(error.contains("_check"), "{change}: {error}");
    }
}

async fn num_07_a_user_without_a_password_never_signs_in_with_one(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let user = server.create(ada()).await.unwrap();
    // As it is stored of somebody who signed in through a provider.
    t.begin_with_google().await;
    let before = server.metric("identity_hashing_computed_total").await;

    let attempts = ["null", PASSWORD, " ", "\u{fffd}"];
    for password in attempts {
        assert_wrong(&server, &user.email, password).await;
    }
    // No password at all is a request that lacks something, for everybody.
    let empty = server.sign_in(&user.email, "").await.unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
    let required = [("password".to_owned(), "FIELD_REQUIRED".to_owned())];
    assert_eq!(empty.fields(), required);

    // The same answer as for somebody who does not exist, after the same work.
    let known = server.sign_in(&user.email, PASSWORD).await.unwrap_err();
    let unknown = server.sign_in("nobody@example.com", PASSWORD).await.unwrap_err();
    assert_eq!(known.status().details(), unknown.status().details());
    assert_eq!(known.message(), unknown.message());
    let hashed = server.metric("identity_hashing_computed_total").await - before;
    assert_eq!(hashed, attempts.len() as f64 + 2.0);
    let reasons =
        "SELECT DISTINCT failure_reason AS value FROM login_attempts WHERE user_id IS NOT NULL";
    assert_eq!(t.sql_value(reasons).await.as_deref(), Some("no_password"));
    assert_eq!(count(&t, "sessions").await, "0");
    let stored = "SELECT password_hash AS value FROM users";
    assert_eq!(t.sql_value(stored).await, None);
}

async fn num_08_a_deactivated_user_returns_with_everything_intact(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let user = server.create(ada().password(PASSWORD)).await.unwrap();
    let tokens = server.sign_in(&user.email, PASSWORD).await.unwrap();
    let credentials = "SELECT password_hash || password_changed_at AS value FROM users";
    let credentials_before = t.sql_value(credentials).await;
    let ignoring_version = |other: &User| User {
        update_time: user.update_time,
        etag: user.etag.clone(),
        ..other.clone()
    };

    let inactive = deactivate(&server, &user.id).await;

    let expected = User {
        is_active: false,
        ..user.clone()
    };
    assert_eq!(ignoring_version(&inactive), expected);
    assert_eq!(server.get(&user.id).await.unwrap(), inactive);
    assert_eq!(t.sql_value(credentials).await, credentials_before);

    let active = reactivate(&server, &user.id).await;

    assert_eq!(ignoring_version(&active), user);
    assert_eq!(t.sql_value(credentials).await, credentials_before);
    assert_eq!(count(&t, "sessions").await, "1");
    // The same password signs in again; what was ended stays ended.
    let again = server.sign_in(&user.email, PASSWORD).await.unwrap();
    assert_live(&server, &again).await;
    assert_ended(&server, &tokens).await;
}

async fn num_08_a_deactivated_user_cannot_sign_in(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let user = server.create(ada().password(PASSWORD)).await.unwrap();
    let other = ada().email("grace@example.com").password(PASSWORD);
    server.create(other).await.unwrap();
    let tokens = server.sign_in(&user.email, PASSWORD).await.unwrap();
    let others = server.sign_in("grace@example.com", PASSWORD).await.unwrap();

    deactivate(&server, &user.id).await;

    assert_kept_out(&server, &user.email, &tokens, "USER_INACTIVE").await;
    assert_live(&server, &others).await;
    let reason = "SELECT revoke_reason AS value FROM sessions WHERE revoked_at IS NOT NULL";
    assert_eq!(t.sql_value(reason).await.as_deref(), Some("user_deactivated"));

    // Sessions that SQL by hand left as they were let nobody in either.
    reactivate(&server, &user.id).await;
    let later = server.sign_in(&user.email, PASSWORD).await.unwrap();
    t.sql("UPDATE users SET is_active = false WHERE email = 'Ada@example.com'")
        .await
        .unwrap();
    assert_kept_out(&server, &user.email, &later, "USER_INACTIVE").await;
}
