//! Conversions of sessions, tokens, clients and attempts to sign in.

use super::{optional, time_to_proto};
use crate::domain::{
    Client, ClientId, Identifier, Invalid, LoginAttempt, LoginFailure, PresentedPassword, Session,
    SessionEndReason, SessionId, SignInMethod, UserAgent, parse_ip_address,
};
use crate::grpc::violations::Violations;
use crate::proto::identity::v1 as proto;
use crate::sign_in::SessionTokens;

/// Converts the client of a person; a client that is not given is one of which nothing is known.
pub(in crate::grpc) fn client(
    message: Option<&proto::Client>,
    violations: &mut Violations,
) -> Option<Client> {
    let none = proto::Client::default();
    let message = message.unwrap_or(&none);
    let ip_address = violations.take(
        "client.ip_address",
        optional(&message.ip_address, parse_ip_address),
    );
    let user_agent = violations.take(
        "client.user_agent",
        optional(&message.user_agent, UserAgent::parse),
    );
    let client_id = violations.take("client.client_id", optional(&message.client_id, ClientId::parse));
    Some(Client {
        ip_address: ip_address?,
        user_agent: user_agent?,
        client_id: client_id?.unwrap_or_default(),
    })
}

/// Converts a login name.
pub(in crate::grpc) fn identifier(
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<Identifier> {
    violations.take(field, Identifier::parse(text))
}

/// Converts a password that is presented.
pub(in crate::grpc) fn presented_password(
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<PresentedPassword> {
    violations.take(field, PresentedPassword::parse(text))
}

/// Converts the id of a session that must be given.
pub(in crate::grpc) fn session_id(
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<SessionId> {
    let parsed = if text.is_empty() {
        Err(Invalid::required("must be given"))
    } else {
        SessionId::parse(text)
    };
    violations.take(field, parsed)
}

/// Converts a number of rows; more than fits there are never so many.
pub(in crate::grpc) fn to_count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Converts the tokens of a session, which leave the service here.
pub(in crate::grpc) fn tokens_to_proto(tokens: &SessionTokens) -> proto::Tokens {
    proto::Tokens {
        access_token: tokens.access.token.reveal().to_owned(),
        access_token_expire_time: Some(time_to_proto(tokens.access.expires_at)),
        refresh_token: tokens.refresh.reveal().to_owned(),
        refresh_token_expire_time: Some(time_to_proto(tokens.session.idle_expires_at)),
        session_id: tokens.session.id.to_string(),
    }
}

impl From<Session> for proto::Session {
    fn from(session: Session) -> Self {
        let Client {
            ip_address,
            user_agent,
            client_id,
        } = session.client;
        Self {
            id: session.id.to_string(),
            user_id: session.user_id.to_string(),
            method: proto::SignInMethod::from(session.method).into(),
            provider: proto::AuthProvider::from(session.provider).into(),
            client: Some(proto::Client {
                ip_address: ip_address.map(|address| address.to_string()).unwrap_or_default(),
                user_agent: user_agent
                    .map(|agent| agent.as_str().to_owned())
                    .unwrap_or_default(),
                client_id: client_id.as_str().to_owned(),
            }),
            create_time: Some(time_to_proto(session.created_at)),
            refresh_time: Some(time_to_proto(session.last_refresh_at)),
            idle_expire_time: Some(time_to_proto(session.idle_expires_at)),
            expire_time: Some(time_to_proto(session.expires_at)),
            end_time: session.ended.map(|(time, _)| time_to_proto(time)),
            end_reason: session
                .ended
                .map_or(proto::SessionEndReason::Unspecified, |(_, reason)| reason.into())
                .into(),
        }
    }
}

impl From<SignInMethod> for proto::SignInMethod {
    fn from(method: SignInMethod) -> Self {
        match method {
            SignInMethod::Password => Self::Password,
            SignInMethod::RefreshToken => Self::RefreshToken,
            SignInMethod::IdToken => Self::IdToken,
        }
    }
}

impl From<SessionEndReason> for proto::SessionEndReason {
    fn from(reason: SessionEndReason) -> Self {
        match reason {
            SessionEndReason::SignedOut => Self::SignedOut,
            SessionEndReason::Revoked => Self::Revoked,
            SessionEndReason::UserBlocked => Self::UserBlocked,
            SessionEndReason::UserDeactivated => Self::UserDeactivated,
            SessionEndReason::PasswordChanged => Self::PasswordChanged,
            SessionEndReason::TokenReused => Self::TokenReused,
            SessionEndReason::SessionLimit => Self::SessionLimit,
        }
    }
}

impl From<LoginAttempt> for proto::LoginAttempt {
    fn from(attempt: LoginAttempt) -> Self {
        let failure = attempt.failure;
        Self {
            id: attempt.id.to_string(),
            user_id: attempt.user_id.map(|id| id.to_string()).unwrap_or_default(),
            identifier: attempt.identifier.unwrap_or_default(),
            ip_address: attempt
                .ip_address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            user_agent: attempt
                .user_agent
                .map(|agent| agent.as_str().to_owned())
                .unwrap_or_default(),
            method: proto::SignInMethod::from(attempt.method).into(),
            success: failure.is_none(),
            failure_reason: failure
                .map_or(proto::LoginFailureReason::Unspecified, Into::into)
                .into(),
            attempt_time: Some(time_to_proto(attempt.attempted_at)),
        }
    }
}

impl From<LoginFailure> for proto::LoginFailureReason {
    fn from(failure: LoginFailure) -> Self {
        match failure {
            LoginFailure::UnknownUser => Self::UnknownUser,
            LoginFailure::NoPassword => Self::NoPassword,
            LoginFailure::WrongPassword => Self::WrongPassword,
            LoginFailure::UserBlocked => Self::UserBlocked,
            LoginFailure::UserInactive => Self::UserInactive,
            LoginFailure::TokenReused => Self::TokenReused,
            LoginFailure::WrongClient => Self::WrongClient,
        }
    }
}
