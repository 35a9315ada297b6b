//! A call of every method that changes something, with what must be on record afterwards.

use identity::proto::identity::v1::{
    BlockUserRequest, ChangePasswordRequest, ClearLockoutRequest, ConfirmEmailVerificationRequest,
    ConfirmPasswordResetRequest, CreateEmailVerificationRequest, CreatePasswordResetRequest,
    CreateUserRequest, DeactivateUserRequest, DeleteUserRequest, ImportUsersRequest,
    LinkOAuthAccountRequest, ReactivateUserRequest, RefreshTokensRequest, RemovePasswordRequest,
    RevokeAllSessionsRequest, RevokeSessionRequest, SetPasswordRequest, SignInWithIdTokenRequest,
    SignInWithPasswordRequest, SignOutRequest, SignUpRequest, Tokens, UnblockUserRequest,
    UnlinkOAuthAccountRequest, UpdateUserRequest, User, UserEventType, VerifyPasswordRequest,
    clear_lockout_request,
};
use identity::proto::{DESCRIPTOR_SET, google::r#type::Date};
use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

use crate::credential_service::calls::{create_reset, create_verification};
use crate::security::raw::{RawAnswer, RawCall};
use crate::session_service::calls::{block, deactivate};
use crate::support::issuer::{PROVIDER, shared_issuer, with_shared_issuer};
use crate::support::{Clients, PASSWORD, Test};
use crate::user_service::import_users::with_email;

/// Another password that is accepted.
const OTHER_PASSWORD: &str = "wrong donkey charger";

/// A server with which every call of this module does what it should.
pub fn configuration() -> Vec<(&'static str, &'static str)> {
    [&[("IDENTITY_SIGN_UP", "on")], with_shared_issuer().as_slice()].concat()
}

/// A method, as its descriptor has it.
#[derive(Debug, Clone)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Whether services may call it.
    pub is_for_services: bool,
    /// Whether users may call it for themselves.
    pub is_own: bool,
}

/// Returns every method that does not promise to change nothing.
pub fn changing_methods() -> Vec<Method> {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    let methods: Vec<Method> = pool
        .services()
        .filter(|service| service.package_name() == "identity.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(|method| !promises_to_change_nothing(method))
        .map(|method| described(&pool, &method))
        .collect();
    assert!(methods.len() >= 22, "only {} methods were found", methods.len());
    methods
}

fn promises_to_change_nothing(method: &MethodDescriptor) -> bool {
    /// `NO_SIDE_EFFECTS`.
    const NO_SIDE_EFFECTS: i32 = 1;
    method
        .options()
        .get_field_by_name("idempotency_level")
        .is_some_and(|level| level.as_ref() == &Value::EnumNumber(NO_SIDE_EFFECTS))
}

fn described(pool: &DescriptorPool, method: &MethodDescriptor) -> Method {
    let option = pool.get_extension_by_name("identity.v1.access").unwrap();
    let options = method.options();
    let access = options.get_extension(&option).as_message().unwrap().clone();
    let value = |name| access.get_field_by_name(name).unwrap().into_owned();
    Method {
        name: method.name().to_owned(),
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        is_for_services: value("scope").as_str() != Some(""),
        is_own: value("own").as_bool() == Some(true),
    }
}

/// What must be on record after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// What happened.
    pub event_type: UserEventType,
    /// Which fields changed.
    pub changed_fields: Vec<&'static str>,
    /// The session, if it is about one.
    pub session_id: String,
}

impl Expected {
    fn of(event_type: UserEventType) -> Option<Self> {
        Some(Self {
            event_type,
            changed_fields: Vec::new(),
            session_id: String::new(),
        })
    }

    fn of_session(event_type: UserEventType, tokens: &Tokens) -> Option<Self> {
        let session_id = tokens.session_id.clone();
        Self::of(event_type).map(|expected| Self {
            session_id,
            ..expected
        })
    }
}

