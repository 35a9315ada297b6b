//! What is printed of messages and settings that hold secrets.

use identity::proto::identity::v1::{
    ChangePasswordRequest, ConfirmEmailVerificationRequest, ConfirmPasswordResetRequest,
    CreateEmailVerificationResponse, CreatePasswordResetResponse, CreateUserRequest, FirebasePassword,
    ImportedUser, IntrospectTokenRequest, KeycloakPassword, LinkOAuthAccountRequest,
    RefreshTokensRequest, SetPasswordRequest, SignInWithIdTokenRequest, SignInWithPasswordRequest,
    SignOutRequest, SignUpRequest, Tokens, VerifyPasswordRequest,
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::{files, is_redacted, pool, with_nested};
use crate::support::{Behaviour, Test, behaviours, plain};

pub fn tests() -> Vec<Behaviour> {
    [
        plain![
            every_field_that_holds_a_secret_is_marked,
            s02_debug_of_a_message_never_shows_a_field_that_is_marked
        ],
        behaviours![s02_debug_of_the_settings_shows_no_secret],
    ]
    .concat()
}

/// What the name of a field with a secret contains.
const SECRET_WORDS: [&str; 5] = ["password", "token", "secret", "credential", "private_key"];

/// Fields that only sound like it. A page token names a place in a list, and a resume token one in the changes, and both
/// are encrypted;
/// the id of a token is not the token.
const NOT_SECRET: [&str; 14] = [
    "identity.v1.IntrospectTokenResponse.token_id",
    "identity.v1.ListLoginAttemptsRequest.page_token",
    "identity.v1.ListLoginAttemptsResponse.next_page_token",
    "identity.v1.ListOAuthAccountsRequest.page_token",
    "identity.v1.ListOAuthAccountsResponse.next_page_token",
    "identity.v1.ListSessionsRequest.page_token",
    "identity.v1.ListSessionsResponse.next_page_token",
    "identity.v1.ListUserEventsRequest.page_token",
    "identity.v1.ListUserEventsResponse.next_page_token",
    "identity.v1.ListUsersRequest.page_token",
    "identity.v1.ListUsersResponse.next_page_token",
    "identity.v1.ListUsersResponse.resume_token",
    "identity.v1.WatchUsersRequest.resume_token",
    "identity.v1.WatchUsersResponse.resume_token",
];

/// Decodes a message and prints it.
type DebugOf = fn(&[u8]) -> String;

/// A message with secrets, and its `Debug`. One line for each such message: a new one fails the test.
const DEBUGS: [(&str, DebugOf); 19] = [
    ("identity.v1.CreateUserRequest", debug_of::<CreateUserRequest>),
    ("identity.v1.ImportedUser", debug_of::<ImportedUser>),
    ("identity.v1.KeycloakPassword", debug_of::<KeycloakPassword>),
    ("identity.v1.FirebasePassword", debug_of::<FirebasePassword>),
    ("identity.v1.SignUpRequest", debug_of::<SignUpRequest>),
    (
        "identity.v1.SignInWithPasswordRequest",
        debug_of::<SignInWithPasswordRequest>,
    ),
    (
        "identity.v1.SignInWithIdTokenRequest",
        debug_of::<SignInWithIdTokenRequest>,
    ),
    (
        "identity.v1.LinkOAuthAccountRequest",
        debug_of::<LinkOAuthAccountRequest>,
    ),
    (
        "identity.v1.RefreshTokensRequest",
        debug_of::<RefreshTokensRequest>,
    ),
    ("identity.v1.SignOutRequest", debug_of::<SignOutRequest>),
    (
        "identity.v1.IntrospectTokenRequest",
        debug_of::<IntrospectTokenRequest>,
    ),
    ("identity.v1.Tokens", debug_of::<Tokens>),
    ("identity.v1.SetPasswordRequest", debug_of::<SetPasswordRequest>),
    (
        "identity.v1.ChangePasswordRequest",
        debug_of::<ChangePasswordRequest>,
    ),
    (
        "identity.v1.VerifyPasswordRequest",
        debug_of::<VerifyPasswordRequest>,
    ),
    (
        "identity.v1.CreatePasswordResetResponse",
        debug_of::<CreatePasswordResetResponse>,
    ),
    (
        "identity.v1.ConfirmPasswordResetRequest",
        debug_of::<ConfirmPasswordResetRequest>,
    ),
    (
        "identity.v1.CreateEmailVerificationResponse",
        debug_of::<CreateEmailVerificationResponse>,
    ),
    (
        "identity.v1.ConfirmEmailVerificationRequest",
        debug_of::<ConfirmEmailVerificationRequest>,
    ),
];

fn debug_of<M: Message + Default + std::fmt::Debug>(bytes: &[u8]) -> String {
    let message = M::decode(bytes).unwrap();
    format!("{message:?} {message:#?}")
}

/// Never a part of anything else.
const CANARY: &str = "canary-4f1c";

fn every_field_that_holds_a_secret_is_marked() {
    let pool = pool();
    let secrets: Vec<FieldDescriptor> = messages(&pool)
        .iter()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| matches!(field.kind(), Kind::String | Kind::Bytes))
        .filter(|field| SECRET_WORDS.iter().any(|word| field.name().contains(word)))
        .filter(|field| !NOT_SECRET.contains(&field.full_name()))
        .collect();

    assert!(!secrets.is_empty());
    for field in secrets {
        assert!(
            is_redacted(&field),
            "{} is not marked debug_redact",
            field.full_name()
        );
    }
}

