//! A change and its event are true together or not at all.

use tonic::Code;

use super::calls::history;
use super::changing_calls::{ReadyCall, changing_methods, configuration, prepare};
use crate::session_service::calls::count;
use crate::support::{Backend, Behaviour, Clients, Failure, Test, behaviours, postgres_only};
use crate::user_service::calls::lookup_email;

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            nothing_changes_whose_event_cannot_be_written,
            nothing_is_on_record_whose_change_does_not_commit,
            numbers_of_events_are_not_given_twice,
        ],
        postgres_only![an_event_is_of_the_transaction_of_its_change],
    ]
    .concat()
}

/// Makes every event fail when it is written.
async fn refuse_events(t: &Test) {
    let statements = match t.backend {
        Backend::Sqlite => {
            "CREATE TRIGGER refusal BEFORE INSERT ON user_events BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        Backend::Postgres => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
             CREATE TRIGGER refusal BEFORE INSERT ON user_events FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
    };
    t.sql(statements).await.unwrap();
}

/// Makes every transaction that writes an event fail when it commits.
async fn refuse_commits(t: &Test) {
    t.sql(
        "CREATE TABLE present (id integer PRIMARY KEY);
         CREATE TABLE doomed (id integer REFERENCES present (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    .await
    .unwrap();
    let statements = match t.backend {
        Backend::Sqlite => {
            "CREATE TRIGGER refusal AFTER INSERT ON user_events BEGIN INSERT INTO doomed VALUES (1); END"
        }
        Backend::Postgres => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO doomed VALUES (1); RETURN NULL; END $$;
             CREATE TRIGGER refusal AFTER INSERT ON user_events FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
    };
    t.sql(statements).await.unwrap();
}

async fn lift(t: &Test) {
    let on = match t.backend {
        Backend::Sqlite => "",
        Backend::Postgres => " ON user_events",
    };
    t.sql(&format!("DROP TRIGGER refusal{on}")).await.unwrap();
}

/// The tables that change with users. Attempts to sign in are counted and listed whatever becomes of them.
const TABLES: [&str; 6] = [
    "users",
    "sessions",
    "refresh_tokens",
    "one_time_tokens",
    "request_ids",
    "user_events",
];

/// Returns every value of every row of a table.
async fn rows(t: &Test, table: &str) -> Vec<Option<String>> {
    let columns = match t.backend {
        Backend::Postgres => "dumped::text".to_owned(),
        Backend::Sqlite => {
            let quoted = "SELECT group_concat(format('quote(%s)', name), ' || '','' || ') AS value";
            t.sql_value(&format!("{quoted} FROM pragma_table_info('{table}')"))
                .await
                .expect("columns")
        }
    };
    t.sql_values(&format!(
        "SELECT {columns} AS value FROM {table} AS dumped ORDER BY 1"
    ))
    .await
}

async fn everything(t: &Test, method: &str) -> Vec<(&'static str, Vec<Option<String>>)> {
    let mut found = Vec::new();
    for table in TABLES {
        found.push((table, rows(t, table).await));
    }
    if method == "ClearLockout" {
        found.push(("lockouts", rows(t, "lockouts").await));
    }
    found
}

/// Users call for themselves what services cannot call for them.
fn token_of(call: &ReadyCall) -> &str {
    if call.method.is_for_services {
        ""
    } else {
        &call.own_token
    }
}

async fn prepare_all(t: &Test, clients: &Clients) -> Vec<ReadyCall> {
    let mut calls = Vec::new();
    for method in changing_methods() {
        let call = prepare(t, clients, method).await;
        if call.expected.is_some() {
            calls.push(call);
        }
    }
    assert!(calls.len() >= 18);
    calls
}

/// Makes all calls, each of which fails and leaves everything as it was.
async fn make_in_vain(t: &Test, clients: &Clients, calls: &[ReadyCall]) {
    for call in calls {
        let name = &call.method.name;
        let before = everything(t, name).await;

        let answer = call.make(clients, token_of(call), "in-vain").await;

        let code = answer.as_ref().map_err(Failure::code);
        assert_eq!(code.err(), Some(Code::Internal), "{name}: {answer:?}");
        assert_eq!(everything(t, name).await, before, "{name}");
    }
}

/// Makes all calls, each of which does what it should and is on record.
async fn make_well(clients: &Clients, calls: &[ReadyCall]) {
    for call in calls {
        call.make_well(clients, token_of(call), "well").await;
        let user_id = if call.user_id.is_empty() {
            lookup_email(clients, &call.email).await.unwrap().id
        } else {
            call.user_id.clone()
        };
        let last = history(clients, &user_id).await.pop().expect("an event");
        let expected = call.expected.as_ref().unwrap();
        assert_eq!(last.correlation_id, "well");
        assert_eq!(last.r#type(), expected.event_type);
    }
}

async fn nothing_changes_whose_event_cannot_be_written(t: Test) {
    let server = t.start_with(&configuration()).await;
    let calls = prepare_all(&t, &server).await;

    refuse_events(&t).await;
    make_in_vain(&t, &server, &calls).await;
    lift(&t).await;

    make_well(&server, &calls).await;
}

async fn nothing_is_on_record_whose_change_does_not_commit(t: Test) {
    let server = t.start_with(&configuration()).await;
    let calls = prepare_all(&t, &server).await;

    refuse_commits(&t).await;
    make_in_vain(&t, &server, &calls).await;
    lift(&t).await;

    make_well(&server, &calls).await;
}

/// Also if the newest of them is gone.
async fn numbers_of_events_are_not_given_twice(t: Test) {
    let server = t.start().await;
    let newest = async || {
        let number = t
            .sql_value("SELECT max(sequence) AS value FROM user_events")
            .await;
        number.map(|text| text.parse::<i64>().unwrap())
    };
    let mut numbers = Vec::new();
    for number in 0..3 {
        server.create_user(&format!("{number}@example.com")).await;
        numbers.push(newest().await.unwrap());
        t.sql("DELETE FROM user_events").await.unwrap();
        assert_eq!(newest().await, None);
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}

async fn an_event_is_of_the_transaction_of_its_change(t: Test) {
    let server = t.start().await;
    for number in 0..3 {
        server.create_user(&format!("{number}@example.com")).await;
    }

    // The low half of the id of the transaction is that of the row.
    let same = "users JOIN user_events ON user_id = users.id
                WHERE users.xmin::text::bigint = transaction_id::text::bigint % 4294967296";
    assert_eq!(count(&t, same).await, 3);
}
