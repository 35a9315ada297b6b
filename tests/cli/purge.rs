//! `identity purge`, and the same done by the running server.

use chrono::{TimeDelta, Utc};
use identity::proto::identity::v1::{
    CreateEmailVerificationRequest, CreatePasswordResetRequest, GetLockoutRequest, SignOutRequest,
    get_lockout_request::Subject,
};

use crate::session_service::calls::id_in_sql;
use crate::support::{Backend, Behaviour, Clients, PASSWORD, Test, behaviours, eventually, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        rag_11_what_has_expired_is_removed_and_nothing_else,
        rag_11_sessions_tokens_attempts_and_lockouts_are_removed_once_they_mean_nothing,
        rag_11_the_running_server_removes_the_same,
        rag_11_what_can_still_mean_something_stays,
        rag_11_sessions_that_ran_out_go_a_week_later,
        rag_11_sessions_that_were_ended_go_a_week_later,
        rag_11_attempts_are_kept_as_long_as_configured,
        events_are_kept_as_long_as_configured,
        the_running_server_removes_old_events_too,
        many_events_are_removed_in_batches,
        r03_a_used_token_is_recognised_after_its_row_was_purged,
        without_a_schema_it_fails,
    ]
}

/// What the command prints, of how many rows of what.
fn report(rows: [usize; 7]) -> String {
    let [
        request_ids,
        sessions,
        refresh_tokens,
        one_time_tokens,
        login_attempts,
        lockouts,
        user_events,
    ] = rows;
    format!(
        "{request_ids} request ids removed\n\
         {sessions} sessions removed\n\
         {refresh_tokens} refresh tokens removed\n\
         {one_time_tokens} one-time tokens removed\n\
         {login_attempts} login attempts removed\n\
         {lockouts} lockouts removed\n\
         {user_events} user events removed\n"
    )
}

async fn assert_removed(t: &Test, rows: [usize; 7]) {
    let outcome = t.run(&[], &["purge"]).await;
    assert_eq!(outcome, (0, report(rows), String::new()));
}

async fn rag_11_what_has_expired_is_removed_and_nothing_else(t: Test) {
    let server = t.start().await;
    // The clock of the command is that of the machine.
    server.clock.advance(TimeDelta::hours(-25));
    for number in 0..3 {
        let user = new_user().email(&format!("old{number}@example.com"));
        let id = format!("0190a6e1-7d5c-4abc-8def-00000000000{number}");
        server.create(user.request_id(&id)).await.unwrap();
    }
    server.clock.advance(TimeDelta::hours(25));
    let ada = new_user()
        .email("ada@example.com")
        .request_id("0190a6e1-7d5c-4abc-8def-0123456789ab");
    let created = server.create(ada.clone()).await.unwrap();
    assert_eq!(count(&t, "request_ids").await, 4);

    assert_removed(&t, [3, 0, 0, 0, 0, 0, 0]).await;
    assert_removed(&t, [0, 0, 0, 0, 0, 0, 0]).await;

    assert_eq!(count(&t, "request_ids").await, 1);
    assert_eq!(count(&t, "users").await, 4);
    // A retry is still recognised.
    assert_eq!(server.create(ada).await.unwrap(), created);
}

/// Leaves something of everything behind: a session with its refresh token, two one-time tokens,
/// two attempts to sign in, and the counters of one network and of all.
async fn use_everything(clients: &Clients, email: &str) {
    let (user, _) = clients.signed_in(email).await;
    let wrong = clients
        .sign_in_from("192.0.2.66", email, "not the password")
        .await;
    assert!(wrong.is_err());
    let mut credentials = clients.credentials();
    let reset = CreatePasswordResetRequest {
        user_id: user.id.clone(),
    };
    credentials.create_password_reset(reset).await.unwrap();
    let verification = CreateEmailVerificationRequest { user_id: user.id };
    credentials.create_email_verification(verification).await.unwrap();
}

