//! `ListUsers`: pages, orders and filters. Page tokens are in `page_tokens`.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use identity::proto::identity::v1::{ListUsersRequest, User, UserFilter};
use prost_types::Timestamp;

use super::calls::{Change, Method, assert_refused, emails_of, list};
use crate::support::{Behaviour, Clients, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        g02_page_sizes,
        pages_together_are_the_whole_list_in_order,
        users_created_at_the_same_time_are_listed_once_each,
        pages_are_stable_while_users_come_and_go,
        v16_order_by_is_one_of_a_few_words,
        filter_by_time_of_creation,
        a_time_finer_than_a_microsecond_filters_exactly,
        filter_by_state,
        v16_prefix_is_literal_and_compared_as_emails_are,
        conditions_are_combined,
        bad_filters_are_refused,
    ]
}

fn page(page_size: i32, page_token: &str) -> ListUsersRequest {
    ListUsersRequest {
        page_size,
        page_token: page_token.to_owned(),
        ..ListUsersRequest::default()
    }
}

/// Reads a list to its end, page by page.
async fn read_all(clients: &Clients, mut request: ListUsersRequest) -> Vec<Vec<User>> {
    let mut pages = Vec::new();
    loop {
        let response = list(clients, request.clone()).await.unwrap();
        pages.push(response.users);
        if response.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = response.next_page_token;
    }
}

async fn create_many(clients: &Clients, count: usize) -> Vec<User> {
    join_all(
        (0..count).map(|number| async move {
            clients.create_user(&format!("user{number}@example.com")).await
        }),
    )
    .await
}

async fn g02_page_sizes(t: Test) {
    let server = t.start().await;
    create_many(&server, 102).await;

    for (page_size, expected) in [(0, 50), (1, 1), (99, 99), (100, 100), (101, 100), (i32::MAX, 100)] {
        let response = list(&server, page(page_size, "")).await.unwrap();
        assert_eq!(response.users.len(), expected, "{page_size}");
        assert!(!response.next_page_token.is_empty(), "{page_size}");
    }
    for page_size in [-1, i32::MIN] {
        let result = list(&server, page(page_size, "")).await;
        assert_refused(result, "page_size", "VALUE_OUT_OF_RANGE");
    }

    // The size may change from page to page.
    let first = list(&server, page(100, "")).await.unwrap();
    let second = list(&server, page(1, &first.next_page_token)).await.unwrap();
    let third = list(&server, page(0, &second.next_page_token)).await.unwrap();
    assert_eq!((second.users.len(), third.users.len()), (1, 1));
    assert_eq!(third.next_page_token, "", "the list ends with its last user");
}

async fn pages_together_are_the_whole_list_in_order(t: Test) {
    let server = t.start().await;
    assert_eq!(read_all(&server, page(10, "")).await, [vec![]]);
    let mut created = Vec::new();
    for number in 0..12 {
        created.push(server.create_user(&format!("user{number}@example.com")).await);
        t.clock.advance(chrono::TimeDelta::microseconds(1));
    }

    for page_size in [1, 4, 5, 12, 13] {
        for (order_by, is_descending) in [("create_time", false), ("create_time desc", true)] {
            let request = ListUsersRequest {
                order_by: order_by.to_owned(),
                ..page(page_size, "")
            };
            let pages = read_all(&server, request).await;
            let full = usize::try_from(page_size).unwrap();
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == full));
            assert_eq!(pages.len(), 12_usize.div_ceil(full), "no empty page at the end");
            let mut expected = created.clone();
            if is_descending {
                expected.reverse();
            }
            assert_eq!(pages.concat(), expected, "{page_size} {order_by}");
        }
    }
}

async fn users_created_at_the_same_time_are_listed_once_each(t: Test) {
    let server = t.start().await;
    create_many(&server, 11).await;
    t.sql("UPDATE users SET created_at = (SELECT min(created_at) FROM users)")
        .await
        .unwrap();

    for order_by in ["create_time", "create_time desc"] {
        let request = ListUsersRequest {
            order_by: order_by.to_owned(),
            ..page(3, "")
        };
        let ids: Vec<String> = read_all(&server, request)
            .await
            .concat()
            .into_iter()
            .map(|user| user.id)
            .collect();
        let mut sorted: Vec<String> = ids.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        if order_by.ends_with("desc") {
            sorted.reverse();
        }
        assert_eq!(sorted.len(), 11);
        assert_eq!(ids, sorted, "{order_by}");
    }
}

