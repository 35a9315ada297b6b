//! `IntrospectToken`: what is told of a good token, that nothing is told of any other, and how soon.

use chrono::TimeDelta;
use identity::proto::identity::v1::{
    BlockUserRequest, ChangePasswordRequest, Client, ConfirmPasswordResetRequest,
    CreatePasswordResetRequest, DeactivateUserRequest, DeleteUserRequest, IntrospectTokenResponse,
    RemovePasswordRequest, RevokeAllSessionsRequest, RevokeSessionRequest, SetPasswordRequest,
    SignInWithPasswordRequest, SignOutRequest, Tokens, UnblockUserRequest, User,
};
use prost::Message;
use uuid::Uuid;

use crate::support::{
    Backend, Behaviour, Clients, Forger, PASSWORD, Test, TestServer, bearing, behaviours, claims_of,
};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_good_token_tells_what_its_claims_say,
        t14_sign_out_ends_the_token_at_once_everywhere,
        t14_revoke_session_ends_the_token_at_once_everywhere,
        t14_revoke_all_sessions_ends_the_tokens_at_once_everywhere,
        t14_block_user_ends_the_tokens_at_once_everywhere,
        t14_deactivate_user_ends_the_tokens_at_once_everywhere,
        t14_delete_user_ends_the_tokens_at_once_everywhere,
        t14_set_password_ends_the_tokens_at_once_everywhere,
        t14_remove_password_ends_the_tokens_at_once_everywhere,
        t14_confirm_password_reset_ends_the_tokens_at_once_everywhere,
        t14_change_password_ends_every_other_session_at_once_everywhere,
        a_token_of_the_future_is_not_active_though_it_was_good_before,
        t14_tokens_of_others_go_on,
        t14_a_block_that_is_lifted_does_not_bring_tokens_back,
        t14_rows_changed_by_hand_are_seen_at_once,
        t16_of_anything_else_nothing_is_told,
        t16_what_cannot_be_a_token_is_a_mistake,
    ]
}

const OTHER_PASSWORD: &str = "a wholly different passphrase";

async fn a_good_token_tells_what_its_claims_say(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password("ada@example.com").await;
    for client_id in ["", "mobile-app"] {
        let request = SignInWithPasswordRequest {
            identifier: "ada@example.com".to_owned(),
            password: PASSWORD.to_owned(),
            client: Some(Client {
                client_id: client_id.to_owned(),
                ..Client::default()
            }),
        };
        let response = server.auth().sign_in_with_password(request).await.unwrap();
        let tokens = response.into_inner().tokens.unwrap();

        let answer = server.introspect(&tokens.access_token).await.unwrap();

        let claims = claims_of(&tokens.access_token);
        assert!(answer.active);
        assert_eq!(answer.user_id, user.id);
        assert_eq!(claims["sub"], answer.user_id);
        assert_eq!(answer.session_id, tokens.session_id);
        assert_eq!(claims["client_id"], answer.client_id);
        assert!(client_id.is_empty() || answer.client_id == client_id);
        assert_eq!(claims["jti"], answer.token_id);
        assert_eq!(claims["iat"], answer.issue_time.unwrap().seconds);
        assert_eq!(claims["exp"], answer.expire_time.unwrap().seconds);
        assert_eq!(answer.expire_time, tokens.access_token_expire_time);
    }
}

/// Two servers on one database, and a user with two sessions, one of them begun at each.
struct Scene {
    /// Where the change is made.
    here: TestServer,
    /// Where the tokens are looked at.
    there: TestServer,
    user: User,
    first: Tokens,
    second: Tokens,
}

impl Scene {
    async fn of(t: &Test) -> Self {
        let here = t.start().await;
        let there = t.start().await;
        let (user, first) = here.signed_in("ada@example.com").await;
        let second = there.sign_in("ada@example.com", PASSWORD).await.unwrap();
        let scene = Self {
            here,
            there,
            user,
            first,
            second,
        };
        for tokens in [&scene.first, &scene.second] {
            for server in scene.servers() {
                assert!(server.is_active(&tokens.access_token).await);
            }
        }
        scene
    }

    fn servers(&self) -> [&Clients; 2] {
        [&self.there, &self.here]
    }

    fn user_id(&self) -> String {
        self.user.id.clone()
    }

    /// Neither server takes either token, now and after any copy that a server keeps has been read again.
    async fn assert_both_ended(&self) {
        self.assert_ended(&self.first).await;
        self.assert_ended(&self.second).await;
    }