/// The tables of [`use_everything`], and how many rows it adds to each. The network that the user signed in
/// from, the one of the wrong password, and all networks have a row of `lockouts` each.
const USED: [(&str, usize); 5] = [
    ("sessions", 1),
    ("refresh_tokens", 1),
    ("one_time_tokens", 2),
    ("login_attempts", 2),
    ("lockouts", 3),
];

async fn assert_counts(t: &Test, times: usize) {
    for (table, rows) in USED {
        assert_eq!(count(t, table).await, rows * times, "{table}");
    }
}

/// As long ago as is needed for everything to be over: a network is known for 90 days.
const LONG_AGO: TimeDelta = TimeDelta::days(91);

async fn rag_11_sessions_tokens_attempts_and_lockouts_are_removed_once_they_mean_nothing(t: Test) {
    t.clock.advance(-LONG_AGO);
    let server = t.start().await;
    use_everything(&server, "ada@example.com").await;
    t.clock.advance(LONG_AGO);
    use_everything(&server, "grace@example.com").await;
    assert_counts(&t, 2).await;

    // The refresh token goes with its session.
    assert_removed(&t, [0, 1, 0, 2, 2, 3, 0]).await;
    assert_removed(&t, [0, 0, 0, 0, 0, 0, 0]).await;

    assert_counts(&t, 1).await;
    assert_eq!(count(&t, "users").await, 2);
    let others = "SELECT count(*) AS value FROM sessions WHERE user_id IN
                  (SELECT id FROM users WHERE email = 'grace@example.com')";
    assert_eq!(t.sql_value(others).await.as_deref(), Some("1"));
    server.sign_in("ada@example.com", PASSWORD).await.unwrap();
}

async fn rag_11_the_running_server_removes_the_same(t: Test) {
    t.clock.advance(-LONG_AGO);
    let server = t.start().await;
    use_everything(&server, "ada@example.com").await;
    t.clock.advance(LONG_AGO);
    use_everything(&server, "grace@example.com").await;
    assert_counts(&t, 2).await;

    // It purges when it starts, and from then on every ten minutes.
    let _other = t.start().await;

    eventually("what is over is gone", async || {
        for (table, rows) in USED {
            if count(&t, table).await != rows {
                return false;
            }
        }
        true
    })
    .await;
    assert_removed(&t, [0, 0, 0, 0, 0, 0, 0]).await;
}

/// An hour before each of them goes.
async fn rag_11_what_can_still_mean_something_stays(t: Test) {
    let hour = TimeDelta::hours(1);
    let mut present = TimeDelta::zero();
    let mut go_to = |ago: TimeDelta| {
        t.clock.advance(-ago - present);
        present = -ago;
    };
    go_to(TimeDelta::days(90) - hour);
    let server = t.start().await;
    // An attempt, and a network that is known: 90 days.
    server.signed_in("ada@example.com").await;
    // A session of 14 days that has been over for almost a week.
    go_to(TimeDelta::days(21) - hour);
    let (grace, _) = server.signed_in("grace@example.com").await;
    // A token of an hour, over for almost a week.
    go_to(TimeDelta::days(7));
    let user_id = grace.id.clone();
    let reset = CreatePasswordResetRequest { user_id };
    server.credentials().create_password_reset(reset).await.unwrap();
    // Failures from everywhere: a day.
    go_to(TimeDelta::days(1) - hour);
    for number in 0..3 {
        let address = format!("192.0.2.{number}");
        let wrong = server
            .sign_in_from(&address, "grace@example.com", "not the password")
            .await;
        assert!(wrong.is_err());
    }
    go_to(TimeDelta::zero());
    let rows_before = count(&t, "lockouts").await;

    // The session of Ada has been over for long, and what all networks did to her was forgotten after a day.
    assert_removed(&t, [0, 1, 0, 0, 0, 1, 0]).await;

    assert_eq!(count(&t, "sessions").await, 1);
    assert_eq!(count(&t, "refresh_tokens").await, 1);
    assert_eq!(count(&t, "one_time_tokens").await, 1);
    assert_eq!(count(&t, "login_attempts").await, 5);
    assert_eq!(count(&t, "lockouts").await, rows_before - 1);
    let lockout = GetLockoutRequest {
        subject: Some(Subject::UserId(grace.id)),
    };
    let response = server.security().get_lockout(lockout).await.unwrap().into_inner();
    assert_eq!(response.lockout.unwrap().failed_attempts, 3);
}