/// A call that is ready to be made.
pub struct ReadyCall {
    /// The method.
    pub method: Method,
    /// The request.
    pub message: Vec<u8>,
    /// The email of the user it is about, who may not be there yet.
    pub email: String,
    /// The id of that user; empty if it is not there yet.
    pub user_id: String,
    /// An access token of that user.
    pub own_token: String,
    /// The reason with which the call fails although it changes something; empty if it succeeds.
    pub reason: &'static str,
    /// What must be on record afterwards; nothing if the call changes no user.
    pub expected: Option<Expected>,
}

impl ReadyCall {
    /// Makes the call with a token, which may be empty, and says afterwards what became of it.
    pub async fn make(&self, clients: &Clients, token: &str, correlation_id: &str) -> RawAnswer {
        let mut call =
            RawCall::new(&self.method.path, &self.message).header("x-request-id", correlation_id);
        if !token.is_empty() {
            call = call.header("authorization", &format!("Bearer {token}"));
        }
        call.send(clients).await
    }

    /// Makes the call, which must do what it should.
    pub async fn make_well(&self, clients: &Clients, token: &str, correlation_id: &str) {
        let answer = self.make(clients, token, correlation_id).await;
        let reason = answer.as_ref().err().map(crate::support::Failure::reason);
        assert_eq!(
            reason.unwrap_or_default(),
            self.reason,
            "{}: {answer:?}",
            self.method.name
        );
    }
}

/// Prepares a call of a method that changes a user of its own. A method that is not known here fails the test: whoever adds
/// one says here what must be on record of it.
pub async fn prepare(t: &Test, clients: &Clients, method: Method) -> ReadyCall {
    let email = format!("{}@example.com", method.name.to_lowercase());
    let is_new = ["CreateUser", "ImportUsers", "SignUp"].contains(&method.name.as_str());
    let (user_id, tokens) = if is_new {
        (String::new(), Tokens::default())
    } else {
        let (user, tokens) = clients.signed_in(&email).await;
        (user.id, tokens)
    };
    let (message, expected) = request(t, clients, &method.name, &email, &user_id, &tokens).await;
    let reason = if method.name == "RefreshTokens" {
        "TOKEN_REUSED"
    } else {
        ""
    };
    ReadyCall {
        method,
        message,
        email,
        user_id,
        own_token: tokens.access_token,
        reason,
        expected,
    }
}

async fn request(
    t: &Test,
    clients: &Clients,
    name: &str,
    email: &str,
    id: &str,
    tokens: &Tokens,
) -> (Vec<u8>, Option<Expected>) {
    let user_id = || id.to_owned();
    match name {
        "CreateUser" | "SignUp" => creation(name, email),
        "ImportUsers" => {
            let request = ImportUsersRequest {
                users: vec![with_email(email)],
                ..ImportUsersRequest::default()
            };
            (request.encode_to_vec(), Expected::of(UserEventType::UserCreated))
        }
        "UpdateUser" => update(id),
        "DeactivateUser" => (
            DeactivateUserRequest {
                user_id: user_id(),
                ..DeactivateUserRequest::default()
            }
            .encode_to_vec(),
            Expected::of(UserEventType::UserDeactivated),
        ),
        "ReactivateUser" => {
            deactivate(clients, id).await.unwrap();
            let request = ReactivateUserRequest {
                user_id: user_id(),
                ..ReactivateUserRequest::default()
            };
            (
                request.encode_to_vec(),
                Expected::of(UserEventType::UserReactivated),
            )
        }
        "BlockUser" => (
            BlockUserRequest {
                user_id: user_id(),
                ..BlockUserRequest::default()
            }
            .encode_to_vec(),
            Expected::of(UserEventType::UserBlocked),
        ),
        "UnblockUser" => {
            block(clients, id).await.unwrap();
            let request = UnblockUserRequest {
                user_id: user_id(),
                ..UnblockUserRequest::default()
            };
            (
                request.encode_to_vec(),
                Expected::of(UserEventType::UserUnblocked),
            )
        }
        "DeleteUser" => (
            DeleteUserRequest {
                user_id: user_id(),
                ..DeleteUserRequest::default()
            }
            .encode_to_vec(),
            Expected::of(UserEventType::UserDeleted),
        ),
        "ClearLockout" => {
            clients.sign_in(email, "not the password").await.unwrap_err();
            let subject = Some(clear_lockout_request::Subject::UserId(user_id()));
            let request = ClearLockoutRequest { subject };
            (
                request.encode_to_vec(),
                Expected::of(UserEventType::LockoutCleared),
            )
        }
        "SignInWithPassword" | "VerifyPassword" | "CreatePasswordReset" | "CreateEmailVerification" => {
            (harmless(name, email, id), None)
        }
        "SignInWithIdToken" | "LinkOAuthAccount" | "UnlinkOAuthAccount" => {
            account_change(t, clients, name, email, id).await
        }
        "RevokeSession" | "RevokeAllSessions" | "SignOut" | "RefreshTokens" => {
            end_of_session(clients, name, id, tokens).await
        }
        _ => credential_change(t, clients, name, id).await,
    }
}

