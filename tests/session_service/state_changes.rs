//! What ends the sessions of a user: blocks, deactivations, passwords and revocations, each in one transaction.

use identity::proto::identity::v1::SessionEndReason;

use super::calls::{
    OTHER_PASSWORD, block, count, deactivate, live_tokens, reactivate, reason, reset_password,
    revoke_all, session, session_ids, set_password, sign_out, signed_in_again, unblock,
};
use crate::support::{Backend, Behaviour, Clients, Failure, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p10_t14_what_ends_sessions_ends_them_everywhere_at_once,
        sessions_do_not_come_back_with_their_user,
        a_change_and_the_end_of_sessions_are_one_transaction,
        a_block_ends_the_sessions_of_whoever_was_blocked_by_hand,
        other_changes_end_no_session,
    ]
}

/// What ends every session of a user.
#[derive(Debug, Clone, Copy)]
enum Change {
    Block,
    Deactivate,
    SetPassword,
    ResetPassword,
    RevokeAll,
    SignOutOfAll,
}

impl Change {
    const ALL: [Self; 6] = [
        Self::Block,
        Self::Deactivate,
        Self::SetPassword,
        Self::ResetPassword,
        Self::RevokeAll,
        Self::SignOutOfAll,
    ];

    async fn make(self, clients: &Clients, user_id: &str, refresh_token: &str) -> Result<(), Failure> {
        match self {
            Self::Block => block(clients, user_id).await,
            Self::Deactivate => deactivate(clients, user_id).await,
            Self::SetPassword => set_password(clients, user_id, OTHER_PASSWORD).await,
            Self::ResetPassword => reset_password(clients, user_id, OTHER_PASSWORD).await,
            Self::RevokeAll => revoke_all(clients, user_id).await.map(drop),
            Self::SignOutOfAll => sign_out(clients, refresh_token, true).await.map(drop),
        }
    }

    /// Lets the user sign in again, with the password that is returned.
    async fn undo(self, clients: &Clients, user_id: &str) -> &'static str {
        match self {
            Self::Block => unblock(clients, user_id).await.unwrap(),
            Self::Deactivate => reactivate(clients, user_id).await.unwrap(),
            Self::SetPassword | Self::ResetPassword => return OTHER_PASSWORD,
            Self::RevokeAll | Self::SignOutOfAll => {}
        }
        PASSWORD
    }

    const fn end_reason(self) -> SessionEndReason {
        match self {
            Self::Block => SessionEndReason::UserBlocked,
            Self::Deactivate => SessionEndReason::UserDeactivated,
            Self::SetPassword | Self::ResetPassword => SessionEndReason::PasswordChanged,
            Self::RevokeAll => SessionEndReason::Revoked,
            Self::SignOutOfAll => SessionEndReason::SignedOut,
        }
    }
}

async fn p10_t14_what_ends_sessions_ends_them_everywhere_at_once(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (_, others) = server.signed_in("bob@example.com").await;
    for change in Change::ALL {
        let email = format!("{change:?}@example.com");
        let (user, first) = server.signed_in(&email).await;
        let second = signed_in_again(&replica, &email).await;
        let second = server.refresh(&second.refresh_token).await.unwrap();

        let made = change.make(&server, &user.id, &first.refresh_token).await;

        made.unwrap();
        for tokens in [&first, &second] {
            let ended = session(&replica, &tokens.session_id).await.unwrap();
            assert_eq!(ended.end_reason(), change.end_reason());
            assert!(ended.end_time.is_some());
            assert_eq!(live_tokens(&t, &tokens.session_id).await, 0, "{change:?}");
            assert!(!replica.is_active(&tokens.access_token).await, "{change:?}");
            let outcome = replica.refresh(&tokens.refresh_token).await;
            assert_eq!(reason(&outcome), "SESSION_ENDED", "{change:?}");
        }
        let password = change.undo(&server, &user.id).await;
        let again = replica.sign_in(&email, password).await.unwrap();
        assert!(server.is_active(&again.access_token).await, "{change:?}");
        assert_eq!(session_ids(&server, &user.id, false).await, [again.session_id]);
    }
    assert!(server.is_active(&others.access_token).await);
    replica.refresh(&others.refresh_token).await.unwrap();
}

