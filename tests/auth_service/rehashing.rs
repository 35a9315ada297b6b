//! Hashes of yesterday: a sign-in replaces one that is weaker than those of today, and nothing is lost by it.

use futures_util::future::join_all;

use crate::credential_service::calls::{OTHER_PASSWORD, change_password, set_password, stored_hash};
use crate::support::{Behaviour, PASSWORD, Test, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p13_a_weak_hash_is_replaced_once_after_a_sign_in,
        p13_only_the_right_password_replaces_a_hash,
        p13_a_stronger_hash_is_kept,
        p13_sign_ins_at_the_same_time_all_succeed,
        p13_a_password_set_meanwhile_is_never_lost,
        p13_a_password_changed_meanwhile_is_never_lost,
    ]
}

const EMAIL: &str = "ada@example.com";

/// The cost of hashes today; yesterday's is that of every test.
const TODAY: [(&str, &str); 3] = [
    ("IDENTITY_BCRYPT_COST", "6"),
    // What is shown here is not lockout.
    ("IDENTITY_LOCKOUT_FAILURES", "1000"),
    ("IDENTITY_LOCKOUT_FREE_FAILURES", "1000"),
];

async fn is_of_today(t: &Test) -> bool {
    let hash = stored_hash(t, EMAIL).await.expect("a hash");
    hash.starts_with("$2b$06$")
}

async fn p13_a_weak_hash_is_replaced_once_after_a_sign_in(t: Test) {
    let yesterday = t.start().await;
    let user = yesterday.create_with_password(EMAIL).await;
    yesterday.shutdown().await;
    let server = t.start_with(&TODAY).await;
    assert!(!is_of_today(&t).await);

    let tokens = server.sign_in(EMAIL, PASSWORD).await.unwrap();

    eventually("the password is hashed again", async || is_of_today(&t).await).await;
    let hash = stored_hash(&t, EMAIL).await;
    assert!(bcrypt::verify(PASSWORD, hash.as_deref().unwrap()).unwrap());
    assert_eq!(server.computed_hashes().await, 2);
    // The user is told apart from before by the etag alone, and nothing is ended.
    let rehashed = server.get(&user.id).await.unwrap();
    let user = identity::proto::identity::v1::User {
        etag: rehashed.etag.clone(),
        update_time: rehashed.update_time,
        ..user
    };
    assert_eq!(rehashed, user);
    assert!(server.is_active(&tokens.access_token).await);
    server.refresh(&tokens.refresh_token).await.unwrap();

    server.sign_in(EMAIL, PASSWORD).await.unwrap();
    server.shutdown().await;
    assert_eq!(stored_hash(&t, EMAIL).await, hash, "not again");
}

async fn p13_only_the_right_password_replaces_a_hash(t: Test) {
    let yesterday = t.start().await;
    yesterday.create_with_password(EMAIL).await;
    let hash = stored_hash(&t, EMAIL).await;
    let server = t.start_with(&TODAY).await;
    for number in 0..5 {
        server
            .sign_in(EMAIL, &format!("a wrong password {number}"))
            .await
            .unwrap_err();
    }
    assert_eq!(server.computed_hashes().await, 5);
    server.shutdown().await;
    assert_eq!(stored_hash(&t, EMAIL).await, hash);
}

async fn p13_a_stronger_hash_is_kept(t: Test) {
    let today = t.start_with(&TODAY).await;
    today.create_with_password(EMAIL).await;
    let server = t.start().await;

    server.sign_in(EMAIL, PASSWORD).await.unwrap();

    assert_eq!(server.computed_hashes().await, 1);
    server.shutdown().await;
    assert!(is_of_today(&t).await);
}

async fn p13_sign_ins_at_the_same_time_all_succeed(t: Test) {
    let yesterday = t.start().await;
    let user = yesterday.create_with_password(EMAIL).await;
    let servers = [t.start_with(&TODAY).await, t.start_with(&TODAY).await];
    for _ in 0..5 {
        set_password(&yesterday, &user.id, PASSWORD).await.unwrap();

        let sign_ins = (0..20).map(|number| servers[number % 2].sign_in(EMAIL, PASSWORD));
        for outcome in join_all(sign_ins).await {
            outcome.expect("the password is right");
        }
    }
}

async fn p13_a_password_set_meanwhile_is_never_lost(t: Test) {
    let yesterday = t.start().await;
    let user = yesterday.create_with_password(EMAIL).await;
    let server = t.start_with(&TODAY).await;
    for round in 0..20 {
        let old = format!("the password of round {round}");
        let new = format!("the password after round {round}");
        set_password(&yesterday, &user.id, &old).await.unwrap();

        // The sign-in comes first or second; in either case the hash of the old password must not come back.
        let (_, changed) = tokio::join!(
            server.sign_in(EMAIL, &old),
            set_password(&yesterday, &user.id, &new)
        );
        changed.unwrap();

        server.sign_in(EMAIL, &new).await.unwrap();
        let failure = server.sign_in(EMAIL, &old).await.unwrap_err();
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
    }
    server.shutdown().await;
    let hash = stored_hash(&t, EMAIL).await.unwrap();
    assert!(bcrypt::verify("the password after round 19", &hash).unwrap());
}

async fn p13_a_password_changed_meanwhile_is_never_lost(t: Test) {
    let yesterday = t.start().await;
    let (user, _) = yesterday.signed_in(EMAIL).await;
    let server = t.start_with(&TODAY).await;
    for _ in 0..10 {
        set_password(&yesterday, &user.id, PASSWORD).await.unwrap();
        let tokens = yesterday.sign_in(EMAIL, PASSWORD).await.unwrap();

        // The password is right whichever hash it has, so the change succeeds.
        let (_, changed) = tokio::join!(
            server.sign_in(EMAIL, PASSWORD),
            change_password(&server, &tokens.access_token, PASSWORD, OTHER_PASSWORD)
        );
        changed.unwrap();

        server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
        server.sign_in(EMAIL, PASSWORD).await.unwrap_err();
    }
}
