//! Every flow of signing in, well and badly, with secrets that are recognised wherever they turn up.

use identity::proto::identity::v1::{
    BlockUserRequest, ChangePasswordRequest, ClearLockoutRequest, Client,
    ConfirmEmailVerificationRequest, ConfirmPasswordResetRequest, CreateEmailVerificationRequest,
    CreatePasswordResetRequest, GetLockoutRequest, GetMeRequest, GetPasswordStatusRequest,
    GetSessionRequest, IntrospectTokenRequest, ListLoginAttemptsRequest, ListSessionsRequest,
    ListUserEventsRequest, LoginAttemptFilter, RefreshTokensRequest, RemovePasswordRequest,
    RevokeAllSessionsRequest, RevokeSessionRequest, SetPasswordRequest, SignInWithPasswordRequest,
    SignOutRequest, SignUpRequest, Tokens, UnblockUserRequest, User, VerifyPasswordRequest,
    clear_lockout_request, get_lockout_request,
};
use prost::Message;
use tonic::{Response, Status};

use super::leakage::{PASSWORD, TOO_LONG, TOO_SHORT, WITH_NUL};
use super::raw::RawCall;
use crate::support::{Clients, Failure, bearing};

/// Passwords that follow the first one.
const CHANGED: &str = "Canary-Xq7!-changed-Zw9";
const RESET: &str = "Canary-Xq7!-reset-Zw9-too";
/// Passwords that nobody has.
const GUESSED: &str = "Canary-Xq7!-guessed-Zw9";
const TYPED_AS_NAME: &str = "Canary-Xq7!-typed-as-name";

/// The passwords that these flows use beside those of the flows of users.
pub const PASSWORDS: [&str; 4] = [CHANGED, RESET, GUESSED, TYPED_AS_NAME];

/// Who signs in; it may be logged nowhere, and is a label of no metric.
pub const EMAIL: &str = "canary.nq8x@example.com";

/// What calls have brought to light.
#[derive(Default)]
pub struct Trail {
    /// Why calls failed.
    pub failures: Vec<Failure>,
    /// The messages of those that succeeded.
    pub answers: Vec<Vec<u8>>,
    /// The tokens in them.
    pub tokens: Vec<String>,
    /// The ID tokens and the nonces that were presented.
    pub id_tokens: Vec<String>,
}

impl Trail {
    /// Notes how a call ended. Returns the message if it succeeded.
    pub fn note<M: Message>(&mut self, outcome: Result<Response<M>, Status>) -> Option<M> {
        match outcome {
            Ok(response) => {
                let message = response.into_inner();
                self.answers.push(message.encode_to_vec());
                Some(message)
            }
            Err(status) => {
                self.failures.push(Failure::from(status));
                None
            }
        }
    }

    /// Notes tokens that a call has brought to light.
    pub fn keep(&mut self, tokens: Option<Tokens>) -> Option<Tokens> {
        if let Some(tokens) = &tokens {
            self.tokens.push(tokens.access_token.clone());
            self.tokens.push(tokens.refresh_token.clone());
        }
        tokens
    }

    async fn sign_in(&mut self, clients: &Clients, identifier: &str, password: &str) -> Option<Tokens> {
        let request = SignInWithPasswordRequest {
            identifier: identifier.to_owned(),
            password: password.to_owned(),
            client: None,
        };
        let outcome = clients.auth().sign_in_with_password(request).await;
        let tokens = self.note(outcome).and_then(|answer| answer.tokens);
        self.keep(tokens)
    }

    async fn refresh(&mut self, clients: &Clients, refresh_token: &str) -> Option<Tokens> {
        let request = RefreshTokensRequest {
            refresh_token: refresh_token.to_owned(),
            client: None,
        };
        let outcome = clients.auth().refresh_tokens(request).await;
        let tokens = self.note(outcome).and_then(|answer| answer.tokens);
        self.keep(tokens)
    }

    async fn sign_out(&mut self, clients: &Clients, refresh_token: &str, all_sessions: bool) {
        let request = SignOutRequest {
            refresh_token: refresh_token.to_owned(),
            all_sessions,
        };
        self.note(clients.auth().sign_out(request).await);
    }

    /// Asks about an access token, and with it.
    async fn present(&mut self, clients: &Clients, access_token: &str) {
        let token = access_token.to_owned();
        self.note(
            clients
                .auth()
                .introspect_token(IntrospectTokenRequest { token })
                .await,
        );
        let request = bearing(access_token, GetMeRequest {});
        self.note(clients.auth().get_me(request).await);
    }
}

