//! What a sign-in writes, all of it or nothing.

use super::request_ids::{self, Claim};
use super::{Connection, lock_user, lockouts, login_attempts, sessions, users};
use crate::database::DatabaseError;
use crate::domain::{Command, NewSignUp, Refusal, SignInDecision, SignUpDecision, VerifiedSignIn};

/// Begins the session of a user whose password is right, unless the user is kept out.
pub(crate) async fn complete(
    tx: &mut Connection,
    sign_in: &VerifiedSignIn,
) -> Result<SignInDecision, DatabaseError> {
    let VerifiedSignIn {
        token,
        verified,
        attempt,
        reservation,
        policy,
        now,
    } = sign_in;
    let user_id = token.session.user_id;
    let user = lock_user(tx, user_id).await?;
    // The password was right a moment ago; it may have been changed, or the user deleted, meanwhile.
    let Some(user) = user.filter(|user| user.still_has(verified)) else {
        return Ok(SignInDecision::Refused(Refusal::InvalidCredentials));
    };
    if let Err(refusal) = user.check_state() {
        login_attempts::insert_kept_out(tx, attempt, &user).await?;
        // A right password is not a guess.
        lockouts::release(tx, &(*reservation, *now)).await?;
        return Ok(SignInDecision::Refused(refusal));
    }
    sessions::begin(tx, token).await?;
    sessions::make_room(tx, &token.session, policy.max_per_user, *now).await?;
    login_attempts::insert(tx, attempt).await?;
    lockouts::succeed(tx, &(*reservation, *now)).await?;
    Ok(SignInDecision::SignedIn(Box::new(user)))
}

/// Creates a user and begins the first session, once per request id.
pub(crate) async fn sign_up(
    tx: &mut Connection,
    command: &Command<NewSignUp>,
) -> Result<SignUpDecision, DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    let NewSignUp {
        user,
        token,
        attempt,
        counted,
    } = value;
    if let Claim::Done(id) = request_ids::claim(tx, request.as_ref(), user.id).await? {
        return Ok(SignUpDecision::Repeated(id));
    }
    let created = users::insert(tx, user, origin).await?;
    sessions::begin(tx, token).await?;
    login_attempts::insert(tx, attempt).await?;
    let reservation = lockouts::reserve(tx, counted).await?;
    lockouts::succeed(tx, &(reservation, counted.now)).await?;
    Ok(SignUpDecision::SignedUp(Box::new(created)))
}
