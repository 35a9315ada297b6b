//! `identity import` and `identity export`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use identity::proto::identity::v1::DeleteUserRequest;
use serde_json::Value;

use crate::support::{Backend, Behaviour, PASSWORD, Test, behaviours, new_user};
use crate::user_service::calls::lookup_email;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        import_creates_users_who_can_sign_in,
        import_says_which_lines_are_refused_and_why,
        import_passes_by_lines_that_are_too_long,
        import_takes_times_as_exact_as_they_are_kept,
        import_that_fails_says_what_was_refused_so_far,
        import_again_leaves_alone_what_is_there,
        import_of_many_users_goes_on_where_it_stopped,
        what_was_exported_can_be_imported,
        export_has_no_hashes_unless_they_are_asked_for,
        files_that_cannot_be_used_are_named,
    ]
}

fn file(t: &Test, name: &str, text: &str) -> PathBuf {
    let path = t.directory().join(name);
    fs::write(&path, text).unwrap();
    path
}

async fn run(t: &Test, arguments: &[&str]) -> (i32, String, String) {
    t.run(&[], arguments).await
}

async fn import(t: &Test, path: &Path) -> (i32, String, String) {
    run(t, &["import", path.to_str().unwrap()]).await
}

/// The hash of `correct horse battery`, as Django writes it.
const HASH: &str = "pbkdf2_sha256$1000$saltsaltsalt1234$wheZis4WMGFy+7bhdev/G/YeD76DK1WUFiU5ngBGWLk=";

async fn import_creates_users_who_can_sign_in(t: Test) {
    let server = t.start().await;
    let path = file(
        &t,
        "users.jsonl",
        &format!(
            "{{\"email\":\"ada@example.com\",\"email_verified\":true,\"full_name\":\"Ada Lovelace\",\
             \"birth_date\":\"1815-12-10\",\"create_time\":\"2001-02-03T04:05:06Z\",\"password_hash\":\"{HASH}\"}}\n\
             \n\
             {{\"username\":\"\\\\d\\\\bob\",\"is_active\":false}}"
        ),
    );

    let (code, stdout, stderr) = import(&t, &path).await;

    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (0, "2 users created, 0 were there already, 0 lines refused\n", "")
    );
    let ada = lookup_email(&server, "ada@example.com").await.unwrap();
    assert!(ada.email_verified && ada.password_set);
    assert_eq!(ada.birth_date.unwrap().year, 1815);
    assert_eq!(ada.create_time.unwrap().seconds, 981_173_106);
    server
        .sign_in("ada@example.com", "correct horse battery")
        .await
        .unwrap();
    assert!(!t.directory().join("users.jsonl.errors.jsonl").exists());
    let actors = t
        .sql_values("SELECT DISTINCT actor_kind AS value FROM user_events")
        .await;
    assert_eq!(actors, [Some("operator".to_owned())]);
}

async fn import_says_which_lines_are_refused_and_why(t: Test) {
    let server = t.start().await;
    server.create_user("taken@example.com").await;
    let path = file(
        &t,
        "users.jsonl",
        "{\"email\":\"ada@example.com\"}\n\
         {\"email\":\"no email\",\"birth_date\":\"2023-02-29\",\"create_time\":\"soon\"}\n\
         {\"email\":\"bob@example.com\",\"emial\":\"x\"}\n\
         secret: not JSON\n\
         {\"email\":\"Taken@example.com\"}\n\
         [1]\n",
    );

    let (code, stdout, stderr) = import(&t, &path).await;

    assert_eq!(code, 1);
    assert_eq!(stdout, "1 users created, 0 were there already, 5 lines refused\n");
    assert!(stderr.contains("users.jsonl.errors.jsonl"), "{stderr}");
    let errors = fs::read_to_string(t.directory().join("users.jsonl.errors.jsonl")).unwrap();
    assert!(
        !errors.contains("secret") && !errors.contains("emial"),
        "{errors}"
    );
    assert_eq!(
        refused(&errors),
        [
            "2: email birth_date create_time",
            "3: line",
            "4: line",
            "5: email",
            "6: line"
        ]
    );
}