    async fn assert_ended(&self, tokens: &Tokens) {
        for server in self.servers() {
            let answer = server.introspect(&tokens.access_token).await.unwrap();
            assert_eq!(answer, IntrospectTokenResponse::default());
            let failure = server.get_me(&tokens.access_token).await.unwrap_err();
            assert_eq!(failure.reason(), "SESSION_ENDED");
            assert!(server.refresh(&tokens.refresh_token).await.is_err());
        }
    }

    async fn assert_goes_on(&self, tokens: &Tokens) {
        for server in self.servers() {
            assert!(server.is_active(&tokens.access_token).await);
        }
    }
}

async fn t14_sign_out_ends_the_token_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = |tokens: &Tokens, all_sessions| SignOutRequest {
        refresh_token: tokens.refresh_token.clone(),
        all_sessions,
    };

    let one = request(&scene.first, false);
    scene.here.auth().sign_out(one).await.unwrap();
    scene.assert_ended(&scene.first).await;
    scene.assert_goes_on(&scene.second).await;

    let third = scene.there.sign_in("ada@example.com", PASSWORD).await.unwrap();
    let all = request(&third, true);
    scene.here.auth().sign_out(all).await.unwrap();
    scene.assert_both_ended().await;
    scene.assert_ended(&third).await;
}

async fn t14_revoke_session_ends_the_token_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = RevokeSessionRequest {
        session_id: scene.first.session_id.clone(),
    };
    scene.here.sessions().revoke_session(request).await.unwrap();
    scene.assert_ended(&scene.first).await;
    scene.assert_goes_on(&scene.second).await;
}

async fn t14_revoke_all_sessions_ends_the_tokens_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = RevokeAllSessionsRequest {
        user_id: scene.user_id(),
    };
    scene.here.sessions().revoke_all_sessions(request).await.unwrap();
    scene.assert_both_ended().await;
}

async fn t14_block_user_ends_the_tokens_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = BlockUserRequest {
        user_id: scene.user_id(),
        ..BlockUserRequest::default()
    };
    scene.here.users().block_user(request).await.unwrap();
    scene.assert_both_ended().await;
}

async fn t14_deactivate_user_ends_the_tokens_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = DeactivateUserRequest {
        user_id: scene.user_id(),
        ..DeactivateUserRequest::default()
    };
    scene.here.users().deactivate_user(request).await.unwrap();
    scene.assert_both_ended().await;
}

async fn t14_delete_user_ends_the_tokens_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = DeleteUserRequest {
        user_id: scene.user_id(),
        ..DeleteUserRequest::default()
    };
    scene.here.users().delete_user(request).await.unwrap();
    scene.assert_both_ended().await;
}

async fn t14_set_password_ends_the_tokens_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = SetPasswordRequest {
        user_id: scene.user_id(),
        password: OTHER_PASSWORD.to_owned(),
        ..SetPasswordRequest::default()
    };
    scene.here.credentials().set_password(request).await.unwrap();
    scene.assert_both_ended().await;
    // Not a moment of those that follow is lost.
    let next = scene.there.sign_in("ada@example.com", OTHER_PASSWORD).await;
    scene.assert_goes_on(&next.unwrap()).await;
}

async fn t14_remove_password_ends_the_tokens_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    // The last way to sign in stays, so there is another one.
    t.begin_with_google().await;
    let request = RemovePasswordRequest {
        user_id: scene.user_id(),
        ..RemovePasswordRequest::default()
    };
    scene.here.credentials().remove_password(request).await.unwrap();
    scene.assert_both_ended().await;
}

async fn t14_confirm_password_reset_ends_the_tokens_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let asked = CreatePasswordResetRequest {
        user_id: scene.user_id(),
    };
    let reset = scene
        .there
        .credentials()
        .create_password_reset(asked)
        .await
        .unwrap();
    // Asking for it changes nothing.
    scene.assert_goes_on(&scene.first).await;
    let request = ConfirmPasswordResetRequest {
        token: reset.into_inner().token,
        new_password: OTHER_PASSWORD.to_owned(),
        ..ConfirmPasswordResetRequest::default()
    };
    scene
        .here
        .credentials()
        .confirm_password_reset(request)
        .await
        .unwrap();
    scene.assert_both_ended().await;
    let next = scene.there.sign_in("ada@example.com", OTHER_PASSWORD).await;
    scene.assert_goes_on(&next.unwrap()).await;
}

