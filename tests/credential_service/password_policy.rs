//! What a new password must be like: the same wherever one is set.

use identity::proto::identity::v1::{SignUpRequest, User};
use tonic::Code;

use super::calls::{change_password, confirm_reset, create_reset, set_password, stored_hash};
use crate::support::{Behaviour, Clients, Failure, PASSWORD, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p02_p05_p06_the_rules_are_the_same_wherever_a_password_is_set,
        p05_the_minimum_can_be_lowered_to_eight_everywhere,
        p01_p07_what_is_accepted_is_stored_whole_wherever_it_is_set,
    ]
}

/// Where a password is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setter {
    Create,
    SignUp,
    Set,
    Change,
    Reset,
}

impl Setter {
    const ALL: [Self; 5] = [Self::Create, Self::SignUp, Self::Set, Self::Change, Self::Reset];

    /// The field of the request that has the new password.
    const fn field(self) -> &'static str {
        match self {
            Self::Create | Self::SignUp | Self::Set => "password",
            Self::Change | Self::Reset => "new_password",
        }
    }

    /// Gives a new user a password.
    async fn set(self, clients: &Clients, email: &str, password: &str) -> Result<User, Failure> {
        const NAME: &str = "Augusta Byron";
        let user = new_user().email(email).full_name(NAME);
        match self {
            Self::Create => clients.create(user.password(password)).await,
            Self::SignUp => {
                let request = SignUpRequest {
                    user: Some(User {
                        email: email.to_owned(),
                        full_name: NAME.to_owned(),
                        ..User::default()
                    }),
                    password: password.to_owned(),
                    ..SignUpRequest::default()
                };
                let response = clients.auth().sign_up(request).await?;
                Ok(response.into_inner().user.expect("a user in the response"))
            }
            Self::Set => {
                let created = clients.create(user).await.unwrap();
                set_password(clients, &created.id, password).await
            }
            Self::Change => {
                clients.create(user.password(PASSWORD)).await.unwrap();
                let tokens = clients.sign_in(email, PASSWORD).await.unwrap();
                change_password(clients, &tokens.access_token, PASSWORD, password).await
            }
            Self::Reset => {
                let created = clients.create(user).await.unwrap();
                let token = create_reset(clients, &created.id).await.unwrap();
                confirm_reset(clients, &token, password).await
            }
        }
    }
}

const SIGN_UP: (&str, &str) = ("IDENTITY_SIGN_UP", "on");

async fn p02_p05_p06_the_rules_are_the_same_wherever_a_password_is_set(t: Test) {
    let server = t.start_with(&[SIGN_UP]).await;
    let cases = [
        ("a".repeat(73), "VALUE_OUT_OF_RANGE", Some("72")),
        ("\u{1f511}".repeat(64), "VALUE_OUT_OF_RANGE", Some("72")),
        ("p".repeat(100_000), "VALUE_OUT_OF_RANGE", Some("72")),
        ("fourteen chars".to_owned(), "PASSWORD_TOO_WEAK", Some("15")),
        ("e\u{301}".repeat(14), "PASSWORD_TOO_WEAK", Some("15")),
        ("passwordpassword".to_owned(), "PASSWORD_BREACHED", None),
        ("PassWordPassWord".to_owned(), "PASSWORD_BREACHED", None),
        ("1q2w3e4r5t6y7u8i".to_owned(), "PASSWORD_BREACHED", None),
        ("Augusta-Byron-1815".to_owned(), "PASSWORD_TOO_WEAK", None),
        ("countess@example.com".to_owned(), "PASSWORD_TOO_WEAK", None),
        ("Identity123456!".to_owned(), "PASSWORD_TOO_WEAK", None),
        ("a password with \0 in it".to_owned(), "INVALID_FORMAT", None),
    ];
    for setter in Setter::ALL {
        for (number, (password, reason, limit)) in cases.iter().enumerate() {
            let email = format!("countess@example.com.{setter:?}{number}.example");
            let before = server.computed_hashes().await;
            let is_hashed_before = setter == Setter::Change;

            let failure = setter.set(&server, &email, password).await.expect_err(reason);

            assert_eq!(failure.code(), Code::InvalidArgument, "{setter:?}: {failure:?}");
            assert_eq!(
                failure.fields(),
                [(setter.field().to_owned(), (*reason).to_owned())],
                "{setter:?} {password}"
            );
            assert_eq!(
                failure.metadata("limit").as_deref(),
                *limit,
                "{setter:?} {password}"
            );
            assert!(!format!("{failure:?}").contains(password.as_str()), "{setter:?}");
            // Nothing is hashed for it: the change of a password needs one that is there, and a sign-in.
            let computed = server.computed_hashes().await - before;
            assert_eq!(computed, if is_hashed_before { 2 } else { 0 }, "{setter:?}");
        }
    }
}

async fn p05_the_minimum_can_be_lowered_to_eight_everywhere(t: Test) {
    let server = t
        .start_with(&[SIGN_UP, ("IDENTITY_PASSWORD_MIN_LENGTH", "8")])
        .await;
    for setter in Setter::ALL {
        let short = format!("short{setter:?}@example.com");
        let failure = setter.set(&server, &short, "kqzvwxj").await.unwrap_err();
        assert_eq!(failure.reason(), "PASSWORD_TOO_WEAK", "{setter:?}");
        assert_eq!(failure.metadata("limit").as_deref(), Some("8"), "{setter:?}");
        let long = format!("long{setter:?}@example.com");
        setter.set(&server, &long, "kqzvwxjy").await.unwrap();
    }
}

async fn p01_p07_what_is_accepted_is_stored_whole_wherever_it_is_set(t: Test) {
    let server = t.start_with(&[SIGN_UP]).await;
    let passwords = [
        "abc".repeat(5),
        "b".repeat(71),
        "c".repeat(72),
        "\u{1f511}".repeat(18),
        "e\u{301}".repeat(15),
        "    spaces inside    ".to_owned(),
        "abcdefghijklmnopqrst".to_owned(),
    ];
    for setter in Setter::ALL {
        for (number, password) in passwords.iter().enumerate() {
            let email = format!("{setter:?}{number}@example.com");
            let user = setter.set(&server, &email, password).await.expect(password);
            assert!(user.password_set, "{setter:?}");

            let hash = stored_hash(&t, &email).await.unwrap();
            assert_eq!(hash.len(), 60);
            let mut shorter = password.clone();
            shorter.pop();
            for wrong in [shorter, format!("{password}W"), password.to_uppercase() + " "] {
                server.sign_in(&email, &wrong).await.expect_err(&email);
            }
            server.sign_in(&email, password).await.expect(password);
        }
    }
}
