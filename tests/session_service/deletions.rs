//! `DeleteUser` at the same time as everything that a user does.

use futures_util::future::{join_all, join3};

use super::calls::{
    OTHER_PASSWORD, PATIENT, assert_no_orphans, count, delete, reason, revoke_all, sign_out,
};
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        c03_after_a_deletion_no_token_of_a_sign_in_is_usable,
        c05_a_deletion_and_the_end_of_sessions_do_not_disturb_each_other,
    ]
}

const ROUNDS: usize = 150;

async fn c03_after_a_deletion_no_token_of_a_sign_in_is_usable(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let replica = t.start_with(&PATIENT).await;
    let mut signed_in = 0;
    for round in 0..ROUNDS {
        let email = format!("ada{round}@example.com");
        let user = server.create_with_password(&email).await;
        let sign_ins = join_all((0..4).map(|number| {
            let clients: &Clients = if number % 2 == 0 { &server } else { &replica };
            clients.sign_in(&email, PASSWORD)
        }));
        let guesses = join_all((0..2).map(|_| replica.sign_in(&email, OTHER_PASSWORD)));
        // Not always at the same moment: some calls of another kind go first.
        let deletion = async {
            for _ in 0..round % 5 {
                server.get(&user.id).await.unwrap();
            }
            delete(&server, &user.id).await
        };

        let (sign_ins, guesses, deletion) = join3(sign_ins, guesses, deletion).await;

        assert_eq!(reason(&deletion), "OK");
        for outcome in guesses {
            assert_eq!(reason(&outcome), "INVALID_CREDENTIALS", "{outcome:?}");
        }
        for outcome in sign_ins {
            let Ok(tokens) = outcome else {
                assert_eq!(reason(&outcome), "INVALID_CREDENTIALS", "{outcome:?}");
                continue;
            };
            signed_in += 1;
            assert!(!replica.is_active(&tokens.access_token).await);
            let refreshed = replica.refresh(&tokens.refresh_token).await;
            assert_eq!(reason(&refreshed), "TOKEN_INVALID");
        }
    }
    // Otherwise the two did not meet.
    assert!(signed_in > 0, "no sign-in came before its deletion");
    assert!(signed_in < 4 * ROUNDS, "no sign-in came after its deletion");
    for table in ["users", "sessions", "refresh_tokens"] {
        assert_eq!(count(&t, table).await, 0, "{table}");
    }
    assert_no_orphans(&t).await;
    // What an attempt left that was made while there was a user does not tell who it was.
    let telling = "login_attempts WHERE identifier IS NOT NULL AND
                   (success OR failure_reason IN ('wrong_password', 'no_password'))";
    assert_eq!(count(&t, telling).await, 0);
}

async fn c05_a_deletion_and_the_end_of_sessions_do_not_disturb_each_other(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let replica = t.start_with(&PATIENT).await;
    for round in 0..ROUNDS {
        let email = format!("ada{round}@example.com");
        let (user, tokens) = server.signed_in(&email).await;
        let refresh_token = tokens.refresh_token.as_str();
        let ends = async {
            for _ in 0..round % 3 {
                // Whether the user is still there does not matter; it takes a moment.
                let _ = server.get(&user.id).await;
            }
            (
                sign_out(&replica, refresh_token, true).await,
                revoke_all(&replica, &user.id).await,
            )
        };

        let (refreshed, (signed_out, revoked), deletion) =
            join3(replica.refresh(refresh_token), ends, delete(&server, &user.id)).await;

        assert_eq!(reason(&deletion), "OK");
        assert_eq!(reason(&signed_out), "OK", "{signed_out:?}");
        assert!(["OK", "USER_NOT_FOUND"].contains(&reason(&revoked).as_str()));
        let expected = ["OK", "TOKEN_INVALID", "SESSION_ENDED"];
        assert!(expected.contains(&reason(&refreshed).as_str()), "{refreshed:?}");
        for access_token in refreshed.iter().chain([&tokens]).map(|all| &all.access_token) {
            assert!(!server.is_active(access_token).await);
        }
        let repeated = replica.refresh(refresh_token).await;
        assert_eq!(reason(&repeated), "TOKEN_INVALID");
    }
    assert_eq!(count(&t, "refresh_tokens").await, 0);
    assert_no_orphans(&t).await;
}