/// The lines that a file of errors names, in their order, each with the fields that are wrong.
fn refused(errors: &str) -> Vec<String> {
    let mut refused: Vec<String> = errors
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let violations = entry["violations"].as_array().unwrap().iter();
            let fields: Vec<_> = violations
                .map(|violation| violation["field"].as_str().unwrap())
                .collect();
            format!("{}: {}", entry["line"], fields.join(" "))
        })
        .collect();
    refused.sort();
    refused
}

async fn import_passes_by_lines_that_are_too_long(t: Test) {
    /// The most bytes of a line.
    const MOST: usize = 64 * 1024;
    let server = t.start().await;
    let padded = |email: &str, length: usize| {
        let user = format!("{{\"email\":\"{email}\"}}");
        let spaces = " ".repeat(length.saturating_sub(user.len()));
        user + &spaces
    };
    let lines = [
        padded("fits@example.com", MOST),
        padded("long@example.com", MOST + 1),
        padded("longer@example.com", 10 * MOST),
        padded("after@example.com", 0),
    ];
    let path = file(&t, "users.jsonl", &lines.join("\n"));

    let (code, stdout, _) = import(&t, &path).await;

    assert_eq!(
        (code, stdout.as_str()),
        (1, "2 users created, 0 were there already, 2 lines refused\n")
    );
    let errors = fs::read_to_string(t.directory().join("users.jsonl.errors.jsonl")).unwrap();
    assert_eq!(refused(&errors), ["2: line", "3: line"]);
    assert!(errors.contains("at most 65536 bytes"), "{errors}");
    for email in ["fits@example.com", "after@example.com"] {
        lookup_email(&server, email).await.unwrap();
    }
}

async fn import_takes_times_as_exact_as_they_are_kept(t: Test) {
    let server = t.start().await;
    let times = [
        // Before the epoch of PostgreSQL, from where it counts backwards.
        "1999-02-03T04:05:06.123456999Z",
        "0001-01-01T00:00:00Z",
        // The year before the first one, here and in Greenwich.
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01",
    ];
    let lines = times.iter().enumerate().map(|(number, time)| {
        format!("{{\"email\":\"{number}@example.com\",\"create_time\":\"{time}\"}}")
    });
    let path = file(&t, "users.jsonl", &lines.collect::<Vec<_>>().join("\n"));

    let (code, stdout, _) = import(&t, &path).await;

    assert_eq!(
        (code, stdout.as_str()),
        (1, "2 users created, 0 were there already, 2 lines refused\n")
    );
    let errors = fs::read_to_string(t.directory().join("users.jsonl.errors.jsonl")).unwrap();
    assert_eq!(refused(&errors), ["3: create_time", "4: create_time"]);
    let exact = lookup_email(&server, "0@example.com").await.unwrap();
    assert_eq!(exact.create_time.unwrap().nanos, 123_456_000);
    let first = lookup_email(&server, "1@example.com").await.unwrap();
    assert_eq!(first.create_time.unwrap().seconds, -62_135_596_800);
}

async fn import_that_fails_says_what_was_refused_so_far(t: Test) {
    let _server = t.start().await;
    let trigger = match t.backend {
        Backend::Sqlite => {
            "CREATE TRIGGER obstruct BEFORE INSERT ON users
             BEGIN SELECT RAISE(ABORT, 'obstructed'); END"
        }
        Backend::Postgres => {
            "CREATE FUNCTION obstruct() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'obstructed'; END $$;
             CREATE TRIGGER obstruct BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION obstruct()"
        }
    };
    t.sql(trigger).await.unwrap();
    let path = file(&t, "users.jsonl", "no user\n{\"email\":\"ada@example.com\"}\n");

    let (code, stdout, stderr) = import(&t, &path).await;

    assert_eq!(
        (code, stdout.as_str()),
        (1, "0 users created, 0 were there already, 1 lines refused\n")
    );
    assert!(
        stderr.contains("users.jsonl.errors.jsonl") && stderr.contains("run the command again"),
        "{stderr}"
    );
    let errors = fs::read_to_string(t.directory().join("users.jsonl.errors.jsonl")).unwrap();
    assert_eq!(refused(&errors), ["1: line"]);
}