fn creation(name: &str, email: &str) -> (Vec<u8>, Option<Expected>) {
    let user = Some(User {
        email: email.to_owned(),
        ..User::default()
    });
    let password = PASSWORD.to_owned();
    let message = if name == "SignUp" {
        SignUpRequest {
            user,
            password,
            ..SignUpRequest::default()
        }
        .encode_to_vec()
    } else {
        CreateUserRequest {
            user,
            password,
            ..CreateUserRequest::default()
        }
        .encode_to_vec()
    };
    (message, Expected::of(UserEventType::UserCreated))
}

fn update(id: &str) -> (Vec<u8>, Option<Expected>) {
    let user = Some(User {
        id: id.to_owned(),
        full_name: "Ada Lovelace".to_owned(),
        birth_date: Some(Date {
            year: 1815,
            month: 12,
            day: 10,
        }),
        ..User::default()
    });
    let request = UpdateUserRequest {
        user,
        ..UpdateUserRequest::default()
    };
    let expected = Expected::of(UserEventType::UserUpdated).map(|expected| Expected {
        changed_fields: vec!["full_name", "birth_date"],
        ..expected
    });
    (request.encode_to_vec(), expected)
}

/// Calls that begin something, or ask, and leave the user as it is. Attempts to sign in have a list of their own.
fn harmless(name: &str, email: &str, id: &str) -> Vec<u8> {
    let user_id = id.to_owned();
    let password = PASSWORD.to_owned();
    match name {
        "SignInWithPassword" => {
            let identifier = email.to_owned();
            SignInWithPasswordRequest {
                identifier,
                password,
                client: None,
            }
            .encode_to_vec()
        }
        "VerifyPassword" => VerifyPasswordRequest {
            user_id,
            password,
            client: None,
        }
        .encode_to_vec(),
        "CreatePasswordReset" => CreatePasswordResetRequest { user_id }.encode_to_vec(),
        _ => CreateEmailVerificationRequest { user_id }.encode_to_vec(),
    }
}