async fn t14_change_password_ends_every_other_session_at_once_everywhere(t: Test) {
    let scene = Scene::of(&t).await;
    let request = ChangePasswordRequest {
        current_password: PASSWORD.to_owned(),
        new_password: OTHER_PASSWORD.to_owned(),
        ..ChangePasswordRequest::default()
    };
    let call = bearing(&scene.second.access_token, request);
    scene.here.credentials().change_password(call).await.unwrap();

    scene.assert_ended(&scene.first).await;
    // The session of the caller goes on, with tokens from after the change.
    let next = scene.there.refresh(&scene.second.refresh_token).await.unwrap();
    scene.assert_goes_on(&next).await;
}

/// Its signature is remembered; what time it is is not.
async fn a_token_of_the_future_is_not_active_though_it_was_good_before(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    assert!(server.is_active(&tokens.access_token).await);

    server.clock.advance(TimeDelta::minutes(-1));
    assert!(!server.is_active(&tokens.access_token).await);

    server.clock.advance(TimeDelta::minutes(1));
    assert!(server.is_active(&tokens.access_token).await);
}

async fn t14_tokens_of_others_go_on(t: Test) {
    let scene = Scene::of(&t).await;
    let (_, bob) = scene.there.signed_in("bob@example.com").await;
    let request = DeleteUserRequest {
        user_id: scene.user_id(),
        ..DeleteUserRequest::default()
    };
    scene.here.users().delete_user(request).await.unwrap();
    scene.assert_goes_on(&bob).await;
}

async fn t14_a_block_that_is_lifted_does_not_bring_tokens_back(t: Test) {
    let scene = Scene::of(&t).await;
    let block = BlockUserRequest {
        user_id: scene.user_id(),
        ..BlockUserRequest::default()
    };
    scene.here.users().block_user(block).await.unwrap();
    let unblock = UnblockUserRequest {
        user_id: scene.user_id(),
        ..UnblockUserRequest::default()
    };
    scene.here.users().unblock_user(unblock).await.unwrap();
    scene.assert_both_ended().await;
    let next = scene.there.sign_in("ada@example.com", PASSWORD).await.unwrap();
    scene.assert_goes_on(&next).await;
}

/// Nothing about a session, its user or its key is remembered from the last time.
async fn t14_rows_changed_by_hand_are_seen_at_once(t: Test) {
    let scene = Scene::of(&t).await;
    let id = match t.backend {
        Backend::Sqlite => format!("x'{}'", scene.first.session_id.replace('-', "")),
        Backend::Postgres => format!("'{}'", scene.first.session_id),
    };
    t.sql(&format!("DELETE FROM sessions WHERE id = {id}"))
        .await
        .unwrap();
    scene.assert_ended(&scene.first).await;
    scene.assert_goes_on(&scene.second).await;
    t.sql("DELETE FROM signing_keys").await.unwrap();
    assert!(!scene.there.is_active(&scene.second.access_token).await);
}

async fn t16_of_anything_else_nothing_is_told(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let (_, ended) = server.signed_in("bob@example.com").await;
    let request = SignOutRequest {
        refresh_token: ended.refresh_token.clone(),
        all_sessions: false,
    };
    server.auth().sign_out(request).await.unwrap();
    let other_issuer = Forger::with_key_of_its_own().sign(&claims_of(&tokens.access_token));
    let live = server.introspect(&tokens.access_token).await.unwrap();
    assert!(live.encoded_len() > 100);

    let others = [
        "garbage",
        "a.b.c",
        " ",
        "\u{1f511}",
        &"x".repeat(4096),
        &Uuid::now_v7().to_string(),
        &tokens.refresh_token,
        &tokens.session_id,
        &ended.access_token,
        &other_issuer,
    ];
    for token in others {
        let answer = server.introspect(token).await.unwrap();
        assert_eq!((answer.active, answer.encoded_len()), (false, 0), "{token}");
    }
    server.clock.advance(TimeDelta::minutes(5));
    let expired = server.introspect(&tokens.access_token).await.unwrap();
    assert_eq!(expired.encoded_len(), 0);
}

async fn t16_what_cannot_be_a_token_is_a_mistake(t: Test) {
    let server = t.start().await;
    for (token, reason) in [
        (String::new(), "FIELD_REQUIRED"),
        ("x".repeat(4097), "VALUE_OUT_OF_RANGE"),
        ("x\0".to_owned(), "INVALID_FORMAT"),
    ] {
        let failure = server.introspect(&token).await.unwrap_err();
        assert_eq!(failure.fields(), [("token".to_owned(), reason.to_owned())]);
        assert!(token.is_empty() || !format!("{failure:?}").contains(&token));
    }
}
