//! Signing in with a password that another system has hashed. Every hash here was computed by that system, or by the
//! library that it uses.

use identity::proto::identity::v1::{
    AuthProvider, ChangePasswordRequest, FirebasePassword, ImportedUser, KeycloakPassword,
    RemovePasswordRequest, SetPasswordRequest,
};
use tonic::Code;

use super::calls::assert_failed;
use super::import_users::{import, import_new, with_email};
use crate::support::{Behaviour, Failure, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        each_hash_lets_its_user_in_and_is_replaced,
        e02_an_imported_password_costs_one_hash_of_bcrypt_like_every_other,
        an_imported_password_can_be_changed_and_replaced,
        p02_what_would_cost_too_much_is_refused,
        what_nothing_can_compute_is_refused,
        what_is_no_hash_is_refused,
    ]
}

/// What was hashed.
const OLD: &str = "correct horse battery";

/// Another password.
const NEW: &str = "a stapled battery of horses";

/// Hashes of [`OLD`].
const HASHES: [&str; 12] = [
    // bcrypt
    "$2a$04$r/TFMknmexN9X0DdqurMX.Jq5IQBVGbsrqkmE.vZQv4z2U1jlulVm",
    "$2b$04$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96US",
    "$2y$04$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96US",
    // argon2-cffi
    "$argon2i$v=19$m=1024,t=1,p=1$0H5dJPEEm/6PJAwzRaM5nw$PkN3P5uv/x36DcGsOcNr/MQXjMSeoRYYMbI2Mj7HUaM",
    "$argon2id$v=19$m=1024,t=2,p=2$1q0VKmv+1TkOTLQbE02kbA$A8hxptQ6Vorxt+h9etvQ3vyLkiAmdfIlsbPinSCcLlU",
    // passlib
    "$scrypt$ln=10,r=8,p=1$FULImdP63xsj5FxL6d3bGw$6S0NkxB+lykcomj80D9pbkZH+RiByQmWwCaSYmQooTA",
    "$pbkdf2-sha512$1000$eY9RqhXi/L9XqnVujTGmtA$BtXN5r6wY.fmNaaklx5QcFivxnCmUdatWRsTeG3rYMC85wYGSzxEhePa7LCwPbxDHaMbjKiz3nz.YOlLYXZiOA",
    "$pbkdf2$1000$ypkzJiSk9F6rdc55r3WulQ$BZFB0Mixuhm/1IMOk1HisIGlWTI",
    // Django
    "pbkdf2_sha256$1000$saltsaltsalt1234$wheZis4WMGFy+7bhdev/G/YeD76DK1WUFiU5ngBGWLk=",
    "argon2$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHRzYWx0MTIzNA$WpcgDLB6Hn2elw2bVmMLz+xdC7aJfKUye2uRrftuiPQ",
    "scrypt$1024$saltsaltsalt1234$8$5$UnZX6Byf9SwgXXllJrmrUW7lQY9k7U2pPvNwhUIuwvM2Gcvms9pSu2nFK3bTGdXKfh+/IXE2nSmaBuuDitQwbg==",
    "bcrypt$$2b$04$1F/TDMCP0.8mSyaS/t1LluU7djrcKgRX3CX5qPOzHPUt0/o3beLeu",
];

/// An Argon2id hash of [`OLD`].
const ARGON2: &str = HASHES[4];

/// Secrets and credentials of [`OLD`] as Keycloak exports them.
const KEYCLOAK: [(&str, &str); 3] = [
    (
        r#"{"value":"BVALGMmC/K/8ELErc5VgJxyPFApArIZRCQsqjEgZWJ6MwvrqvCpwLuP/5ugtnLwaptyhKgF8nj7WtD3ieyZB6Q==","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","additionalParameters":{}}"#,
        r#"{"hashIterations":1000,"algorithm":"pbkdf2-sha256","additionalParameters":{}}"#,
    ),
    (
        r#"{"value":"7F/Y1rnWXXurLCfFvAmyjyXtbABhgzBTBNcm//wlnvGBOz7OExlgRFs5qwaY5PzB3/WjR7P4yv/ACDQZpDXIfQ==","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","additionalParameters":{}}"#,
        r#"{"hashIterations":1000,"algorithm":"pbkdf2-sha512","additionalParameters":{}}"#,
    ),
    (
        r#"{"value":"9osgF9Vj/OWKKHDH0I89IVwT2taN4B89WCPCiZ5aS1Q=","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","additionalParameters":{}}"#,
        r#"{"hashIterations":2,"algorithm":"argon2","additionalParameters":{"hashLength":["32"],"memory":["1024"],"type":["id"],"version":["1.3"],"parallelism":["1"]}}"#,
    ),
];

