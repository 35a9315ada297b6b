//! Many callers at the same time.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use identity::proto::identity::v1::User;
use tonic::Code;

use super::calls::{Change, Method, count, kind, update};
use crate::support::{Behaviour, Clients, Failure, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        c01_of_a_hundred_creates_of_one_email_one_succeeds,
        c01_of_a_hundred_creates_of_one_username_one_succeeds,
        c02_updates_of_different_fields_without_etag_are_all_kept,
        c02_of_updates_with_the_same_etag_one_succeeds,
        of_updates_to_one_email_one_succeeds,
        a_deletion_and_an_update_do_not_bring_a_user_back,
    ]
}

/// Asserts that one call succeeded and the others failed in one way.
fn assert_one_succeeded<T>(results: &[Result<T, Failure>], code: Code, reason: &str) {
    let successes = results.iter().filter(|result| result.is_ok()).count();
    for failure in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(kind(failure), (code, reason.to_owned()), "{failure:?}");
    }
    assert_eq!(successes, 1, "of {}", results.len());
}

async fn c01_of_a_hundred_creates_of_one_email_one_succeeds(t: Test) {
    let server = t.start().await;
    let forms = [
        "jos\u{e9}.fine@example.com",
        "JOS\u{c9}.FINE@EXAMPLE.COM",
        "jose\u{301}.fine@example.com",
        "jos\u{e9}.\u{fb01}ne@example.com",
        "jos\u{e9}.\u{ff46}ine@Example.com",
    ];

    let results = join_all((0..100).map(|number| {
        let email = forms[number % forms.len()];
        server.create(new_user().email(email))
    }))
    .await;

    assert_one_succeeded(&results, Code::AlreadyExists, "EMAIL_TAKEN");
    assert_eq!(count(&t, "users").await, "1");
}

async fn c01_of_a_hundred_creates_of_one_username_one_succeeds(t: Test) {
    let server = t.start().await;
    let replica = t.start_with(&[("IDENTITY_MIGRATE", "off")]).await;

    // Half of them over another server on the same database.
    let results = join_all((0..100).map(|number| {
        let name = if number % 3 == 0 {
            r"\CORP\Ada"
        } else {
            r"\corp\ada"
        };
        let clients: &Clients = if number % 2 == 0 { &server } else { &replica };
        let user = new_user().email(&format!("ada{number}@example.com"));
        clients.create(user.username(name))
    }))
    .await;

    assert_one_succeeded(&results, Code::AlreadyExists, "USERNAME_TAKEN");
    assert_eq!(count(&t, "users").await, "1");
}

async fn c02_updates_of_different_fields_without_etag_are_all_kept(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let rounds = 25;

    // Every field is changed by calls that follow each other, and the fields change at the same time.
    let change = async |field: &str, set: &(dyn Fn(&mut User, usize) + Sync)| {
        for round in 1..=rounds {
            let mut user = User {
                id: ada.id.clone(),
                ..User::default()
            };
            set(&mut user, round);
            update(&server, user, &[field]).await.unwrap();
        }
    };
    let names = join(
        change("full_name", &|user, round| {
            user.full_name = format!("Ada {round}")
        }),
        change("username", &|user, round| {
            user.username = format!(r"\corp\ada{round}");
        }),
    );
    let others = join(
        change("email", &|user, round| {
            user.email = format!("ada{round}@example.com");
        }),
        change("birth_date", &|user, round| {
            let day = i32::try_from(round).unwrap();
            user.birth_date = Some(identity::proto::google::r#type::Date {
                year: 1815,
                month: 12,
                day,
            });
        }),
    );
    join(names, others).await;

    let last = server.get(&ada.id).await.unwrap();
    assert_eq!(last.full_name, "Ada 25");
    assert_eq!(last.username, r"\corp\ada25");
    assert_eq!(last.email, "ada25@example.com");
    assert_eq!(last.birth_date.unwrap().day, 25);
    let version = t.sql_value("SELECT version AS value FROM users").await;
    assert_eq!(version.as_deref(), Some("101"), "each of the hundred counted");
}

async fn c02_of_updates_with_the_same_etag_one_succeeds(t: Test) {
    let server = t.start().await;
    let mut present = server.create_user("ada@example.com").await;
    let mut etags = BTreeSet::from([present.etag.clone()]);
    for round in 0..5 {
        let results = join_all((0..20).map(|number| {
            let mut user = present.clone();
            user.full_name = format!("Ada {round} {number}");
            update(&server, user, &["full_name"])
        }))
        .await;

        assert_one_succeeded(&results, Code::Aborted, "ETAG_MISMATCH");
        let winner = results.into_iter().find_map(Result::ok).unwrap();
        present = server.get(&winner.id).await.unwrap();
        assert_eq!(present, winner);
        assert!(etags.insert(present.etag.clone()), "an etag is never used again");
    }
}

async fn of_updates_to_one_email_one_succeeds(t: Test) {
    let server = t.start().await;
    let users = join_all((0..20).map(|number| {
        let server = &server;
        async move { server.create_user(&format!("ada{number}@example.com")).await }
    }))
    .await;

    let results = join_all(users.into_iter().map(|mut user| {
        user.email = "ADA@example.com".to_owned();
        update(&server, user, &["email"])
    }))
    .await;

    assert_one_succeeded(&results, Code::AlreadyExists, "EMAIL_TAKEN");
}

async fn a_deletion_and_an_update_do_not_bring_a_user_back(t: Test) {
    let server = t.start().await;
    for round in 0..10 {
        let user = server.create_user(&format!("ada{round}@example.com")).await;
        let updates = join_all((0..8).map(|_| Method::Update.call(&server, Change::of(&user.id))));
        let deletions = join_all((0..4).map(|_| Method::Delete.call(&server, Change::of(&user.id))));

        let (updates, deletions) = join(updates, deletions).await;

        assert_one_succeeded(&deletions, Code::NotFound, "USER_NOT_FOUND");
        for failure in updates.into_iter().filter_map(Result::err) {
            assert_eq!(failure.reason(), "USER_NOT_FOUND");
        }
        assert_eq!(count(&t, "users").await, "0");
    }
}
