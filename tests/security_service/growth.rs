//! Tables that grow without end: no statement reads one of them as a whole.

use std::collections::BTreeSet;

use identity::proto::identity::v1::{ListLoginAttemptsRequest, ListSessionsRequest, SignOutRequest};

use crate::support::{Backend, Behaviour, PASSWORD, Test, behaviours};
use crate::systems::plans::{echoed_statements, explain_on_sqlite, spawn_with_echo};

pub fn tests() -> Vec<Behaviour> {
    behaviours![x19_no_statement_reads_a_whole_table]
}

/// The tables that have a row for everything that happens.
const GROWING: [&str; 7] = [
    "users",
    "sessions",
    "refresh_tokens",
    "login_attempts",
    "lockouts",
    "one_time_tokens",
    "user_events",
];

/// Returns how PostgreSQL carries out a statement, whatever its parameters, if it can help reading a whole table.
async fn plan_on_postgres(t: &Test, statement: &str) -> String {
    let count = (1..100)
        .rev()
        .find(|number| statement.contains(&format!("${number}")))
        .unwrap_or(0);
    let execute = match count {
        0 => "EXECUTE statement".to_owned(),
        _ => format!("EXECUTE statement({})", vec!["NULL"; count].join(", ")),
    };
    let query = format!(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         PREPARE statement AS {statement}; EXPLAIN {execute}"
    );
    let lines = t.sql_values(&query).await;
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Tells whether a plan reads a whole table that grows.
fn reads_everything(plan: &str) -> bool {
    plan.lines().any(|line| {
        GROWING.iter().any(|table| {
            line.contains(&format!("Seq Scan on {table}"))
                || (line.contains(&format!("SCAN {table}")) && !line.contains("INDEX"))
        })
    })
}

async fn x19_no_statement_reads_a_whole_table(t: Test) {
    let process = spawn_with_echo(&t, &[]).await;
    // The server purges what has expired when it starts.
    process.wait_until_settled().await;
    let (user, tokens) = process.signed_in("ada@example.com").await;
    process
        .sign_in("ada@example.com", "a wrong password")
        .await
        .unwrap_err();
    process.sign_in("nobody@example.com", PASSWORD).await.unwrap_err();
    let next = process.refresh(&tokens.refresh_token).await.unwrap();
    process.get_me(&next.access_token).await.unwrap();
    let sessions = ListSessionsRequest {
        user_id: user.id.clone(),
        ..ListSessionsRequest::default()
    };
    process.sessions().list_sessions(sessions).await.unwrap();
    let attempts = ListLoginAttemptsRequest::default();
    process.security().list_login_attempts(attempts).await.unwrap();
    let sign_out = SignOutRequest {
        refresh_token: next.refresh_token,
        all_sessions: true,
    };
    process.auth().sign_out(sign_out).await.unwrap();

    // What is inserted is found by its key. Where there is nothing to name, Diesel names nothing.
    let reads = |statement: &str| {
        let begin = statement.trim_start().to_uppercase();
        ["SELECT", "UPDATE", "DELETE", "WITH"]
            .iter()
            .any(|verb| begin.starts_with(verb))
            && !begin.contains("(1=0)")
    };
    let statements: BTreeSet<String> = echoed_statements(&process)
        .into_iter()
        .filter(|statement| reads(statement))
        .filter(|statement| GROWING.iter().any(|table| statement.contains(table)))
        .collect();
    assert!(statements.len() >= 20, "{statements:#?}");
    let mut careless = Vec::new();
    for statement in statements {
        let plan = match t.backend {
            Backend::Postgres => plan_on_postgres(&t, &statement).await,
            Backend::Sqlite => explain_on_sqlite(&t, &statement),
        };
        if reads_everything(&plan) {
            careless.push(format!("{statement}\n{plan}"));
        }
    }
    assert!(careless.is_empty(), "{}", careless.join("\n\n"));
}
