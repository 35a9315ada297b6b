//! What the databases do for an exchange of refresh tokens, and for the end of sessions.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::session_service::calls::{revoke, revoke_all, signed_in_again};
use crate::support::{Backend, Behaviour, Test, behaviours, eventually};
use crate::systems::plans::{echoed_statements, explain_on_sqlite, spawn_with_echo};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        an_exchange_finds_every_row_by_its_key,
        the_end_of_a_session_finds_its_token_by_the_generation,
        the_end_of_all_sessions_finds_their_tokens_by_them,
        no_index_holds_what_an_exchange_changes,
        sessions_that_are_over_are_found_by_the_day,
    ]
}

/// Alone, and with others at the same moment.
async fn an_exchange_finds_every_row_by_its_key(t: Test) {
    const SESSIONS: usize = 20;
    let server = spawn_with_echo(&t, &[]).await;
    server.wait_until_settled().await;
    let (_, alone) = server.signed_in("ada@example.com").await;
    let mut tokens = Vec::new();
    for _ in 0..SESSIONS {
        tokens.push(signed_in_again(&server, "ada@example.com").await.refresh_token);
    }
    let before = echoed_statements(&server).len();
    server.refresh(&alone.refresh_token).await.unwrap();
    eventually("exchanges go together", async || {
        let refreshed = join_all(tokens.iter().map(|token| server.refresh(token))).await;
        tokens = refreshed
            .into_iter()
            .map(|next| next.unwrap().refresh_token)
            .collect();
        t.backend == Backend::Sqlite
            || echoed_statements(&server)
                .iter()
                .any(|statement| statement.contains("unnest("))
    })
    .await;
    let statements: BTreeSet<String> =
        echoed_statements(&server).split_off(before).into_iter().collect();
    let mut plans = Vec::new();
    for statement in statements {
        let verb = statement.split(' ').next().unwrap_or_default();
        // The health asks for the time, of no table.
        let is_of_a_table = ["FROM", "UPDATE", "INTO"]
            .iter()
            .any(|word| statement.contains(word));
        if ["SELECT", "WITH", "UPDATE", "INSERT"].contains(&verb) && is_of_a_table {
            plans.push(kept_plan(&t, &statement, &unknown(&statement)).await);
        }
    }
    let (by_key, whole, count) = match t.backend {
        Backend::Postgres => ("Index Cond: (token_hash = ", "Seq Scan", 2),
        Backend::Sqlite => ("INDEX refresh_tokens_token_hash_key (token_hash=?)", "SCAN ", 1),
    };
    let found = plans.iter().filter(|plan| plan.contains(by_key)).count();
    let plans = plans.join("\n");
    assert!(found == count && !plans.contains(whole), "{plans}");
    // The live sessions of everybody.
    assert!(!plans.contains("_live_"), "{plans}");
}

/// A session has a token for each of its exchanges.
async fn the_end_of_a_session_finds_its_token_by_the_generation(t: Test) {
    let server = spawn_with_echo(&t, &[]).await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    revoke(&server, &tokens.session_id).await.unwrap();

    let update = echoed_statements(&server)
        .into_iter()
        .find(|statement| statement.starts_with("UPDATE") && statement.contains("refresh_tokens"))
        .expect("an update of tokens");
    let plan = kept_plan(&t, &update, "now(), '{}', 1").await;

    let by_key = match t.backend {
        Backend::Postgres => "Index Scan using refresh_tokens_generation_key",
        Backend::Sqlite => "INDEX refresh_tokens_generation_key (session_id=? AND generation=?)",
    };
    assert!(plan.contains(by_key), "{plan}");
    assert!(!plan.contains("Filter: (generation"), "{plan}");
}

/// Nothing else leads from a user to tokens.
async fn the_end_of_all_sessions_finds_their_tokens_by_them(t: Test) {
    let server = spawn_with_echo(&t, &[]).await;
    let (ada, _) = server.signed_in("ada@example.com").await;
    revoke_all(&server, &ada.id).await.unwrap();

    let update = echoed_statements(&server)
        .into_iter()
        .find(|statement| statement.starts_with("UPDATE") && statement.contains("refresh_tokens"))
        .expect("an update of tokens");
    let plan = kept_plan(&t, &update, &unknown(&update)).await;

    let (by_key, whole) = match t.backend {
        Backend::Postgres => ("Index Cond: (session_id = ", "Seq Scan"),
        Backend::Sqlite => ("INDEX refresh_tokens_generation_key (session_id=?)", "SCAN "),
    };
    assert!(plan.contains(by_key) && !plan.contains(whole), "{plan}");
}

/// Otherwise PostgreSQL writes an entry into every index of the table for each row that is changed, and SQLite moves one
/// in each that holds it.
async fn no_index_holds_what_an_exchange_changes(t: Test) {
    t.start().await;
    let definitions = match t.backend {
        Backend::Postgres => {
            "SELECT tablename || ': ' || indexdef AS value FROM pg_indexes WHERE schemaname = current_schema()"
        }
        Backend::Sqlite => {
            "SELECT tbl_name || ': ' || sql AS value FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        }
    };
    let definitions = t.sql_values(definitions).await;
    let mut looked_at = 0;
    for definition in definitions.into_iter().flatten() {
        let (table, definition) = definition.split_once(": ").unwrap();
        let changed: &[&str] = match table {
            "sessions" => &["generation", "last_refresh_at", "idle_expires_at"],
            "refresh_tokens" => &["used_at"],
            _ => continue,
        };
        let columns = definition.split_once(" ON ").unwrap().1;
        assert!(
            changed.iter().all(|column| !columns.contains(column)),
            "{definition}"
        );
        looked_at += 1;
    }
    assert!(looked_at >= 8, "{looked_at} indexes");
}

async fn sessions_that_are_over_are_found_by_the_day(t: Test) {
    // It purges when it starts.
    let server = spawn_with_echo(&t, &[]).await;
    server.wait_until_settled().await;
    let question = echoed_statements(&server)
        .into_iter()
        .find(|statement| statement.starts_with("SELECT") && statement.contains("idle_expires_day"))
        .expect("the sessions were looked through");
    let plan = kept_plan(&t, &question, "now(), now(), 500").await;

    let by_day = match t.backend {
        Backend::Postgres => "Index Cond: (idle_expires_day <= $1)",
        Backend::Sqlite => "INDEX sessions_idle_expires_day_idx (idle_expires_day<?)",
    };
    assert!(plan.contains(by_day), "{plan}");
    assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{plan}");
}

/// Returns arguments for a statement that say nothing.
fn unknown(statement: &str) -> String {
    let parameters = (1..).take_while(|number| statement.contains(&format!("${number}")));
    vec!["NULL"; parameters.count()].join(", ")
}

/// Returns the plan of a statement that a connection of the service keeps, made while the tables have hardly any rows.
/// `arguments` are the values of its parameters as SQL, of which PostgreSQL wants the types and SQLite nothing.
async fn kept_plan(t: &Test, statement: &str, arguments: &str) -> String {
    if t.backend == Backend::Sqlite {
        return explain_on_sqlite(t, statement);
    }
    let query = format!(
        "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan;
         PREPARE kept AS {statement}; EXPLAIN EXECUTE kept({arguments})"
    );
    let mut plan = t
        .sql_values(&query)
        .await
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    plan.push(String::new());
    t.sql("DEALLOCATE ALL; RESET ALL").await.unwrap();
    plan.join("\n")
}