async fn end_of_session(
    clients: &Clients,
    name: &str,
    id: &str,
    tokens: &Tokens,
) -> (Vec<u8>, Option<Expected>) {
    let revoked = UserEventType::SessionsRevoked;
    let refresh_token = tokens.refresh_token.clone();
    match name {
        "RevokeSession" => {
            let session_id = tokens.session_id.clone();
            let request = RevokeSessionRequest { session_id };
            (request.encode_to_vec(), Expected::of_session(revoked, tokens))
        }
        "RevokeAllSessions" => {
            let request = RevokeAllSessionsRequest {
                user_id: id.to_owned(),
            };
            (request.encode_to_vec(), Expected::of(revoked))
        }
        "SignOut" => {
            let request = SignOutRequest {
                refresh_token,
                all_sessions: false,
            };
            (request.encode_to_vec(), Expected::of_session(revoked, tokens))
        }
        _ => {
            // The token before the last one is nobody's who behaves.
            let next = clients.refresh(&refresh_token).await.unwrap();
            clients.refresh(&next.refresh_token).await.unwrap();
            let request = RefreshTokensRequest {
                refresh_token,
                client: None,
            };
            let expected = Expected::of_session(UserEventType::RefreshTokenReused, tokens);
            (request.encode_to_vec(), expected)
        }
    }
}

async fn credential_change(
    t: &Test,
    clients: &Clients,
    name: &str,
    id: &str,
) -> (Vec<u8>, Option<Expected>) {
    let password = OTHER_PASSWORD.to_owned();
    let (message, event_type) = match name {
        "SetPassword" => {
            let user_id = id.to_owned();
            let request = SetPasswordRequest {
                user_id,
                password,
                ..SetPasswordRequest::default()
            };
            (request.encode_to_vec(), UserEventType::PasswordSet)
        }
        "ChangePassword" => {
            let request = ChangePasswordRequest {
                current_password: PASSWORD.to_owned(),
                new_password: password,
                ..ChangePasswordRequest::default()
            };
            (request.encode_to_vec(), UserEventType::PasswordChanged)
        }
        "RemovePassword" => {
            // The last way to sign in stays, so there is another one.
            t.begin_with_google().await;
            let user_id = id.to_owned();
            let request = RemovePasswordRequest {
                user_id,
                ..RemovePasswordRequest::default()
            };
            (request.encode_to_vec(), UserEventType::PasswordRemoved)
        }
        "ConfirmPasswordReset" => {
            let request = ConfirmPasswordResetRequest {
                token: create_reset(clients, id).await.unwrap(),
                new_password: password,
                ..ConfirmPasswordResetRequest::default()
            };
            (request.encode_to_vec(), UserEventType::PasswordReset)
        }
        "ConfirmEmailVerification" => {
            let token = create_verification(clients, id).await.unwrap().token;
            let request = ConfirmEmailVerificationRequest {
                token,
                request_id: String::new(),
            };
            (request.encode_to_vec(), UserEventType::EmailVerified)
        }
        unknown => panic!("what must be on record of {unknown}?"),
    };
    (message, Expected::of(event_type))
}

/// Calls about an account at a provider, which is a user's already unless it is linked.
async fn account_change(
    t: &Test,
    clients: &Clients,
    name: &str,
    email: &str,
    id: &str,
) -> (Vec<u8>, Option<Expected>) {
    let id_token = shared_issuer().token(t, email, email);
    let link = LinkOAuthAccountRequest {
        user_id: id.to_owned(),
        provider: PROVIDER.to_owned(),
        id_token: id_token.clone(),
        ..LinkOAuthAccountRequest::default()
    };
    if name == "LinkOAuthAccount" {
        let expected = Expected::of(UserEventType::OauthAccountLinked);
        return (link.encode_to_vec(), expected);
    }
    let linked = clients.oauth_accounts().link_o_auth_account(link).await.unwrap();
    let account = linked.into_inner().account.unwrap();
    if name == "SignInWithIdToken" {
        let request = SignInWithIdTokenRequest {
            provider: PROVIDER.to_owned(),
            id_token,
            ..SignInWithIdTokenRequest::default()
        };
        return (request.encode_to_vec(), None);
    }
    let request = UnlinkOAuthAccountRequest {
        user_id: id.to_owned(),
        account_id: account.id,
        ..UnlinkOAuthAccountRequest::default()
    };
    let expected = Expected::of(UserEventType::OauthAccountUnlinked);
    (request.encode_to_vec(), expected)
}