/// To the minute, though they are looked for by the day.
async fn rag_11_sessions_that_ran_out_go_a_week_later(t: Test) {
    let server = t.start().await;
    server.wait_until_settled().await;
    let (_, kept) = server.signed_in("ada@example.com").await;
    let (_, over) = server.signed_in("grace@example.com").await;
    let minute = TimeDelta::minutes(1);
    for (tokens, margin) in [(&kept, minute), (&over, -minute)] {
        let id = id_in_sql(&t, &tokens.session_id);
        let ran_out = Utc::now() - TimeDelta::days(7) + margin;
        let time = match t.backend {
            Backend::Sqlite => ran_out.timestamp_micros().to_string(),
            Backend::Postgres => format!("'{}'", ran_out.to_rfc3339()),
        };
        t.sql(&format!(
            "UPDATE sessions SET idle_expires_at = {time} WHERE id = {id}"
        ))
        .await
        .unwrap();
    }

    assert_removed(&t, [0, 1, 0, 0, 0, 0, 0]).await;

    let left = format!(
        "SELECT count(*) AS value FROM sessions WHERE id = {}",
        id_in_sql(&t, &kept.session_id)
    );
    assert_eq!(t.sql_value(&left).await.as_deref(), Some("1"));
    assert_eq!(count(&t, "sessions").await, 1);
}

/// However long they could have gone on.
async fn rag_11_sessions_that_were_ended_go_a_week_later(t: Test) {
    let days = TimeDelta::days;
    t.clock.advance(days(-8));
    let server = t.start().await;
    let (_, live) = server.signed_in("ada@example.com").await;
    let sign_in_and_out = async || {
        let tokens = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
        let request = SignOutRequest {
            refresh_token: tokens.refresh_token.clone(),
            all_sessions: false,
        };
        server.auth().sign_out(request).await.unwrap();
        tokens.refresh_token
    };
    let long_over = sign_in_and_out().await;
    t.clock.advance(days(2));
    let over = sign_in_and_out().await;
    t.clock.advance(days(6));

    assert_removed(&t, [0, 1, 0, 0, 0, 1, 0]).await;

    let reason = async |token: &str| server.refresh(token).await.unwrap_err().reason();
    assert_eq!(reason(&long_over).await, "TOKEN_INVALID");
    assert_eq!(reason(&over).await, "SESSION_ENDED");
    server.refresh(&live.refresh_token).await.unwrap();
}

async fn rag_11_attempts_are_kept_as_long_as_configured(t: Test) {
    t.clock.advance(TimeDelta::days(-3));
    let server = t.start().await;
    server.signed_in("ada@example.com").await;
    server.shutdown().await;
    let purge = async |retention| {
        let variables = [("IDENTITY_LOGIN_ATTEMPT_RETENTION", retention)];
        t.run(&variables, &["purge"]).await
    };

    // The failures from all networks, of which there were none, are forgotten after a day.
    assert_eq!(purge("4d").await.1, report([0, 0, 0, 0, 0, 1, 0]));
    assert_eq!(purge("2d").await.1, report([0, 0, 0, 0, 1, 0, 0]));
}