/// Calls every method of signing in, well and badly.
pub async fn sign_in_in_every_way(clients: &Clients) -> Trail {
    let mut trail = Trail::default();
    let user = sign_up(clients, &mut trail).await;
    present_passwords(clients, &mut trail).await;
    present_tokens(clients, &mut trail).await;
    change_passwords(clients, &mut trail, &user).await;
    use_one_time_tokens(clients, &mut trail, &user).await;
    be_kept_out(clients, &mut trail, &user).await;
    look_around(clients, &mut trail, &user).await;
    send_what_cannot_be_read(clients, &mut trail).await;
    trail
}

/// The same while the database is away, where most of it fails. The tokens are of whoever is signed in.
pub async fn sign_in_during_an_outage(clients: &Clients, trail: &mut Trail, tokens: &Tokens) {
    trail.sign_in(clients, EMAIL, RESET).await;
    trail.sign_in(clients, EMAIL, GUESSED).await;
    trail.sign_in(clients, TYPED_AS_NAME, PASSWORD).await;
    trail.present(clients, &tokens.access_token).await;
    trail.refresh(clients, &tokens.refresh_token).await;
    let confirm = ConfirmPasswordResetRequest {
        token: format!("ido_{}", "A".repeat(43)),
        new_password: GUESSED.to_owned(),
        ..ConfirmPasswordResetRequest::default()
    };
    trail.note(clients.credentials().confirm_password_reset(confirm).await);
}

/// Signs in with the last password that [`sign_in_in_every_way`] has left behind.
pub async fn sign_in_at_last(clients: &Clients, trail: &mut Trail) -> Tokens {
    trail.sign_in(clients, EMAIL, RESET).await.expect("tokens")
}

async fn sign_up(clients: &Clients, trail: &mut Trail) -> User {
    let request = |password: &str| SignUpRequest {
        user: Some(User {
            email: EMAIL.to_owned(),
            ..User::default()
        }),
        password: password.to_owned(),
        request_id: "0190a6e1-7d5c-4abc-8def-0123456789aa".to_owned(),
        ..SignUpRequest::default()
    };
    for password in [TOO_SHORT, TOO_LONG, WITH_NUL] {
        trail.note(clients.auth().sign_up(request(password)).await);
    }
    let first = trail.note(clients.auth().sign_up(request(PASSWORD)).await);
    let signed_up = first.expect("a user who has signed up");
    trail.keep(signed_up.tokens);
    // The same again, another request with the same id, and another request for the same email.
    let again = trail.note(clients.auth().sign_up(request(PASSWORD)).await);
    trail.keep(again.and_then(|answer| answer.tokens));
    trail.note(clients.auth().sign_up(request(GUESSED)).await);
    let mut taken = request(GUESSED);
    taken.request_id.clear();
    trail.note(clients.auth().sign_up(taken).await);
    signed_up.user.expect("a user")
}

async fn present_passwords(clients: &Clients, trail: &mut Trail) {
    for password in [GUESSED, TOO_LONG, WITH_NUL, PASSWORD] {
        trail.sign_in(clients, EMAIL, password).await;
    }
    // A password in the field of the login name, until it is locked.
    for _ in 0..6 {
        trail.sign_in(clients, TYPED_AS_NAME, GUESSED).await;
    }
    trail.sign_in(clients, WITH_NUL, PASSWORD).await;
    let misplaced = SignInWithPasswordRequest {
        identifier: EMAIL.to_owned(),
        password: PASSWORD.to_owned(),
        client: Some(Client {
            ip_address: PASSWORD.to_owned(),
            user_agent: WITH_NUL.to_owned(),
            client_id: PASSWORD.to_owned(),
        }),
    };
    trail.note(clients.auth().sign_in_with_password(misplaced).await);
}

