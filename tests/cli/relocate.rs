//! `identity move`.

use std::collections::BTreeSet;

use identity::database::relocation::RELOCATED_COLUMNS;
use identity::proto::identity::v1::{
    CreatePasswordResetRequest, GetUserRequest, LinkOAuthAccountRequest, SignOutRequest, User,
};

use crate::oauth_account_service::calls::{link_request, link_with, list};
use crate::security_service::calls::history_types;
use crate::support::issuer::with_shared_issuer;
use crate::support::{
    AUTH, Backend, Behaviour, Clients, PASSWORD, Test, behaviours, new_user, postgres_only,
};
use crate::user_service::import_users::{import_new, with_email};

pub fn tests() -> Vec<Behaviour> {
    [
        postgres_only![
            everything_moves_and_goes_on_as_before,
            a_target_that_is_not_empty_is_left_alone,
            a_row_that_arrives_different_stops_the_move,
        ],
        behaviours![
            every_table_and_column_is_moved,
            only_sqlite_moves_and_only_to_postgresql,
        ],
    ]
    .concat()
}

/// Of the user with a password that another system has hashed.
const IMPORTED: &str =
    "pbkdf2_sha256$1000$saltsaltsalt1234$wheZis4WMGFy+7bhdev/G/YeD76DK1WUFiU5ngBGWLk=";

fn sqlite_url(t: &Test) -> String {
    format!("sqlite://{}", t.directory().join("embedded.db").display())
}

async fn relocate(t: &Test) -> (i32, String, String) {
    let source = sqlite_url(t);
    let arguments = ["move", "--to", &t.database_url()];
    t.run(&[("DATABASE_URL", &source)], &arguments).await
}

/// The user with an id, as whoever has a token sees it.
async fn get(clients: &Clients, id: &str) -> User {
    let request = GetUserRequest {
        user_id: id.to_owned(),
    };
    let response = clients.users().get_user(request).await.unwrap();
    response.into_inner().user.unwrap()
}

async fn everything_moves_and_goes_on_as_before(t: Test) {
    let source = sqlite_url(&t);
    let settings = [
        [("DATABASE_URL", source.as_str()), AUTH].as_slice(),
        &with_shared_issuer(),
    ]
    .concat();
    let embedded = t.start_with(&settings).await;
    let made = t
        .run(
            &[("DATABASE_URL", &source)],
            &["service-token", "create", "admin", "--scope", "admin"],
        )
        .await;
    assert_eq!((made.0, made.2.as_str()), (0, ""));
    let token = made.1.trim();
    let admin = embedded.with_token(token);
    let ada = new_user()
        .email("ada@example.com")
        .username(r"\salon\ada")
        .full_name("Ada 🦀 Lovelace")
        .birth_date(1815, 12, 10)
        .password(PASSWORD);
    let ada = admin.create(ada).await.unwrap();
    let imported = identity::proto::identity::v1::ImportedUser {
        password_hash: IMPORTED.to_owned(),
        is_blocked: false,
        ..with_email("bob@example.com")
    };
    let bob = import_new(&admin, vec![imported]).await.remove(0);
    let many = (0..1_200).map(|number| with_email(&format!("{number}@example.com")));
    let many: Vec<_> = many.collect();
    import_new(&admin, many[..600].to_vec()).await;
    import_new(&admin, many[600..].to_vec()).await;
    let linked = LinkOAuthAccountRequest {
        request_id: "4f6b1f4e-8c1a-4d4f-9a52-0b8f0c1d2e3f".to_owned(),
        ..link_request(&t, &ada.id, "ada")
    };
    link_with(&admin, linked).await.unwrap();
    let tokens = admin.sign_in("ada@example.com", PASSWORD).await.unwrap();
    let ended = admin.sign_in("ada@example.com", PASSWORD).await.unwrap();
    let sign_out = SignOutRequest {
        refresh_token: ended.refresh_token,
        ..SignOutRequest::default()
    };
    admin.auth().sign_out(sign_out).await.unwrap();
    admin.sign_in("ada@example.com", "wrong").await.unwrap_err();
    let reset = CreatePasswordResetRequest {
        user_id: ada.id.clone(),
    };
    admin.credentials().create_password_reset(reset).await.unwrap();
    let before = (
        get(&admin, &ada.id).await,
        get(&admin, &bob).await,
        history_types(&admin, &ada.id).await,
        list(&admin, &ada.id).await.unwrap(),
    );
    embedded.shutdown().await;

    let (code, stdout, stderr) = relocate(&t).await;

    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let rows: Vec<(&str, &str)> = stdout
        .lines()
        .take(11)
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!((words[2], words[3].len()), ("rows", 64), "{line}");
            (words[0], words[1])
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("users", "1202"),
            ("oauth_accounts", "1"),
            ("sessions", "2"),
            ("refresh_tokens", "2"),
            ("login_attempts", "3"),
            ("lockouts", "2"),
            ("one_time_tokens", "1"),
            ("signing_keys", "1"),
            ("service_tokens", "2"),
            ("request_ids", "1"),
            ("user_events", "1204"),
        ]
    );
    assert!(stdout.contains("IDENTITY_MASTER_KEY_FILE"), "{stdout}");
    let server = t
        .start_with(&[[AUTH].as_slice(), &with_shared_issuer()].concat())
        .await;
    let moved = server.with_token(token);
    let after = (
        get(&moved, &ada.id).await,
        get(&moved, &bob).await,
        history_types(&moved, &ada.id).await,
        list(&moved, &ada.id).await.unwrap(),
    );
    assert_eq!(after, before);
    assert!(moved.is_active(&tokens.access_token).await);
    moved.refresh(&tokens.refresh_token).await.unwrap();
    moved
        .sign_in("bob@example.com", "correct horse battery")
        .await
        .unwrap();
    moved.create_user("new@example.com").await;
}