async fn sessions_do_not_come_back_with_their_user(t: Test) {
    let server = t.start().await;
    for change in Change::ALL {
        let email = format!("{change:?}@example.com");
        let (user, tokens) = server.signed_in(&email).await;
        let parent = tokens.refresh_token.clone();
        let newest = server.refresh(&parent).await.unwrap();
        change.make(&server, &user.id, &parent).await.unwrap();

        change.undo(&server, &user.id).await;

        for token in [&parent, &newest.refresh_token] {
            let outcome = server.refresh(token).await;
            assert_eq!(reason(&outcome), "SESSION_ENDED", "{change:?}");
        }
        for token in [&tokens.access_token, &newest.access_token] {
            assert!(!server.is_active(token).await, "{change:?}");
        }
    }
}

/// Has the database refuse to revoke refresh tokens, which is the last thing that such a change writes.
async fn refuse_revocations(t: &Test) {
    let statements = match t.backend {
        Backend::Sqlite => {
            "CREATE TRIGGER refuse BEFORE UPDATE OF revoked_at ON refresh_tokens
             BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
        }
        Backend::Postgres => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE 'refused by the test'; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE OF revoked_at ON refresh_tokens
             FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
    };
    t.sql(statements).await.unwrap();
}

async fn allow_revocations(t: &Test) {
    let statements = match t.backend {
        Backend::Sqlite => "DROP TRIGGER refuse",
        Backend::Postgres => "DROP FUNCTION refuse CASCADE",
    };
    t.sql(statements).await.unwrap();
}

async fn a_change_and_the_end_of_sessions_are_one_transaction(t: Test) {
    let server = t.start().await;
    for change in Change::ALL {
        let email = format!("{change:?}@example.com");
        let (user, tokens) = server.signed_in(&email).await;
        let before = server.get(&user.id).await.unwrap();
        refuse_revocations(&t).await;

        let made = change.make(&server, &user.id, &tokens.refresh_token).await;

        assert_eq!(reason(&made), "INTERNAL", "{change:?}");
        assert_eq!(server.get(&user.id).await.unwrap(), before, "{change:?}");
        let untouched = session(&server, &tokens.session_id).await.unwrap();
        assert_eq!(untouched.end_time, None, "{change:?}");
        assert!(server.is_active(&tokens.access_token).await, "{change:?}");
        server.sign_in(&email, PASSWORD).await.unwrap();
        allow_revocations(&t).await;
        server.refresh(&tokens.refresh_token).await.unwrap();
    }
}

async fn a_block_ends_the_sessions_of_whoever_was_blocked_by_hand(t: Test) {
    let server = t.start().await;
    for (change, column) in [
        (Change::Block, "is_blocked = true"),
        (Change::Deactivate, "is_active = false"),
    ] {
        let email = format!("{change:?}@example.com");
        let (user, tokens) = server.signed_in(&email).await;
        t.sql(&format!(
            "UPDATE users SET {column} WHERE email_normalized = '{}'",
            email.to_lowercase()
        ))
        .await
        .unwrap();

        change.make(&server, &user.id, "").await.unwrap();
        change.undo(&server, &user.id).await;

        let outcome = server.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&outcome), "SESSION_ENDED", "{change:?}");
        assert!(!server.is_active(&tokens.access_token).await, "{change:?}");
        let ended = session(&server, &tokens.session_id).await.unwrap();
        assert_eq!(ended.end_reason(), change.end_reason());
        // Once more changes nothing.
        change.make(&server, &user.id, "").await.unwrap();
        change.undo(&server, &user.id).await;
        assert_eq!(session(&server, &tokens.session_id).await.unwrap(), ended);
    }
}

async fn other_changes_end_no_session(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in("ada@example.com").await;

    unblock(&server, &user.id).await.unwrap();
    reactivate(&server, &user.id).await.unwrap();
    let wrong = server.sign_in("ada@example.com", OTHER_PASSWORD).await;
    assert_eq!(reason(&wrong), "INVALID_CREDENTIALS");

    assert!(server.is_active(&tokens.access_token).await);
    server.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(count(&t, "sessions WHERE revoked_at IS NOT NULL").await, 0);
}