/// The example of Firebase's own implementation: the password `user1password`.
fn firebase() -> FirebasePassword {
    FirebasePassword {
        password_hash:
            "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
                .to_owned(),
        salt: "42xEC+ixf3L2lw==".to_owned(),
        signer_key:
            "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
                .to_owned(),
        salt_separator: "Bw==".to_owned(),
        rounds: 8,
        memory_cost: 14,
    }
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

fn with_hash(number: usize, hash: &str) -> ImportedUser {
    ImportedUser {
        password_hash: hash.to_owned(),
        ..with_email(&email(number))
    }
}

/// Every spelling, with the password.
fn every_spelling() -> Vec<(ImportedUser, &'static str)> {
    let texts = HASHES.iter().enumerate();
    let mut users: Vec<_> = texts
        .map(|(number, hash)| (with_hash(number, hash), OLD))
        .collect();
    for (secret_data, credential_data) in KEYCLOAK {
        let password = KeycloakPassword {
            secret_data: secret_data.to_owned(),
            credential_data: credential_data.to_owned(),
        };
        let user = ImportedUser {
            keycloak_password: Some(password),
            ..with_email(&email(users.len()))
        };
        users.push((user, OLD));
    }
    let user = ImportedUser {
        firebase_password: Some(firebase()),
        ..with_email(&email(users.len()))
    };
    users.push((user, "user1password"));
    users
}

async fn each_hash_lets_its_user_in_and_is_replaced(t: Test) {
    let server = t.start().await;
    let users = every_spelling();
    let ids = import_new(&server, users.iter().map(|(user, _)| user.clone()).collect()).await;

    for ((user, password), id) in users.iter().zip(&ids) {
        let before = server.get(id).await.unwrap();
        assert!(before.password_set, "{}", user.password_hash);
        assert_eq!(before.auth_provider(), AuthProvider::Password);
        let wrong = server.sign_in(&user.email, "correct horse batterz").await;
        assert_failed(wrong, Code::Unauthenticated, "INVALID_CREDENTIALS");
        server.sign_in(&user.email, password).await.unwrap();
        server.sign_in(&user.email, password).await.unwrap();
    }

    let hashes = t
        .sql_values("SELECT password_hash AS value FROM users WHERE imported_password_hash IS NULL")
        .await;
    assert_eq!(hashes.len(), users.len());
    for hash in hashes {
        assert!(hash.as_ref().unwrap().starts_with("$2"), "{hash:?}");
    }
    for id in ids {
        assert_eq!(
            server.get(&id).await.unwrap().auth_provider(),
            AuthProvider::Password
        );
    }
}

async fn e02_an_imported_password_costs_one_hash_of_bcrypt_like_every_other(t: Test) {
    let server = t.start().await;
    import_new(&server, vec![with_hash(0, ARGON2)]).await;
    for password in ["correct horse batterz", &"x".repeat(100), OLD, OLD] {
        let before = server.computed_hashes().await;
        let _ = server.sign_in(&email(0), password).await;
        assert_eq!(server.computed_hashes().await, before + 1, "{password}");
    }
}

async fn an_imported_password_can_be_changed_and_replaced(t: Test) {
    let server = t.start().await;
    let ids = import_new(&server, vec![with_hash(0, ARGON2), with_hash(1, ARGON2)]).await;

    let remove = RemovePasswordRequest {
        user_id: ids[0].clone(),
        ..RemovePasswordRequest::default()
    };
    let removed = server.credentials().remove_password(remove).await;
    let removed = removed.map_err(Failure::from);
    assert_failed(removed, Code::FailedPrecondition, "LAST_CREDENTIAL");
    let set = SetPasswordRequest {
        user_id: ids[0].clone(),
        password: NEW.to_owned(),
        ..SetPasswordRequest::default()
    };
    server.credentials().set_password(set).await.unwrap();
    let tokens = server.sign_in(&email(1), OLD).await.unwrap();
    let change = ChangePasswordRequest {
        current_password: OLD.to_owned(),
        new_password: NEW.to_owned(),
        ..ChangePasswordRequest::default()
    };
    let change = crate::support::bearing(&tokens.access_token, change);
    server.credentials().change_password(change).await.unwrap();

    for number in 0..2 {
        server.sign_in(&email(number), NEW).await.unwrap();
        let old = server.sign_in(&email(number), OLD).await;
        assert_failed(old, Code::Unauthenticated, "INVALID_CREDENTIALS");
    }
}

async fn p02_what_would_cost_too_much_is_refused(t: Test) {
    let server = t.start().await;
    let salt_and_hash = "c2FsdHNhbHRzYWx0MTIzNA$WpcgDLB6Hn2elw2bVmMLz+xdC7aJfKUye2uRrftuiPQ";
    let hashes = [
        "$2b$16$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96US".to_owned(),
        format!("$argon2id$v=19$m=131073,t=1,p=1${salt_and_hash}"),
        format!("$argon2id$v=19$m=65536,t=17,p=1${salt_and_hash}"),
        format!("$argon2id$v=19$m=1024,t=1,p=17${salt_and_hash}"),
        format!("$scrypt$ln=18,r=8,p=1${salt_and_hash}"),
        format!("$scrypt$ln=63,r=8,p=1${salt_and_hash}"),
        format!("$scrypt$ln=300,r=4294967295,p=4294967295${salt_and_hash}"),
        format!("$scrypt$ln=21,r=1,p=1${salt_and_hash}"),
        format!("$scrypt$ln=10,r=65,p=1${salt_and_hash}"),
        format!("$scrypt$ln=10,r=8,p=17${salt_and_hash}"),
        format!("$scrypt$ln=17,r=8,p=9${salt_and_hash}"),
        format!("$pbkdf2-sha256$2000001${salt_and_hash}"),
        format!("$pbkdf2-sha256$i=1000${}$AAAAAAAAAAAAAAAAAAAAAA", "A".repeat(200)),
    ];
    let texts = hashes.iter().enumerate();
    let mut users: Vec<_> = texts.map(|(number, hash)| with_hash(number, hash)).collect();
    // More than the column of the hash holds.
    let long_separator = FirebasePassword {
        salt_separator: "A".repeat(830),
        ..firebase()
    };
    let much_memory = FirebasePassword {
        memory_cost: 18,
        ..firebase()
    };
    users.extend([long_separator, much_memory].map(|password| ImportedUser {
        firebase_password: Some(password),
        ..with_email("firebase@example.com")
    }));

    for (user, result) in users
        .clone()
        .iter()
        .zip(import(&server, users, "").await.unwrap())
    {
        let reasons: Vec<_> = result
            .violations
            .iter()
            .map(|violation| violation.reason().as_str_name())
            .collect();
        assert_eq!(reasons, ["ERROR_REASON_VALUE_OUT_OF_RANGE"], "{user:?}");
    }
}

/// Whoever was imported with one of these could never sign in.
async fn what_nothing_can_compute_is_refused(t: Test) {
    const SALT: &str = "c2FsdHNhbHRzYWx0MTIzNA";
    const HASH: &str = "WpcgDLB6Hn2elw2bVmMLz+xdC7aJfKUye2uRrftuiPQ";
    let server = t.start().await;
    let argon2 = |parameters: &str, salt: &str| format!("$argon2id$v=19${parameters}${salt}${HASH}");
    let hashes = [
        // Less than 8 KiB for each lane, and a salt of 7 bytes.
        argon2("m=7,t=1,p=1", SALT),
        argon2("m=15,t=1,p=2", SALT),
        argon2("m=8,t=1,p=1", "c2FsdHNhbA"),
        // N is 1.
        "scrypt$1$saltsaltsalt1234$8$5$UnZX6Byf9SwgXXllJrmrUW7lQY9k7U2pPvNwhUIuwvM2Gcvms9pSu2nFK3bTGdXKfh+/IXE2nSmaBuuDitQwbg==".to_owned(),
        // The key is shorter than what it encrypts.
        format!("$firebase-scrypt$ln=14,r=8$Bw$AAAA${SALT}${HASH}"),
    ];
    let texts = hashes.iter().enumerate();
    let mut users: Vec<_> = texts.map(|(number, hash)| with_hash(number, hash)).collect();
    let keycloak = [("0", "1"), ("1024", "0"), ("8", "2")].map(|(memory, lanes)| KeycloakPassword {
        secret_data: KEYCLOAK[2].0.to_owned(),
        credential_data: KEYCLOAK[2]
            .1
            .replace(r#"["1024"]"#, &format!("[\"{memory}\"]"))
            .replace(
                r#""parallelism":["1"]"#,
                &format!("\"parallelism\":[\"{lanes}\"]"),
            ),
    });
    users.extend(keycloak.map(|password| ImportedUser {
        keycloak_password: Some(password),
        ..with_email("keycloak@example.com")
    }));
    let firebase = [(0, 14), (8, 0)].map(|(rounds, memory_cost)| FirebasePassword {
        rounds,
        memory_cost,
        ..firebase()
    });
    users.extend(firebase.map(|password| ImportedUser {
        firebase_password: Some(password),
        ..with_email("firebase@example.com")
    }));

    let results = import(&server, users.clone(), "").await.unwrap();

    for (user, result) in users.iter().zip(results) {
        let violations: Vec<_> = result
            .violations
            .iter()
            .map(|violation| (violation.field.as_str(), violation.reason().as_str_name()))
            .collect();
        assert_eq!(
            violations,
            [("password_hash", "ERROR_REASON_INVALID_FORMAT")],
            "{} {user:?}",
            user.password_hash
        );
    }
}

async fn what_is_no_hash_is_refused(t: Test) {
    let server = t.start().await;
    let hashes = [
        "correct horse battery",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        "$2b$04$short",
        "$2x$04$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96US",
        "$2b$03$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96US",
        "$2b$04$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96U!",
        "$argon2d$v=19$m=1024,t=1,p=1$c2FsdHNhbHRzYWx0MTIzNA$WpcgDLB6Hn2elw2bVmMLz+xdC7aJfKUye2uRrftuiPQ",
        "$argon2id$v=18$m=1024,t=1,p=1$c2FsdHNhbHRzYWx0MTIzNA$WpcgDLB6Hn2elw2bVmMLz+xdC7aJfKUye2uRrftuiPQ",
        "$argon2id$v=19$m=1024,t=1$c2FsdHNhbHRzYWx0MTIzNA$WpcgDLB6Hn2elw2bVmMLz+xdC7aJfKUye2uRrftuiPQ",
        "$scrypt$ln=10,r=0,p=1$FULImdP63xsj5FxL6d3bGw$6S0NkxB+lykcomj80D9pbkZH+RiByQmWwCaSYmQooTA",
        "$scrypt$ln=10,r=8,p=1$FULImdP63xsj5FxL6d3bGw$AAAA",
        "pbkdf2_md5$1000$salt$wheZis4WMGFy+7bhdev/G/YeD76DK1WUFiU5ngBGWLk=",
        "pbkdf2_sha256$0$salt$wheZis4WMGFy+7bhdev/G/YeD76DK1WUFiU5ngBGWLk=",
        "scrypt$1000$salt$8$5$UnZX6Byf9SwgXXllJrmrUW7lQY9k7U2pPvNwhUIuwvM2Gcvms9pSu2nFK3bTGdXKfh+/IXE2nSmaBuuDitQwbg==",
        "$$$$$",
    ];
    let mut users: Vec<ImportedUser> = hashes
        .iter()
        .enumerate()
        .map(|(number, hash)| with_hash(number, hash))
        .collect();
    users.push(ImportedUser {
        keycloak_password: Some(KeycloakPassword {
            secret_data: "{}".to_owned(),
            credential_data: "not JSON".to_owned(),
        }),
        ..with_email("keycloak@example.com")
    });
    users.push(ImportedUser {
        firebase_password: Some(FirebasePassword {
            signer_key: "AAAA".to_owned(),
            ..firebase()
        }),
        ..with_email("firebase@example.com")
    });
    users.push(ImportedUser {
        password_hash: ARGON2.to_owned(),
        firebase_password: Some(firebase()),
        ..with_email("both@example.com")
    });

    for (user, result) in users
        .clone()
        .iter()
        .zip(import(&server, users, "").await.unwrap())
    {
        let violations: Vec<_> = result
            .violations
            .iter()
            .map(|violation| (violation.field.as_str(), violation.reason().as_str_name()))
            .collect();
        assert_eq!(
            violations,
            [("password_hash", "ERROR_REASON_INVALID_FORMAT")],
            "{}",
            user.password_hash
        );
    }
}
