//! Page tokens of `ListUsers`, and the plan of its search by prefix.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use identity::proto::identity::v1::{ListUsersRequest, UserFilter};

use super::calls::{assert_refused, list};
use crate::support::{
    Behaviour, Clients, Test, TestServer, behaviours, eventually, postgres_only, sqlite_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            g01_a_changed_token_is_refused_whichever_bit_it_is,
            g01_a_cut_or_lengthened_token_is_refused,
            g01_garbage_is_refused,
            g01_a_token_is_of_no_use_for_another_list,
            g01_a_token_expires_after_24_hours,
            g01_a_token_of_another_master_key_is_refused,
            g01_a_token_outlives_a_restart_and_tells_nothing,
        ],
        sqlite_only![v16_prefix_search_uses_its_index_on_sqlite],
        postgres_only![v16_prefix_search_uses_its_index_on_postgresql],
    ]
    .concat()
}

fn page(page_token: &str) -> ListUsersRequest {
    ListUsersRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
        ..ListUsersRequest::default()
    }
}

/// Creates two users and returns the token for the page of the second one.
async fn token(server: &TestServer) -> String {
    server.create_user("ada@example.com").await;
    server.create_user("bob@example.com").await;
    let token = list(server, page("")).await.unwrap().next_page_token;
    let second = list(server, page(&token)).await.unwrap();
    assert_eq!(second.users.len(), 1);
    assert_eq!(second.users[0].email, "bob@example.com");
    token
}

async fn assert_invalid(clients: &Clients, token: &str) {
    assert_refused(
        list(clients, page(token)).await,
        "page_token",
        "INVALID_PAGE_TOKEN",
    );
}

async fn g01_a_changed_token_is_refused_whichever_bit_it_is(t: Test) {
    let server = t.start().await;
    let token = token(&server).await;
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << bit;
            assert_invalid(&server, &URL_SAFE_NO_PAD.encode(changed)).await;
        }
    }
    for index in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[index] ^= 1;
        assert_invalid(&server, &String::from_utf8(changed).unwrap()).await;
    }
}

async fn g01_a_cut_or_lengthened_token_is_refused(t: Test) {
    let server = t.start().await;
    let token = token(&server).await;
    for length in 1..token.len() {
        assert_invalid(&server, &token[..length]).await;
    }
    for changed in [
        format!("{token}A"),
        format!("{token}AAAA"),
        format!("{token}="),
        format!("{token}=="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}{token}"),
        token.to_uppercase(),
    ] {
        assert_invalid(&server, &changed).await;
    }
}

async fn g01_garbage_is_refused(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;
    for garbage in [
        "0",
        "2",
        "next",
        "\u{1f511}",
        "' OR 1=1--",
        &STANDARD.encode("' OR 1=1--"),
        &URL_SAFE_NO_PAD.encode("1; DROP TABLE users"),
        &URL_SAFE_NO_PAD.encode([0; 60]),
        &URL_SAFE_NO_PAD.encode([255; 60]),
        &"A".repeat(1024),
        &"A".repeat(64 * 1024),
        &"%".repeat(64 * 1024),
    ] {
        assert_invalid(&server, garbage).await;
    }
}

async fn g01_a_token_is_of_no_use_for_another_list(t: Test) {
    let server = t.start().await;
    let token = token(&server).await;
    let filtered = |filter: UserFilter| ListUsersRequest {
        filter: Some(filter),
        ..page(&token)
    };
    let time = Some(prost_types::Timestamp::default());
    for other in [
        ListUsersRequest {
            order_by: "create_time desc".to_owned(),
            ..page(&token)
        },
        filtered(UserFilter {
            is_active: Some(true),
            ..UserFilter::default()
        }),
        filtered(UserFilter {
            is_active: Some(false),
            ..UserFilter::default()
        }),
        filtered(UserFilter {
            is_blocked: Some(false),
            ..UserFilter::default()
        }),
        filtered(UserFilter {
            email_prefix: "b".to_owned(),
            ..UserFilter::default()
        }),
        filtered(UserFilter {
            created_from: time,
            ..UserFilter::default()
        }),
        filtered(UserFilter {
            created_before: time,
            ..UserFilter::default()
        }),
    ] {
        let result = list(&server, other).await;
        assert_refused(result, "page_token", "INVALID_PAGE_TOKEN");
    }

    // The same list said in another way is the same list.
    for same in [
        filtered(UserFilter::default()),
        ListUsersRequest {
            order_by: "create_time".to_owned(),
            ..page(&token)
        },
    ] {
        assert_eq!(
            list(&server, same).await.unwrap().users[0].email,
            "bob@example.com"
        );
    }
}

