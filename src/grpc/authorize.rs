//! Who is calling, and whether that caller may call the method.
//!
//! One place decides for every method from what the protos say ([`super::access`]), before anything of the request
//! is looked at; what they do not mention is refused. Whose data a user may reach is checked where the data is known,
//! with [`CallContext::check_reach`](super::CallContext::check_reach).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use http::HeaderMap;

use super::access::{Access, Method, Services, methods};
use super::error::ApiError;
use super::rate_limit::RateLimits;
use crate::clock::Clock;
use crate::config::AuthorizationSettings;
use crate::database::DatabaseError;
use crate::domain::{Actor, Refusal, Scopes, UserId};
use crate::listener::{Peer, PeerName};
use crate::sign_in::{Authenticated, Authenticator, SignInError};
use crate::tokens::{AccessClaims, SecretToken, ServiceTokens, StandingToken};

/// Who is calling.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Nobody who had to say who it is.
    Anyone,
    /// A service.
    Service(Actor),
    /// A user, whose access token was good when the call came.
    User(Box<Authenticated>),
    /// A user whose access token the call may have made inactive when it was made before. It can repeat that call and
    /// do nothing else.
    FormerUser(Box<AccessClaims>),
}

impl Caller {
    /// Returns the caller as it is on record.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Anyone => Actor::Anonymous,
            Self::Service(actor) => actor.clone(),
            Self::User(user) => Actor::User(user.user.id),
            Self::FormerUser(claims) => Actor::User(claims.user_id),
        }
    }

    /// Returns the user who calls for itself.
    pub(super) fn into_user(self) -> Result<Authenticated, Refusal> {
        match self {
            Self::User(user) => Ok(*user),
            Self::FormerUser(_) => Err(Refusal::SessionEnded),
            Self::Anyone | Self::Service(_) => Err(Refusal::TokenRequired),
        }
    }
}

/// Who is calling, and for how long that holds.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    /// Who is calling.
    pub(super) caller: Caller,
    /// The token of a service, which may be revoked while the call goes on.
    pub(super) standing: Option<StandingToken>,
}

impl From<Caller> for Admitted {
    fn from(caller: Caller) -> Self {
        Self {
            caller,
            standing: None,
        }
    }
}

/// Decides who may call. Cheap to clone.
#[derive(Clone)]
pub struct Authorizer(Arc<Parts>);

struct Parts {
    methods: HashMap<&'static str, Method>,
    service_tokens: ServiceTokens,
    authenticator: Authenticator,
    tls_callers: HashMap<PeerName, Scopes>,
    is_required: bool,
    calls_of_services: RateLimits<Actor>,
    calls_of_users: RateLimits<UserId>,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizer")
    }
}

/// What a call shows of its caller.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// The metadata.
    pub(super) headers: &'a HeaderMap,
    /// The other end of the connection.
    pub(super) peer: Option<&'a Peer>,
}

/// What a call comes with to show who its caller is.
enum Credential<'a> {
    None,
    Bearer(SecretToken),
    Certificate(&'a PeerName, &'a Scopes),
}

