//! `ListSessions`: order, pages and what they are bound to.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use identity::proto::identity::v1::{ListSessionsRequest, ListUsersRequest, SessionEndReason};
use tonic::Code;

use super::calls::{list, revoke, session, session_ids, signed_in_again};
use crate::support::{Behaviour, Clients, Failure, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        the_newest_session_is_first,
        sessions_that_have_ended_are_listed_only_if_asked_for,
        pages_are_stable_while_sessions_come_and_go,
        sessions_begun_at_the_same_time_are_listed_once_each,
        g01_a_page_token_is_bound_to_its_list,
        g02_page_sizes,
        an_unknown_user_has_no_sessions,
    ]
}

fn of_user(user_id: &str) -> ListSessionsRequest {
    ListSessionsRequest {
        user_id: user_id.to_owned(),
        ..ListSessionsRequest::default()
    }
}

/// Signs in so often, a second apart. Returns the ids of the sessions, the newest first.
async fn sign_in_often(t: &Test, clients: &Clients, email: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        t.clock.advance(TimeDelta::seconds(1));
        ids.push(signed_in_again(clients, email).await.session_id);
    }
    ids.reverse();
    ids
}

async fn the_newest_session_is_first(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password("ada@example.com").await;
    let (_, others) = server.signed_in("bob@example.com").await;
    let ids = sign_in_often(&t, &server, "ada@example.com", 5).await;

    assert_eq!(session_ids(&server, &ada.id, false).await, ids);

    // A refresh does not change the order.
    let oldest = list(&server, of_user(&ada.id))
        .await
        .unwrap()
        .sessions
        .pop()
        .unwrap();
    assert_eq!(session(&server, &oldest.id).await.unwrap(), oldest);
    assert!(!ids.contains(&others.session_id));
}

async fn sessions_that_have_ended_are_listed_only_if_asked_for(t: Test) {
    let server = t.start_with(&[("IDENTITY_SESSION_IDLE_LIFETIME", "1h")]).await;
    let ada = server.create_with_password("ada@example.com").await;
    let expired = signed_in_again(&server, "ada@example.com").await.session_id;
    server.clock.advance(TimeDelta::hours(1));
    let ids = sign_in_often(&t, &server, "ada@example.com", 3).await;
    revoke(&server, &ids[1]).await.unwrap();

    let live = [ids[0].clone(), ids[2].clone()];
    assert_eq!(session_ids(&server, &ada.id, false).await, live);

    let mut everything = ids.clone();
    everything.push(expired.clone());
    assert_eq!(session_ids(&server, &ada.id, true).await, everything);
    let request = ListSessionsRequest {
        include_ended: true,
        ..of_user(&ada.id)
    };
    let sessions = list(&server, request).await.unwrap().sessions;
    assert_eq!(sessions[1].end_reason(), SessionEndReason::Revoked);
    assert!(sessions[1].end_time.is_some());
    // It was not ended: nobody did.
    assert_eq!(sessions[3].end_reason(), SessionEndReason::Unspecified);
    assert_eq!(sessions[3].end_time, None);
}