async fn g01_a_token_expires_after_24_hours(t: Test) {
    let server = t.start().await;
    let token = token(&server).await;

    t.clock.advance(TimeDelta::hours(24) - TimeDelta::minutes(2));
    list(&server, page(&token)).await.unwrap();

    t.clock.advance(TimeDelta::minutes(2));
    assert_invalid(&server, &token).await;
}

async fn g01_a_token_of_another_master_key_is_refused(t: Test) {
    let server = t.start().await;
    let token = token(&server).await;
    let other_key = STANDARD.encode(b"another key of thirty-two bytes.");
    // With signing keys that it cannot decrypt the other server would not start.
    t.sql("DELETE FROM signing_keys").await.unwrap();
    let other = t
        .start_with(&[("IDENTITY_MASTER_KEY", &other_key), ("IDENTITY_MIGRATE", "off")])
        .await;

    assert_invalid(&other, &token).await;
    let own = list(&other, page("")).await.unwrap().next_page_token;
    list(&other, page(&own)).await.unwrap();
    assert_invalid(&server, &own).await;
}

async fn g01_a_token_outlives_a_restart_and_tells_nothing(t: Test) {
    let server = t.start().await;
    let token = token(&server).await;
    let ada = super::calls::lookup_email(&server, "ada@example.com")
        .await
        .unwrap();
    let id: uuid::Uuid = ada.id.parse().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    assert!(!bytes.windows(16).any(|window| window == id.as_bytes()));
    // Nor does it tell that two tokens are for the same page.
    let again = list(&server, page("")).await.unwrap().next_page_token;
    assert_ne!(again, token);
    server.shutdown().await;

    let restarted = t.start().await;

    let second = list(&restarted, page(&token)).await.unwrap();
    assert_eq!(second.users[0].email, "bob@example.com");
}

fn by_prefix(email_prefix: &str) -> ListUsersRequest {
    ListUsersRequest {
        filter: Some(UserFilter {
            email_prefix: email_prefix.to_owned(),
            ..UserFilter::default()
        }),
        ..ListUsersRequest::default()
    }
}

/// Explains the very statement that the service sends, which its log has when the echo is on.
async fn v16_prefix_search_uses_its_index_on_sqlite(t: Test) {
    use diesel::prelude::*;

    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = diesel::sql_types::Text)]
        detail: String,
    }

    let mut process = t.spawn(&[("IDENTITY_DATABASE_ECHO", "on")], &["serve"]);
    process.wait_until_serving().await;
    list(&process, by_prefix("ada")).await.unwrap();
    let statement = eventually("the statement is logged", async || {
        let log = process.output();
        log.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|line| line["fields"]["statement"].as_str().map(str::to_owned))
            .find(|statement| statement.contains("FROM `users`") && statement.contains("ORDER BY"))
    })
    .await;

    let path = t.database_url().strip_prefix("sqlite://").unwrap().to_owned();
    let mut connection = SqliteConnection::establish(&path).unwrap();
    let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"))
        .load(&mut connection)
        .expect(&statement);

    let plan: Vec<&str> = steps.iter().map(|step| step.detail.as_str()).collect();
    assert!(
        plan[0].contains("SEARCH users USING INDEX users_email_normalized_key")
            && plan[0].contains("email_normalized>? AND email_normalized<?"),
        "{plan:?}"
    );
}

/// Asks PostgreSQL which index it used for the service's own statement.
async fn v16_prefix_search_uses_its_index_on_postgresql(t: Test) {
    let server = t.start().await;
    t.sql(
        "INSERT INTO users (email, email_normalized)
         SELECT 'user' || n || '@x.io', 'user' || n || '@x.io' FROM generate_series(1, 20000) n;
         ANALYZE users",
    )
    .await
    .unwrap();

    let found = list(&server, by_prefix("user1234@")).await.unwrap();

    assert_eq!(found.users.len(), 1);
    let scans = "SELECT sum(idx_scan) AS value FROM pg_stat_user_indexes \
                 WHERE indexrelname IN ('users_email_prefix_idx', 'users_email_normalized_key')";
    eventually("the index is used", async || {
        t.sql_value(scans).await.is_some_and(|count| count != "0")
    })
    .await;
}