/// Whatever a migration has added is moved too, but for what each database makes by itself.
async fn every_table_and_column_is_moved(t: Test) {
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    let columns = match t.backend {
        Backend::Sqlite => {
            "SELECT tables.name || '.' || columns.name AS value
             FROM sqlite_schema AS tables JOIN pragma_table_xinfo(tables.name) AS columns
             WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        }
        Backend::Postgres => {
            "SELECT table_name || '.' || column_name AS value
             FROM information_schema.columns WHERE table_schema = current_schema()"
        }
    };
    let there: BTreeSet<String> = t.sql_values(columns).await.into_iter().flatten().collect();
    let is_made_there = |column: &&String| {
        ["__diesel_schema_migrations.", "migration_checksums."]
            .iter()
            .any(|table| column.starts_with(table))
            || [
                "sessions.idle_expires_day",
                "user_events.sequence",
                "user_events.transaction_id",
            ]
            .contains(&column.as_str())
    };

    let moved: BTreeSet<String> = RELOCATED_COLUMNS
        .iter()
        .flat_map(|(table, names)| names.iter().map(move |name| format!("{table}.{name}")))
        .collect();

    let left_behind: Vec<_> = there
        .difference(&moved)
        .filter(|column| !is_made_there(column))
        .collect();
    assert_eq!(left_behind, Vec::<&String>::new(), "are left behind");
    let unknown: Vec<_> = moved.difference(&there).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "are not in the database");
}

async fn a_target_that_is_not_empty_is_left_alone(t: Test) {
    let embedded = t.start_with(&[("DATABASE_URL", &sqlite_url(&t))]).await;
    embedded.create_user("ada@example.com").await;
    embedded.shutdown().await;
    let server = t.start().await;
    let grace = server.create_user("grace@example.com").await;

    let (code, _, stderr) = relocate(&t).await;

    assert_eq!(code, 1);
    assert!(
        stderr.contains("the table users of the target is not empty; nothing was moved"),
        "{stderr}"
    );
    assert_eq!(server.get(&grace.id).await.unwrap(), grace);
    let count = "SELECT CAST(count(*) AS TEXT) AS value FROM users";
    assert_eq!(t.sql_value(count).await.unwrap(), "1");
}

async fn a_row_that_arrives_different_stops_the_move(t: Test) {
    let embedded = t.start_with(&[("DATABASE_URL", &sqlite_url(&t))]).await;
    embedded.create_user("ada@example.com").await;
    embedded.create_user("bob@example.com").await;
    embedded.shutdown().await;
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    t.sql(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.version := NEW.version + 1; RETURN NEW; END $$;
         CREATE TRIGGER meddle BEFORE INSERT ON users FOR EACH ROW
         WHEN (NEW.email = 'bob@example.com') EXECUTE FUNCTION meddle();",
    )
    .await
    .unwrap();

    let (code, _, stderr) = relocate(&t).await;

    assert_eq!(code, 1);
    assert!(
        stderr.contains("does not hold the rows of the source"),
        "{stderr}"
    );
    let count = "SELECT CAST(count(*) AS TEXT) AS value FROM users";
    assert_eq!(t.sql_value(count).await.unwrap(), "0");
}

async fn only_sqlite_moves_and_only_to_postgresql(t: Test) {
    let server = t.start().await;
    server.shutdown().await;
    let file = t.directory().join("other.db");
    let to_sqlite = format!("sqlite://{}", file.display());
    let (code, _, stderr) = t.run(&[], &["move", "--to", &to_sqlite]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("only an SQLite file can be moved"), "{stderr}");

    let wrong = t.run(&[], &["move", "--to", "mysql://secret@host/db"]).await;
    assert_eq!(wrong.0, 1);
    assert!(
        wrong.2.contains("--to") && !wrong.2.contains("secret"),
        "{wrong:?}"
    );
}