fn s02_debug_of_a_message_never_shows_a_field_that_is_marked() {
    let pool = pool();
    let messages = messages(&pool);
    let with_secrets = messages
        .iter()
        .filter(|message| message.fields().any(|field| is_redacted(&field)));
    for message in with_secrets {
        let (_, debug) = DEBUGS
            .iter()
            .find(|(name, _)| *name == message.full_name())
            .unwrap_or_else(|| panic!("add {} to DEBUGS", message.full_name()));

        let text = debug(&filled_with_canaries(message));

        for field in message.fields().filter(|field| field.kind() == Kind::String) {
            let is_shown = text.contains(&canary(&field));
            assert_eq!(is_shown, !is_redacted(&field), "{}: {text}", field.full_name());
        }
    }
}

async fn s02_debug_of_the_settings_shows_no_secret(t: Test) {
    let key = "Y2FuYXJ5IGNhbmFyeSBjYW5hcnkgY2FuYXJ5IDEyMzQ=";
    let replica_url = "postgres://ada:canary-4f1c@127.0.0.1:5433/replica";
    let url = replica_url.replace("5433", "5432");

    let settings = t.settings(&[
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_REPLICA_URL", replica_url),
        ("IDENTITY_MASTER_KEY", key),
    ]);

    let text = format!("{settings:?} {settings:#?}");
    assert!(text.contains("127.0.0.1"), "{text}");
    assert!(!text.contains(CANARY) && !text.contains("Y2FuYXJ5"), "{text}");
}

/// Every message of the API.
fn messages(pool: &prost_reflect::DescriptorPool) -> Vec<MessageDescriptor> {
    files(pool)
        .iter()
        .flat_map(|file| file.messages().flat_map(with_nested).collect::<Vec<_>>())
        .collect()
}

/// Encodes a message whose texts can be told apart.
fn filled_with_canaries(message: &MessageDescriptor) -> Vec<u8> {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message
        .fields()
        .filter(|field| field.kind() == Kind::String && !field.is_list())
    {
        filled.set_field(&field, Value::String(canary(&field)));
    }
    filled.encode_to_vec()
}

fn canary(field: &FieldDescriptor) -> String {
    format!("{CANARY}-{}", field.number())
}
