//! `DeleteUser` at the same time as what is done with the accounts of the user.

use futures_util::future::{join, join_all, join4};
use identity::proto::identity::v1::SignInWithIdTokenResponse;

use super::calls::{link, patient};
use crate::session_service::calls::{assert_no_orphans, count, delete, reason};
use crate::support::issuer::{PROVIDER, shared_issuer, with_shared_issuer};
use crate::support::{Behaviour, Clients, Failure, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_deletion_takes_the_accounts_along,
        c03_after_a_deletion_no_token_of_an_id_token_is_usable,
        c05_a_deletion_leaves_no_rows_behind,
    ]
}

const ROUNDS: usize = 60;

async fn orphans(t: &Test) -> i64 {
    count(t, "oauth_accounts WHERE user_id NOT IN (SELECT id FROM users)").await
}

async fn a_deletion_takes_the_accounts_along(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let token = shared_issuer().token(&t, "1", "ada@example.com");
    let response = server.sign_in_with_id_token(PROVIDER, &token).await.unwrap();
    let user = response.user.unwrap();
    delete(&server, &user.id).await.unwrap();
    for table in ["users", "oauth_accounts", "sessions", "refresh_tokens"] {
        assert_eq!(count(&t, table).await, 0, "{table}");
    }
    // The events are there, and do not tell whose account it was.
    assert_eq!(count(&t, "user_events").await, 3);
    let again = server.sign_in_with_id_token(PROVIDER, &token).await.unwrap();
    assert!(again.user_created);
    assert_ne!(again.user.unwrap().id, user.id);
}

async fn c03_after_a_deletion_no_token_of_an_id_token_is_usable(t: Test) {
    // Nobody is created anew, so that every session is one of the user who is deleted.
    let [providers, _] = with_shared_issuer();
    let settings = [
        patient().as_slice(),
        &[providers, ("IDENTITY_PROVIDER_SIGN_UP", "off")],
    ]
    .concat();
    let servers = [t.start_with(&settings).await, t.start_with(&settings).await];
    let mut signed_in = 0;
    for round in 0..ROUNDS {
        let subject = format!("s{round}");
        let user = servers[0].create_user(&format!("u{round}@example.com")).await;
        link(&t, &servers[0], &user.id, &subject).await.unwrap();
        let token = shared_issuer().token(&t, &subject, &format!("other{round}@example.com"));
        let sign_ins =
            join_all((0..4).map(|number| servers[number % 2].sign_in_with_id_token(PROVIDER, &token)));
        let deletion = async {
            // Not always at the same moment: some calls of another kind go first.
            for _ in 0..round % 4 {
                servers[0].get(&user.id).await.unwrap();
            }
            delete(&servers[0], &user.id).await
        };
        let (sign_ins, deletion) = join(sign_ins, deletion).await;
        assert_eq!(reason(&deletion), "OK");
        for outcome in sign_ins {
            let Ok(response) = outcome else {
                assert_eq!(reason(&outcome), "SIGN_UP_DISABLED", "{outcome:?}");
                continue;
            };
            signed_in += 1;
            let tokens = response.tokens.unwrap();
            assert!(!servers[1].is_active(&tokens.access_token).await);
            let refreshed = servers[1].refresh(&tokens.refresh_token).await;
            assert_eq!(reason(&refreshed), "TOKEN_INVALID");
        }
    }
    // Otherwise the two did not meet.
    assert!(signed_in > 0, "no sign-in came before its deletion");
    assert!(signed_in < 4 * ROUNDS, "no sign-in came after its deletion");
    assert_eq!(count(&t, "sessions").await, 0);
    assert_eq!(orphans(&t).await, 0);
    assert_no_orphans(&t).await;
}

async fn c05_a_deletion_leaves_no_rows_behind(t: Test) {
    let servers = [t.start_with(&patient()).await, t.start_with(&patient()).await];
    let mut outcomes_of_links = Vec::new();
    for round in 0..ROUNDS {
        let email = format!("u{round}@example.com");
        let (user, tokens) = servers[0].signed_in(&email).await;
        let first = async {
            link(&t, &servers[1], &user.id, &format!("a{round}"))
                .await
                .map(drop)
        };
        let second = async {
            sign_in(&t, &servers[1], &format!("b{round}"), &email)
                .await
                .map(drop)
        };
        let others = async {
            join(
                servers[1].refresh(&tokens.refresh_token),
                servers[0].create(new_user().email(&email)),
            )
            .await
        };
        let deletion = async {
            for _ in 0..round % 4 {
                servers[0].get(&user.id).await.unwrap();
            }
            delete(&servers[0], &user.id).await
        };
        let (linked, entered, (_, created), deletion) = join4(first, second, others, deletion).await;
        assert_eq!(reason(&deletion), "OK");
        assert!(
            ["OK", "USER_NOT_FOUND"].contains(&reason(&linked).as_str()),
            "{linked:?}"
        );
        assert!(
            ["OK", "LINK_REQUIRED"].contains(&reason(&entered).as_str()),
            "{entered:?}"
        );
        assert!(
            ["OK", "EMAIL_TAKEN"].contains(&reason(&created).as_str()),
            "{created:?}"
        );
        outcomes_of_links.push(reason(&linked));
        assert!(!servers[1].is_active(&tokens.access_token).await);
    }
    outcomes_of_links.sort();
    outcomes_of_links.dedup();
    assert_eq!(
        outcomes_of_links.len(),
        2,
        "a link came before or after every deletion"
    );
    assert_eq!(orphans(&t).await, 0);
    assert_no_orphans(&t).await;
    let emails = count(&t, "users").await;
    let distinct = t
        .sql_value("SELECT count(DISTINCT email_normalized) AS value FROM users")
        .await;
    assert_eq!(distinct, Some(emails.to_string()));
}

async fn sign_in(
    t: &Test,
    clients: &Clients,
    subject: &str,
    email: &str,
) -> Result<SignInWithIdTokenResponse, Failure> {
    let token = shared_issuer().token(t, subject, email);
    clients.sign_in_with_id_token(PROVIDER, &token).await
}