async fn present_tokens(clients: &Clients, trail: &mut Trail) {
    let first = trail.sign_in(clients, EMAIL, PASSWORD).await.expect("tokens");
    trail.present(clients, &first.access_token).await;
    // Cut, lengthened, and each in the place of the other.
    let cut = &first.access_token[..first.access_token.len() - 1];
    for token in [cut, &first.refresh_token, PASSWORD] {
        trail.present(clients, token).await;
    }
    let longer = format!("{}A", first.refresh_token);
    for token in [&longer, &first.access_token, PASSWORD] {
        trail.refresh(clients, token).await;
        trail.sign_out(clients, token, false).await;
    }
    for token in [&first.access_token, &first.refresh_token] {
        // With a blank after it, so that the digest of what was typed, which is listed, is not that of the token.
        trail.sign_in(clients, &format!("{token} "), token).await;
        let session_id = token.clone();
        trail.note(
            clients
                .sessions()
                .get_session(GetSessionRequest { session_id })
                .await,
        );
    }
    // Exchanged, repeated, exchanged again, and then used once more.
    let second = trail
        .refresh(clients, &first.refresh_token)
        .await
        .expect("tokens");
    trail
        .refresh(clients, &first.refresh_token)
        .await
        .expect("tokens");
    let third = trail
        .refresh(clients, &second.refresh_token)
        .await
        .expect("tokens");
    trail.refresh(clients, &first.refresh_token).await;
    trail.refresh(clients, &third.refresh_token).await;
    trail.present(clients, &third.access_token).await;

    for all_sessions in [false, true] {
        let tokens = trail.sign_in(clients, EMAIL, PASSWORD).await.expect("tokens");
        trail.sign_out(clients, &tokens.refresh_token, all_sessions).await;
        trail.sign_out(clients, &tokens.refresh_token, all_sessions).await;
        trail.refresh(clients, &tokens.refresh_token).await;
        trail.present(clients, &tokens.access_token).await;
    }
    trail.note(clients.auth().get_me(GetMeRequest {}).await);
}

async fn change_passwords(clients: &Clients, trail: &mut Trail, user: &User) {
    let mut credentials = clients.credentials();
    let set = |password: &str, etag: &str| SetPasswordRequest {
        user_id: user.id.clone(),
        password: password.to_owned(),
        etag: etag.to_owned(),
        ..SetPasswordRequest::default()
    };
    for password in [TOO_SHORT, TOO_LONG, WITH_NUL] {
        trail.note(credentials.set_password(set(password, "")).await);
    }
    trail.note(credentials.set_password(set(GUESSED, PASSWORD)).await);
    trail.note(credentials.set_password(set(PASSWORD, "")).await);

    let tokens = trail.sign_in(clients, EMAIL, PASSWORD).await.expect("tokens");
    for (current, new) in [
        (GUESSED, CHANGED),
        (PASSWORD, PASSWORD),
        (PASSWORD, TOO_SHORT),
        (PASSWORD, CHANGED),
    ] {
        let change = ChangePasswordRequest {
            current_password: current.to_owned(),
            new_password: new.to_owned(),
            ..ChangePasswordRequest::default()
        };
        trail.note(credentials.change_password(change.clone()).await);
        let request = bearing(&tokens.access_token, change);
        trail.note(credentials.change_password(request).await);
    }
    for (user_id, password) in [
        (user.id.as_str(), CHANGED),
        (&user.id, GUESSED),
        (PASSWORD, CHANGED),
    ] {
        let verify = VerifyPasswordRequest {
            user_id: user_id.to_owned(),
            password: password.to_owned(),
            client: None,
        };
        trail.note(credentials.verify_password(verify).await);
    }
    let user_id = user.id.clone();
    trail.note(
        credentials
            .get_password_status(GetPasswordStatusRequest { user_id })
            .await,
    );
    let remove = RemovePasswordRequest {
        user_id: user.id.clone(),
        ..RemovePasswordRequest::default()
    };
    trail.note(credentials.remove_password(remove).await);
}

async fn use_one_time_tokens(clients: &Clients, trail: &mut Trail, user: &User) {
    let mut credentials = clients.credentials();
    let reset = CreatePasswordResetRequest {
        user_id: user.id.clone(),
    };
    let superseded = trail.note(credentials.create_password_reset(reset.clone()).await);
    let current = trail.note(credentials.create_password_reset(reset).await);
    let [superseded, current] = [superseded, current].map(|answer| answer.expect("a token").token);
    let verification = CreateEmailVerificationRequest {
        user_id: user.id.clone(),
    };
    let answer = trail.note(credentials.create_email_verification(verification).await);
    let of_email = answer.expect("a token").token;
    trail
        .tokens
        .extend([superseded.clone(), current.clone(), of_email.clone()]);

    for (token, new_password) in [
        (&superseded, GUESSED),
        (&of_email, GUESSED),
        (&current, TOO_SHORT),
        (&current, RESET),
        (&current, GUESSED),
        (&PASSWORD.to_owned(), GUESSED),
    ] {
        let confirm = ConfirmPasswordResetRequest {
            token: token.clone(),
            new_password: new_password.to_owned(),
            ..ConfirmPasswordResetRequest::default()
        };
        trail.note(credentials.confirm_password_reset(confirm).await);
    }
    for token in [&current, &of_email, &of_email, &PASSWORD.to_owned()] {
        let confirm = ConfirmEmailVerificationRequest {
            token: token.clone(),
            request_id: String::new(),
        };
        trail.note(credentials.confirm_email_verification(confirm).await);
    }
}