impl Authorizer {
    /// Makes the rules.
    #[must_use]
    pub fn new(
        settings: &AuthorizationSettings,
        service_tokens: ServiceTokens,
        authenticator: Authenticator,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Parts {
            methods: methods().map(|method| (method.path, method)).collect(),
            service_tokens,
            authenticator,
            tls_callers: settings.tls_callers.clone(),
            is_required: settings.is_required,
            calls_of_services: RateLimits::new(settings.rate_limit_per_service, clock),
            calls_of_users: RateLimits::new(settings.rate_limit_per_user, clock),
        }))
    }

    /// Returns what is known of the method with a path, if there is one.
    pub(super) fn method(&self, path: &str) -> Option<Method> {
        self.0.methods.get(path).copied()
    }

    /// Returns who is calling, if that caller may call the method.
    ///
    /// Before the database has been migrated, nobody can be recognised.
    pub(super) async fn admit(
        &self,
        access: Access,
        shown: Shown<'_>,
        is_started: bool,
        now: DateTime<Utc>,
    ) -> Result<Admitted, ApiError> {
        if access.public {
            return Ok(Caller::Anyone.into());
        }
        match self.credential(shown)? {
            Credential::None if self.0.is_required => Err(Refusal::TokenRequired.into()),
            Credential::None => Ok(Caller::Anyone.into()),
            Credential::Certificate(PeerName::Uri(name) | PeerName::Dns(name), scopes) => {
                let caller = self.admit_service(access, Actor::Certificate(name.clone()), scopes)?;
                Ok(caller.into())
            }
            Credential::Bearer(_) if !is_started => Err(ApiError::unavailable()),
            Credential::Bearer(token) if ServiceTokens::is_meant(token.reveal()) => {
                let found = self.0.service_tokens.find(token.reveal(), now).await?;
                let actor = Actor::Service(found.token.name.clone());
                let caller = self.admit_service(access, actor, &found.token.scopes)?;
                Ok(Admitted {
                    caller,
                    standing: Some(found.standing),
                })
            }
            // Boxed, so that calls of services do not take the room that looking up a user needs.
            Credential::Bearer(token) => Ok(self.admit_user(access, &token).boxed().await?.into()),
        }
    }

    /// Forgets callers that have not called for a while.
    pub fn forget_idle_callers(&self) {
        self.0.calls_of_services.forget_idle();
        self.0.calls_of_users.forget_idle();
    }

    /// Finds out what a call shows. A token is meant to be used, so that it comes before the certificate of the
    /// connection, which may be that of a gateway.
    fn credential(&self, shown: Shown<'_>) -> Result<Credential<'_>, ApiError> {
        if shown.headers.contains_key("authorization") {
            let token = bearer_token(shown.headers).ok_or(Refusal::TokenRequired)?;
            return Ok(Credential::Bearer(token));
        }
        let names = shown.peer.map(|peer| peer.names.as_ref()).unwrap_or_default();
        let known = names
            .iter()
            .find_map(|name| self.0.tls_callers.get_key_value(name));
        Ok(known.map_or(Credential::None, |(name, scopes)| {
            Credential::Certificate(name, scopes)
        }))
    }

    fn admit_service(&self, access: Access, actor: Actor, scopes: &Scopes) -> Result<Caller, ApiError> {
        let is_allowed = match access.services {
            Services::None => false,
            Services::With(scope) => scopes.grant(scope),
            Services::All => true,
        };
        if !is_allowed {
            return Err(denied(access));
        }
        self.0
            .calls_of_services
            .count(&actor)
            .map_err(ApiError::rate_limited)?;
        Ok(Caller::Service(actor))
    }

    async fn admit_user(&self, access: Access, token: &SecretToken) -> Result<Caller, ApiError> {
        let claims = self.0.authenticator.read_token(token.reveal())?;
        if !access.own {
            return Err(denied(access));
        }
        self.0
            .calls_of_users
            .count(&claims.user_id)
            .map_err(ApiError::rate_limited)?;
        match self.0.authenticator.look_up(claims.clone()).await {
            Ok(user) => Ok(Caller::User(Box::new(user))),
            Err(SignInError::Database(DatabaseError::Refused(Refusal::SessionEnded)))
                if access.own_repeat =>
            {
                Ok(Caller::FormerUser(Box::new(claims)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn denied(access: Access) -> ApiError {
    let scope = match access.services {
        Services::With(scope) => scope.as_str(),
        Services::None | Services::All => "",
    };
    ApiError::permission_denied(scope)
}

/// Returns the token of `authorization: Bearer …` (RFC 6750 §2.1), if there is exactly one.
fn bearer_token(headers: &HeaderMap) -> Option<SecretToken> {
    const SCHEME: &str = "bearer";
    let mut values = headers.get_all("authorization").iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| SecretToken::new(token.to_owned()))
}
