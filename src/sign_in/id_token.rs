//! Signing in with an ID token.

use super::{Authenticator, SignInError, SignedIn};
use crate::domain::{
    Client, Command, Email, ExternalIdentity, IdTokenDecision, IdTokenSignIn, LoginFailure,
    MissingFields, NewLinkedUser, NewLoginAttempt, NewRefreshToken, NewUser, Origin, Profile, Session,
    SignInMethod, Stranger, UserId,
};
use crate::id_tokens::Provider;

/// An ID token that somebody presents.
#[derive(Clone)]
pub struct IdTokenAttempt {
    /// Who is said to have issued it.
    pub provider: Provider,
    /// The token.
    pub token: crate::tokens::SecretToken,
    /// The nonce that it must have.
    pub nonce: Option<String>,
    /// Where it comes from.
    pub client: Client,
    /// What is known about the person beside what the token says.
    pub profile: Profile,
    /// Who calls.
    pub origin: Origin,
}

/// Somebody who is signed in with an ID token.
#[derive(Debug, Clone)]
pub struct SignedInWithIdToken {
    /// The user and the tokens.
    pub signed_in: SignedIn,
    /// Whether the user was created.
    pub is_new: bool,
}

impl Authenticator {
    /// Signs in whoever an ID token is about.
    pub async fn sign_in_with_id_token(
        &self,
        attempt: IdTokenAttempt,
    ) -> Result<SignedInWithIdToken, SignInError> {
        let outcome = self.try_id_token(attempt).await;
        self.0.metrics.count_sign_in(&outcome);
        outcome
    }

    async fn try_id_token(&self, attempt: IdTokenAttempt) -> Result<SignedInWithIdToken, SignInError> {
        let IdTokenAttempt {
            provider,
            token,
            nonce,
            client,
            profile,
            origin,
        } = attempt;
        let received_at = self.0.clock.now();
        let identity = provider
            .verify(token.reveal(), nonce.as_deref(), received_at)
            .await?;
        let now = self.0.clock.now();
        let (new_profile, missing) = self.new_profile(profile, &identity);
        let new_id = UserId::generate(now);
        let policy = self.0.session_policy;
        let mut session = Session::begin(new_id, SignInMethod::IdToken, client.clone(), policy, now);
        session.provider = Some(identity.provider.kind());
        let (_, token_hash) = self.0.refresh_tokens.issue(session.id, session.generation);
        let sign_in = IdTokenSignIn {
            stranger: if !self.0.provider_sign_up {
                Stranger::Refused
            } else if missing.is_none() {
                Stranger::Created(Box::new(new_user(new_id, new_profile, &identity, now)))
            } else {
                Stranger::Incomplete
            },
            token: NewRefreshToken {
                session: session.clone(),
                token_hash,
                client: client.clone(),
                created_at: now,
            },
            attempt: NewLoginAttempt {
                user_id: None,
                identifier: None,
                client,
                method: SignInMethod::IdToken,
                failure: None::<LoginFailure>,
                attempted_at: now,
            },
            identity,
            policy,
            now,
        };
        // On the heap: what a transaction keeps while it runs is a lot to carry along.
        let deciding = Box::pin(self.0.oauth_accounts.sign_in(Command::new(sign_in, origin)));
        match deciding.await? {
            IdTokenDecision::SignedIn { user, is_new } => {
                session.user_id = user.id;
                Ok(SignedInWithIdToken {
                    signed_in: SignedIn {
                        user: *user,
                        tokens: self.tokens(session, now)?,
                    },
                    is_new,
                })
            }
            IdTokenDecision::Refused(refusal) => Err(refusal.into()),
            IdTokenDecision::Incomplete => Err(SignInError::ProfileIncomplete(missing)),
        }
    }

    /// Returns the profile of the user that an account would begin, and what it lacks.
    fn new_profile(&self, given: Profile, identity: &ExternalIdentity) -> (Profile, MissingFields) {
        let email: Option<Email> = identity.verified_email().map(|claimed| claimed.email.clone());
        let profile = Profile {
            email,
            full_name: given.full_name.or_else(|| identity.full_name.clone()),
            ..given
        };
        let missing = MissingFields::find(&self.0.required_fields, |field| profile.has(field));
        (profile, missing)
    }
}

/// Returns the user that an account begins. The address counts as verified only if it is the provider's to say.
fn new_user(
    id: UserId,
    profile: Profile,
    identity: &ExternalIdentity,
    now: chrono::DateTime<chrono::Utc>,
) -> NewLinkedUser {
    let is_sure = |claimed: &crate::domain::ClaimedEmail| claimed.is_authoritative;
    NewLinkedUser {
        email_verified_at: identity.verified_email().is_some_and(is_sure).then_some(now),
        user: NewUser {
            id,
            profile,
            password_hash: None,
            created_at: now,
        },
        identity: identity.clone(),
    }
}