async fn be_kept_out(clients: &Clients, trail: &mut Trail, user: &User) {
    let tokens = trail.sign_in(clients, EMAIL, RESET).await.expect("tokens");
    let user_id = || user.id.clone();
    let block = BlockUserRequest {
        user_id: user_id(),
        ..BlockUserRequest::default()
    };
    trail.note(clients.users().block_user(block).await);
    for password in [RESET, GUESSED] {
        trail.sign_in(clients, EMAIL, password).await;
    }
    trail.refresh(clients, &tokens.refresh_token).await;
    trail.present(clients, &tokens.access_token).await;
    let unblock = UnblockUserRequest {
        user_id: user_id(),
        ..UnblockUserRequest::default()
    };
    trail.note(clients.users().unblock_user(unblock).await);
}

/// Reads and ends sessions, attempts and lockouts, with secrets in the wrong places.
async fn look_around(clients: &Clients, trail: &mut Trail, user: &User) {
    let tokens = trail.sign_in(clients, EMAIL, RESET).await.expect("tokens");
    for page_token in ["", PASSWORD, &tokens.refresh_token] {
        let sessions = ListSessionsRequest {
            user_id: user.id.clone(),
            include_ended: true,
            page_token: page_token.to_owned(),
            ..ListSessionsRequest::default()
        };
        trail.note(clients.sessions().list_sessions(sessions).await);
        let attempts = ListLoginAttemptsRequest {
            page_token: page_token.to_owned(),
            ..ListLoginAttemptsRequest::default()
        };
        trail.note(clients.security().list_login_attempts(attempts).await);
        let events = ListUserEventsRequest {
            page_size: 100,
            page_token: page_token.to_owned(),
            ..ListUserEventsRequest::default()
        };
        trail.note(clients.security().list_user_events(events).await);
    }
    for user_id in ["", PASSWORD] {
        let filter = LoginAttemptFilter {
            identifier: TYPED_AS_NAME.to_owned(),
            user_id: user_id.to_owned(),
            ..LoginAttemptFilter::default()
        };
        let attempts = ListLoginAttemptsRequest {
            filter: Some(filter),
            ..ListLoginAttemptsRequest::default()
        };
        trail.note(clients.security().list_login_attempts(attempts).await);
    }
    let get = GetLockoutRequest {
        subject: Some(get_lockout_request::Subject::Identifier(TYPED_AS_NAME.to_owned())),
    };
    trail.note(clients.security().get_lockout(get).await);
    let clear = ClearLockoutRequest {
        subject: Some(clear_lockout_request::Subject::Identifier(
            TYPED_AS_NAME.to_owned(),
        )),
    };
    trail.note(clients.security().clear_lockout(clear).await);
    for session_id in [&tokens.session_id, &tokens.access_token] {
        let session_id = session_id.clone();
        trail.note(
            clients
                .sessions()
                .revoke_session(RevokeSessionRequest { session_id })
                .await,
        );
    }
    for user_id in [&user.id, &tokens.refresh_token] {
        let user_id = user_id.clone();
        let revoke = RevokeAllSessionsRequest { user_id };
        trail.note(clients.sessions().revoke_all_sessions(revoke).await);
    }
}

/// Secrets next to bytes that are no text, in the path, and in headers that are not as they should be.
async fn send_what_cannot_be_read(clients: &Clients, trail: &mut Trail) {
    let tokens = trail.sign_in(clients, EMAIL, RESET).await.expect("tokens");
    let mut message = RefreshTokensRequest {
        refresh_token: tokens.refresh_token.clone(),
        client: None,
    }
    .encode_to_vec();
    message.extend([3 << 3 | 2, 1, 0xff]);
    message.extend([1 << 3 | 2, 1, 0xff]);
    let method = "/identity.v1.AuthService/RefreshTokens";
    let with_query = format!("{method}?{}", tokens.refresh_token);
    for path in [method, &with_query] {
        let outcome = RawCall::new(path, &message).send(clients).await;
        trail.failures.extend(outcome.err());
    }
    let access_token = &tokens.access_token;
    for value in [
        access_token.clone(),
        format!("Basic {PASSWORD}"),
        format!("Bearer {access_token} {access_token}"),
        format!("bearer  {access_token}"),
        format!("Bearer {}", tokens.refresh_token),
    ] {
        let call = RawCall::new("/identity.v1.AuthService/GetMe", &[]).header("authorization", &value);
        trail.failures.extend(call.send(clients).await.err());
    }
    let twice = format!("Bearer {access_token}");
    let call = RawCall::new("/identity.v1.AuthService/GetMe", &[])
        .header("authorization", &twice)
        .header("authorization", &twice);
    trail.failures.extend(call.send(clients).await.err());
}