async fn pages_are_stable_while_users_come_and_go(t: Test) {
    let server = t.start().await;
    for order_by in ["create_time", "create_time desc"] {
        let residents = create_many(&server, 24).await;
        let mut request = ListUsersRequest {
            order_by: order_by.to_owned(),
            ..page(5, "")
        };
        let mut seen = Vec::new();
        let mut gone = BTreeSet::new();
        for round in 0.. {
            let response = list(&server, request.clone()).await.unwrap();
            // The user at which the next page begins goes, and so does one further on; others come.
            let anchor = response.users.last().map(|user| user.id.clone());
            seen.extend(response.users.into_iter().map(|user| user.id));
            let unseen = residents
                .iter()
                .map(|user| user.id.clone())
                .find(|id| !seen.contains(id) && !gone.contains(id));
            for id in [anchor, unseen].into_iter().flatten() {
                Method::Delete.call(&server, Change::of(&id)).await.unwrap();
                gone.insert(id);
            }
            server
                .create_user(&format!("new{round}-{}@example.com", order_by.len()))
                .await;
            // Longer than the list can be: newcomers at its end are allowed to be seen.
            assert!(round < 40, "the list does not end");
            if response.next_page_token.is_empty() {
                break;
            }
            request.page_token = response.next_page_token;
        }
        let once: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(once.len(), seen.len(), "nobody is listed twice");
        for user in residents {
            assert!(seen.contains(&user.id) || gone.contains(&user.id), "{order_by}");
        }
        t.sql("DELETE FROM users").await.unwrap();
    }
}

async fn v16_order_by_is_one_of_a_few_words(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;
    let ordered = |order_by: &str| ListUsersRequest {
        order_by: order_by.to_owned(),
        ..ListUsersRequest::default()
    };
    for order_by in [
        "",
        "create_time",
        "create_time desc",
        "create_time, id",
        " create_time  desc ",
    ] {
        let response = list(&server, ordered(order_by)).await.expect(order_by);
        assert_eq!(response.users.len(), 1);
    }
    for order_by in [
        "email",
        "password_hash",
        "id",
        "created_at",
        "create_time asc; DROP TABLE users",
        "create_time desc desc",
        "create_time DESC",
        "create_time,",
        ",",
        "create_time, email",
        "create_time desc, id",
        "(SELECT 1)",
        "1",
        "'",
        "create_time\u{a0}desc",
    ] {
        assert_refused(
            list(&server, ordered(order_by)).await,
            "order_by",
            "INVALID_FORMAT",
        );
    }
    let long = list(&server, ordered(&"create_time ".repeat(5000))).await;
    assert_refused(long, "order_by", "VALUE_OUT_OF_RANGE");
}

/// Four users, an hour apart.
async fn create_hourly(t: &Test, clients: &Clients) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let user = clients.create_user(&format!("{name}@example.com")).await;
        times.push(user.create_time.unwrap());
        t.clock.advance(chrono::TimeDelta::hours(1));
    }
    times
}

fn between(from: Option<Timestamp>, before: Option<Timestamp>) -> UserFilter {
    UserFilter {
        created_from: from,
        created_before: before,
        ..UserFilter::default()
    }
}

async fn filter_by_time_of_creation(t: Test) {
    let server = t.start().await;
    let times = create_hourly(&t, &server).await;
    let at = |index: usize| Some(times[index]);
    let distant = |seconds| Some(Timestamp { seconds, nanos: 0 });
    for (filter, expected) in [
        (between(None, None), vec!["a", "b", "c", "d"]),
        (between(at(1), None), vec!["b", "c", "d"]),
        (between(None, at(1)), vec!["a"]),
        (between(at(1), at(3)), vec!["b", "c"]),
        (between(at(2), at(2)), vec![]),
        (between(at(3), at(1)), vec![]),
        // The years 1 and 9999.
        (
            between(distant(-62_135_596_800), distant(253_402_300_799)),
            vec!["a", "b", "c", "d"],
        ),
        (between(distant(253_402_300_799), None), vec![]),
    ] {
        let emails = emails_of(&server, filter).await.unwrap();
        let expected: Vec<String> = expected
            .iter()
            .map(|name| format!("{name}@example.com"))
            .collect();
        assert_eq!(emails, expected, "{filter:?}", filter = between(None, None));
    }
}

async fn a_time_finer_than_a_microsecond_filters_exactly(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let created = user.create_time.unwrap();
    let later = Timestamp {
        nanos: created.nanos + 1,
        ..created
    };

    let from_later = emails_of(&server, between(Some(later), None)).await.unwrap();
    assert!(from_later.is_empty(), "created before that time");
    let before_later = emails_of(&server, between(None, Some(later))).await.unwrap();
    assert_eq!(before_later, ["ada@example.com"]);
}

async fn filter_by_state(t: Test) {
    let server = t.start().await;
    for (name, methods) in [
        ("a", vec![]),
        ("b", vec![Method::Deactivate]),
        ("c", vec![Method::Block]),
        ("d", vec![Method::Deactivate, Method::Block]),
    ] {
        let user = server.create_user(&format!("{name}@x.io")).await;
        for method in methods {
            method.call(&server, Change::of(&user.id)).await.unwrap();
        }
    }
    for (is_active, is_blocked, expected) in [
        (None, None, vec!["a@x.io", "b@x.io", "c@x.io", "d@x.io"]),
        (Some(true), None, vec!["a@x.io", "c@x.io"]),
        (Some(false), None, vec!["b@x.io", "d@x.io"]),
        (None, Some(true), vec!["c@x.io", "d@x.io"]),
        (None, Some(false), vec!["a@x.io", "b@x.io"]),
        (Some(false), Some(true), vec!["d@x.io"]),
        (Some(true), Some(false), vec!["a@x.io"]),
    ] {
        let filter = UserFilter {
            is_active,
            is_blocked,
            ..UserFilter::default()
        };
        assert_eq!(emails_of(&server, filter).await.unwrap(), expected);
    }
}