async fn import_again_leaves_alone_what_is_there(t: Test) {
    let server = t.start().await;
    let path = file(
        &t,
        "users.jsonl",
        "{\"email\":\"ada@example.com\"}\n{\"email\":\"bob@example\"}\n",
    );
    assert_eq!(import(&t, &path).await.0, 1);
    let ada = lookup_email(&server, "ada@example.com").await.unwrap();
    let corrected = file(
        &t,
        "users.jsonl",
        "{\"email\":\"ada@example.com\"}\n{\"email\":\"bob@example.com\"}\n",
    );

    let (code, stdout, _) = import(&t, &corrected).await;

    assert_eq!(
        (code, stdout.as_str()),
        (0, "1 users created, 1 were there already, 0 lines refused\n")
    );
    assert_eq!(lookup_email(&server, "ada@example.com").await.unwrap(), ada);
}

async fn import_of_many_users_goes_on_where_it_stopped(t: Test) {
    const USERS: usize = 2_500;
    let _server = t.start().await;
    let lines: Vec<String> = (0..USERS)
        .map(|number| format!("{{\"email\":\"user{number}@example.com\"}}"))
        .collect();
    // What an import that was killed has left: whole batches.
    let part = file(&t, "part.jsonl", &lines[..1_000].join("\n"));
    assert_eq!(import(&t, &part).await.0, 0);
    let path = file(&t, "users.jsonl", &lines.join("\n"));

    let (code, stdout, stderr) = import(&t, &path).await;

    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (
            0,
            "1500 users created, 1000 were there already, 0 lines refused\n",
            ""
        )
    );
    let count = t
        .sql_value("SELECT CAST(count(*) AS TEXT) AS value FROM users")
        .await
        .unwrap();
    assert_eq!(count, USERS.to_string());
}

async fn what_was_exported_can_be_imported(t: Test) {
    let server = t.start().await;
    let ada = new_user()
        .email("Ada@example.com")
        .username(r"\d\ada")
        .full_name("Ada \"Countess\" Lovelace")
        .birth_date(1815, 12, 10)
        .password(PASSWORD);
    let ada = server.create(ada).await.unwrap();
    let mut ids = vec![ada.id.clone()];
    for number in 0..3 {
        ids.push(server.create_user(&format!("{number}@example.com")).await.id);
    }
    let path = t.directory().join("export.jsonl");
    let name = path.to_str().unwrap();

    let (code, stdout, stderr) = run(&t, &["export", name, "--with-password-hashes"]).await;

    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (0, "4 users written\n", "")
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for id in ids {
        let request = DeleteUserRequest {
            user_id: id,
            ..DeleteUserRequest::default()
        };
        server.users().delete_user(request).await.unwrap();
    }
    let (back_code, imported, _) = import(&t, &path).await;
    assert_eq!(
        (back_code, imported.as_str()),
        (0, "4 users created, 0 were there already, 0 lines refused\n")
    );
    let back = server.get(&ada.id).await.unwrap();
    assert_eq!(
        (&back.email, &back.username, &back.full_name, &back.birth_date),
        (&ada.email, &ada.username, &ada.full_name, &ada.birth_date)
    );
    assert_eq!(back.create_time, ada.create_time);
    server.sign_in("ada@example.com", PASSWORD).await.unwrap();
}

async fn export_has_no_hashes_unless_they_are_asked_for(t: Test) {
    let server = t.start().await;
    server.create_with_password("ada@example.com").await;
    let path = t.directory().join("export.jsonl");

    assert_eq!(run(&t, &["export", path.to_str().unwrap()]).await.0, 0);

    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("ada@example.com") && !text.contains("$2"), "{text}");
}

async fn files_that_cannot_be_used_are_named(t: Test) {
    let _server = t.start().await;
    let missing = t.directory().join("missing.jsonl");
    let (code, _, stderr) = import(&t, &missing).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("missing.jsonl"), "{stderr}");

    let there = file(&t, "there.jsonl", "mine");
    let outcome = run(&t, &["export", there.to_str().unwrap()]).await;
    assert_eq!(outcome.0, 1);
    assert!(outcome.2.contains("there.jsonl"), "{outcome:?}");
    assert_eq!(fs::read_to_string(there).unwrap(), "mine");
}