async fn events_are_kept_as_long_as_configured(t: Test) {
    t.clock.advance(TimeDelta::days(-401));
    let server = t.start().await;
    server.create_user("old@example.com").await;
    t.clock.advance(TimeDelta::days(2));
    server.create_user("ada@example.com").await;
    server.shutdown().await;
    let purge = async |variables: &[(&str, &str)]| t.run(variables, &["purge"]).await.1;
    let retention = |days| [("IDENTITY_EVENT_RETENTION", days)];

    // 400 days, unless it is said otherwise.
    assert_eq!(purge(&retention("402d")).await, report([0; 7]));
    assert_eq!(purge(&[]).await, report([0, 0, 0, 0, 0, 0, 1]));
    assert_eq!(purge(&retention("400d")).await, report([0; 7]));
    assert_eq!(count(&t, "user_events").await, 1);
    assert_eq!(purge(&retention("398d")).await, report([0, 0, 0, 0, 0, 0, 1]));
    // The users have nothing to do with it.
    assert_eq!(count(&t, "users").await, 2);
}

async fn the_running_server_removes_old_events_too(t: Test) {
    let setting = [("IDENTITY_EVENT_RETENTION", "30d")];
    t.clock.advance(TimeDelta::days(-31));
    let server = t.start_with(&setting).await;
    server.create_user("old@example.com").await;
    t.clock.advance(TimeDelta::days(31));
    server.create_user("ada@example.com").await;

    let _other = t.start_with(&setting).await;

    eventually("the old one is gone", async || {
        count(&t, "user_events").await == 1
    })
    .await;
}

/// More than one batch, and not a whole number of them.
async fn many_events_are_removed_in_batches(t: Test) {
    const ROWS: usize = 1234;
    let server = t.start().await;
    // The server purges as well, when it starts.
    server.wait_until_settled().await;
    server.create_user("ada@example.com").await;
    let numbers = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})"
    );
    let (id, long_ago) = match t.backend {
        Backend::Sqlite => ("randomblob(16)", "0"),
        Backend::Postgres => ("gen_random_uuid()", "to_timestamp(0)"),
    };
    t.sql(&format!(
        "{numbers} INSERT INTO user_events (id, user_id, type, actor_kind, correlation_id, occurred_at)
         SELECT {id}, {id}, 'user_created', 'system', 'filler', {long_ago} FROM numbers"
    ))
    .await
    .unwrap();

    assert_removed(&t, [0, 0, 0, 0, 0, 0, ROWS]).await;
    assert_eq!(count(&t, "user_events").await, 1);
}

/// Rows of used tokens are not what reuse is recognised by, so that they need not be kept for as long as a
/// session can live.
async fn r03_a_used_token_is_recognised_after_its_row_was_purged(t: Test) {
    let days = TimeDelta::days;
    t.clock.advance(days(-40));
    let server = t.start_with(&[("IDENTITY_SESSION_LIFETIME", "90d")]).await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let mut latest = first.clone();
    for _ in 0..4 {
        t.clock.advance(days(10));
        latest = server.refresh(&latest.refresh_token).await.unwrap();
    }
    assert_eq!(count(&t, "refresh_tokens").await, 5);

    // Issued 40, 30 and 20 days ago, each for 14: the first two have been over for more than a week.
    assert_removed(&t, [0, 0, 2, 0, 0, 1, 0]).await;

    assert_eq!(count(&t, "refresh_tokens").await, 3);
    assert!(server.is_active(&latest.access_token).await);
    let reused = server.refresh(&first.refresh_token).await.unwrap_err();
    assert_eq!(reused.reason(), "TOKEN_REUSED");
    assert!(!server.is_active(&latest.access_token).await);
    let latest_refused = server.refresh(&latest.refresh_token).await.unwrap_err();
    assert_eq!(latest_refused.reason(), "SESSION_ENDED");
    let recorded = "SELECT count(*) AS value FROM login_attempts WHERE failure_reason = 'token_reused'";
    assert_eq!(t.sql_value(recorded).await.as_deref(), Some("1"));
}

async fn without_a_schema_it_fails(t: Test) {
    let (code, stdout, stderr) = t.run(&[], &["purge"]).await;
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
}

async fn count(t: &Test, table: &str) -> usize {
    let query = format!("SELECT count(*) AS value FROM {table}");
    t.sql_value(&query).await.unwrap().parse().unwrap()
}
