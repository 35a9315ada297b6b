//! F15: whoever has had a way to sign in keeps one, whatever is taken away at once and by whom.

use futures_util::future::{join, join_all};
use identity::proto::identity::v1::{AuthProvider, RemovePasswordRequest};
use tonic::Code;

use super::calls::{enter, link, list, patient, unlink};
use crate::credential_service::calls::{remove_password, set_password};
use crate::session_service::calls::id_in_sql;
use crate::support::issuer::with_shared_issuer;
use crate::support::{Backend, Behaviour, Clients, Failure, PASSWORD, Test, behaviours, postgres_only};
use crate::user_service::calls::assert_failed;

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            f15_the_last_way_to_sign_in_stays,
            f15_one_stays_of_fifty_that_are_taken_away_at_once,
            f15_sql_by_hand_cannot_take_the_last_one_away,
        ],
        postgres_only![f15_the_database_sees_what_two_transactions_do_at_once],
    ]
    .concat()
}

const EMAIL: &str = "ada@example.com";

async fn remove(clients: &Clients, user_id: &str) -> Result<(), Failure> {
    let request = RemovePasswordRequest {
        user_id: user_id.to_owned(),
        ..RemovePasswordRequest::default()
    };
    remove_password(clients, request).await.map(drop)
}

async fn f15_the_last_way_to_sign_in_stays(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let last = |outcome| assert_failed(outcome, Code::FailedPrecondition, "LAST_CREDENTIAL");
    last(remove(&server, &user.id).await);
    let (account, _) = link(&t, &server, &user.id, "1").await.unwrap();
    remove(&server, &user.id).await.unwrap();
    let without = server.get(&user.id).await.unwrap();
    assert!(!without.password_set);
    assert_eq!(without.auth_provider(), AuthProvider::Oidc);
    last(unlink(&server, &user.id, &account.id).await.map(drop));
    assert_eq!(enter(&t, &server, "1").await.unwrap().id, user.id);
    set_password(&server, &user.id, PASSWORD).await.unwrap();
    unlink(&server, &user.id, &account.id).await.unwrap();
    last(remove(&server, &user.id).await);
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn f15_one_stays_of_fifty_that_are_taken_away_at_once(t: Test) {
    const ROUNDS: usize = 6;
    let servers = [t.start_with(&patient()).await, t.start_with(&patient()).await];
    for round in 0..ROUNDS {
        let user = servers[0]
            .create_with_password(&format!("u{round}@example.com"))
            .await;
        let mut accounts = Vec::new();
        for number in 0..2 {
            let (account, _) = link(&t, &servers[0], &user.id, &format!("{round}-{number}"))
                .await
                .unwrap();
            accounts.push(account.id);
        }
        let removals = join_all((0..20).map(|number| remove(&servers[number % 2], &user.id)));
        let unlinkings = join_all(
            (0..30).map(|number| unlink(&servers[number % 2], &user.id, &accounts[number / 2 % 2])),
        );
        let (removals, unlinkings) = join(removals, unlinkings).await;
        let failures = removals
            .into_iter()
            .chain(unlinkings.into_iter().map(|outcome| outcome.map(drop)))
            .filter_map(Result::err);
        for failure in failures {
            let expected = ["LAST_CREDENTIAL", "OAUTH_ACCOUNT_NOT_FOUND"];
            assert!(expected.contains(&failure.reason().as_str()), "{failure:?}");
        }
        let left = usize::from(servers[0].get(&user.id).await.unwrap().password_set)
            + list(&servers[0], &user.id).await.unwrap().len();
        assert_eq!(left, 1, "round {round}");
    }
}

async fn f15_sql_by_hand_cannot_take_the_last_one_away(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = enter(&t, &server, "1").await.unwrap();
    let other = server.create_with_password(EMAIL).await;
    let id = id_in_sql(&t, &user.id);
    let other_id = id_in_sql(&t, &other.id);
    for statement in [
        "DELETE FROM oauth_accounts".to_owned(),
        format!("UPDATE oauth_accounts SET user_id = {other_id}"),
        format!("UPDATE users SET auth_provider = 'google', password_hash = NULL WHERE id = {other_id}"),
    ] {
        let error = t.sql(&statement).await.expect_err(&statement);
        assert!(error.contains("users_credential_check"), "{statement}: {error}");
    }
    assert_eq!(enter(&t, &server, "1").await.unwrap().id, user.id);
    // With a password it may go, and with the user it goes.
    set_password(&server, &user.id, PASSWORD).await.unwrap();
    t.sql("DELETE FROM oauth_accounts").await.unwrap();
    let error = t
        .sql(&format!("UPDATE users SET password_hash = NULL WHERE id = {id}"))
        .await
        .unwrap_err();
    assert!(error.contains("users_credential_check"), "{error}");
    link(&t, &server, &user.id, "1").await.unwrap();
    t.sql("DELETE FROM users").await.unwrap();
    assert_eq!(list(&server, &user.id).await.unwrap(), []);
}

/// Each of two transactions takes away what the other one leaves; both are asked to commit at the same time.
async fn f15_the_database_sees_what_two_transactions_do_at_once(t: Test) {
    const ROUNDS: usize = 20;
    assert_eq!(t.backend, Backend::Postgres);
    let server = t.start_with(&with_shared_issuer()).await;
    for round in 0..ROUNDS {
        let user = server
            .create_with_password(&format!("u{round}@example.com"))
            .await;
        link(&t, &server, &user.id, &format!("s{round}")).await.unwrap();
        let id = id_in_sql(&t, &user.id);
        let unlink = format!("BEGIN; DELETE FROM oauth_accounts WHERE user_id = {id}; COMMIT");
        let remove = format!(
            "BEGIN; UPDATE users SET password_hash = NULL, auth_provider = 'oidc' WHERE id = {id}; COMMIT"
        );
        let (unlinked, removed) = join(t.sql(&unlink), t.sql(&remove)).await;
        let failed: Vec<String> = [unlinked, removed].into_iter().filter_map(Result::err).collect();
        assert_eq!(failed.len(), 1, "round {round}: {failed:?}");
        assert!(failed[0].contains("users_credential_check"), "{failed:?}");
        let left = usize::from(server.get(&user.id).await.unwrap().password_set)
            + list(&server, &user.id).await.unwrap().len();
        assert_eq!(left, 1, "round {round}");
    }
}