fn prefix(email_prefix: &str) -> UserFilter {
    UserFilter {
        email_prefix: email_prefix.to_owned(),
        ..UserFilter::default()
    }
}

async fn v16_prefix_is_literal_and_compared_as_emails_are(t: Test) {
    let server = t.start().await;
    for email in [
        "Ada@x.io",
        "adam@x.io",
        "a_b@x.io",
        "axb@x.io",
        "100%@x.io",
        "jos\u{e9}@x.io",
    ] {
        server.create_user(email).await;
        t.clock.advance(chrono::TimeDelta::microseconds(1));
    }
    // A user without email is in no list of prefixes.
    server
        .create(crate::support::new_user().username(r"\d\ada"))
        .await
        .unwrap();
    for (text, expected) in [
        ("ada", vec!["Ada@x.io", "adam@x.io"]),
        ("ADA", vec!["Ada@x.io", "adam@x.io"]),
        ("\u{ff41}d", vec!["Ada@x.io", "adam@x.io"]),
        ("ada@", vec!["Ada@x.io"]),
        ("ada@x.io", vec!["Ada@x.io"]),
        ("ada@x.iox", vec![]),
        ("a_", vec!["a_b@x.io"]),
        ("jose\u{301}@", vec!["jos\u{e9}@x.io"]),
        ("100%", vec!["100%@x.io"]),
        ("%", vec![]),
        ("_", vec![]),
        ("a%", vec![]),
        ("*", vec![]),
        ("\\", vec![]),
        ("'OR(1=1)--", vec![]),
        ("\u{d7ff}", vec![]),
        ("\u{10ffff}", vec![]),
        ("@", vec![]),
        ("da", vec![]),
    ] {
        assert_eq!(
            emails_of(&server, prefix(text)).await.unwrap(),
            expected,
            "{text}"
        );
    }
}

async fn conditions_are_combined(t: Test) {
    let server = t.start().await;
    let times = create_hourly(&t, &server).await;
    let c = super::calls::lookup_email(&server, "c@example.com")
        .await
        .unwrap();
    Method::Block.call(&server, Change::of(&c.id)).await.unwrap();

    let filter = UserFilter {
        created_from: Some(times[1]),
        created_before: Some(times[3]),
        is_active: Some(true),
        is_blocked: Some(true),
        email_prefix: "C@".to_owned(),
    };
    assert_eq!(
        emails_of(&server, filter.clone()).await.unwrap(),
        ["c@example.com"]
    );
    for narrower in [
        UserFilter {
            created_from: Some(times[3]),
            ..filter.clone()
        },
        UserFilter {
            created_before: Some(times[2]),
            ..filter.clone()
        },
        UserFilter {
            is_active: Some(false),
            ..filter.clone()
        },
        UserFilter {
            is_blocked: Some(false),
            ..filter.clone()
        },
        UserFilter {
            email_prefix: "b@".to_owned(),
            ..filter.clone()
        },
    ] {
        let emails = emails_of(&server, narrower.clone()).await.unwrap();
        assert!(emails.is_empty(), "{narrower:?}");
    }
}

async fn bad_filters_are_refused(t: Test) {
    let server = t.start().await;
    for (seconds, nanos) in [
        (0, -1),
        (0, 1_000_000_000),
        (-62_135_596_801, 0),
        (253_402_300_800, 0),
        (i64::MAX, 0),
        (i64::MIN, 0),
    ] {
        let time = Some(Timestamp { seconds, nanos });
        let from = emails_of(&server, between(time, None)).await;
        assert_refused(from, "filter.created_from", "INVALID_FORMAT");
        let before = emails_of(&server, between(None, time)).await;
        assert_refused(before, "filter.created_before", "INVALID_FORMAT");
    }
    for text in ["' OR 1=1--", " ", "a b", "\t", "a\u{a0}", "a\u{7f}", "\u{212a}"] {
        let result = emails_of(&server, prefix(text)).await;
        assert_refused(result, "filter.email_prefix", "INVALID_FORMAT");
    }
    assert_eq!(
        emails_of(&server, prefix(&"a".repeat(254))).await.unwrap(),
        [""; 0]
    );
    let too_long = emails_of(&server, prefix(&"a".repeat(255))).await;
    assert_refused(too_long, "filter.email_prefix", "VALUE_OUT_OF_RANGE");
}