async fn pages_are_stable_while_sessions_come_and_go(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password("ada@example.com").await;
    let ids = sign_in_often(&t, &server, "ada@example.com", 9).await;
    let mut request = ListSessionsRequest {
        page_size: 3,
        ..of_user(&ada.id)
    };
    let mut seen = Vec::new();
    loop {
        let page = list(&server, request.clone()).await.unwrap();
        assert!(page.sessions.len() <= 3);
        seen.extend(page.sessions.into_iter().map(|session| session.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        // One that was shown ends, also the one that the token stands on, and a new one begins.
        revoke(&server, seen.last().unwrap()).await.unwrap();
        sign_in_often(&t, &server, "ada@example.com", 1).await;
    }
    assert_eq!(seen, ids);
}

async fn sessions_begun_at_the_same_time_are_listed_once_each(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password("ada@example.com").await;
    sign_in_often(&t, &server, "ada@example.com", 7).await;
    t.sql("UPDATE sessions SET created_at = (SELECT min(created_at) FROM sessions)")
        .await
        .unwrap();
    let mut request = ListSessionsRequest {
        page_size: 2,
        ..of_user(&ada.id)
    };
    let mut seen = Vec::new();
    loop {
        let page = list(&server, request.clone()).await.unwrap();
        seen.extend(page.sessions.into_iter().map(|session| session.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 7);
    // The ids break the tie, the greatest first.
    let sorted: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(seen, sorted.into_iter().rev().collect::<Vec<_>>());
}

fn assert_bad_token<T: std::fmt::Debug>(outcome: Result<T, Failure>) {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.code(), Code::InvalidArgument);
    assert_eq!(
        failure.fields(),
        [("page_token".to_owned(), "INVALID_PAGE_TOKEN".to_owned())]
    );
}

async fn g01_a_page_token_is_bound_to_its_list(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password("ada@example.com").await;
    let bob = server.create_with_password("bob@example.com").await;
    for email in ["ada@example.com", "bob@example.com"] {
        sign_in_often(&t, &server, email, 3).await;
    }
    let first = ListSessionsRequest {
        page_size: 1,
        ..of_user(&ada.id)
    };
    let token = list(&server, first.clone()).await.unwrap().next_page_token;
    let second = ListSessionsRequest {
        page_token: token.clone(),
        ..first.clone()
    };

    // However the id is written and whatever the size of the page, it is the same list.
    let same = ListSessionsRequest {
        user_id: ada.id.to_uppercase(),
        page_size: 2,
        ..second.clone()
    };
    assert_eq!(list(&server, same).await.unwrap().sessions.len(), 2);
    let other_user = ListSessionsRequest {
        user_id: bob.id.clone(),
        ..second.clone()
    };
    assert_bad_token(list(&server, other_user).await);
    let with_ended = ListSessionsRequest {
        include_ended: true,
        ..second.clone()
    };
    assert_bad_token(list(&server, with_ended).await);
    let users = ListUsersRequest {
        page_token: token.clone(),
        ..ListUsersRequest::default()
    };
    assert_bad_token(server.users().list_users(users).await.map_err(Failure::from));
    let first_users = ListUsersRequest {
        page_size: 1,
        ..ListUsersRequest::default()
    };
    let of_users = server.users().list_users(first_users).await.unwrap().into_inner();
    let foreign = ListSessionsRequest {
        page_token: of_users.next_page_token,
        ..first.clone()
    };
    assert_bad_token(list(&server, foreign).await);
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = ListSessionsRequest {
            page_token: String::from_utf8(bytes).unwrap(),
            ..first.clone()
        };
        assert_bad_token(list(&server, changed).await);
    }
    server.clock.advance(TimeDelta::hours(25));
    assert_bad_token(list(&server, second).await);
}

async fn g02_page_sizes(t: Test) {
    let server = t.start_with(&[("IDENTITY_MAX_SESSIONS_PER_USER", "1000")]).await;
    let ada = server.create_with_password("ada@example.com").await;
    super::many_sessions::insert(&t, &ada.id, 150).await;
    for (page_size, expected) in [(0, 50), (1, 1), (100, 100), (101, 100), (i32::MAX, 100)] {
        let request = ListSessionsRequest {
            page_size,
            ..of_user(&ada.id)
        };
        let page = list(&server, request).await.unwrap();
        assert_eq!(page.sessions.len(), expected, "{page_size}");
    }
    let request = ListSessionsRequest {
        page_size: -1,
        ..of_user("x")
    };
    let failure = list(&server, request).await.unwrap_err();
    assert_eq!(
        failure.fields(),
        [
            ("user_id".to_owned(), "INVALID_FORMAT".to_owned()),
            ("page_size".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())
        ]
    );
}

async fn an_unknown_user_has_no_sessions(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;

    // The id of a session is not that of a user.
    assert_eq!(
        session_ids(&server, &tokens.session_id, true).await,
        Vec::<String>::new()
    );
}
