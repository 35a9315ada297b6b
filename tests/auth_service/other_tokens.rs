//! What is no access token, though it is one of another kind, and what is far too long to be one.

use identity::proto::identity::v1::{
    CreateEmailVerificationRequest, CreatePasswordResetRequest, GetMeRequest, IntrospectTokenRequest,
    SignOutRequest,
};
use serde_json::json;
use tonic::Code;

use super::forged_tokens::assert_invalid;
use crate::support::{
    Behaviour, Clients, Failure, Forger, Test, bearing, behaviours, claims_of, eventually,
};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        t08_other_tokens_of_the_service_are_no_access_tokens,
        t11_mutilated_refresh_tokens_are_refused,
        t13_huge_tokens_are_refused_before_they_are_looked_at,
    ]
}

async fn t08_other_tokens_of_the_service_are_no_access_tokens(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in("ada@example.com").await;
    let reset = CreatePasswordResetRequest {
        user_id: user.id.clone(),
    };
    let reset = server.credentials().create_password_reset(reset).await.unwrap();
    let verification = CreateEmailVerificationRequest { user_id: user.id };
    let verification = server
        .credentials()
        .create_email_verification(verification)
        .await
        .unwrap();

    for token in [
        &tokens.refresh_token,
        &tokens.session_id,
        &reset.into_inner().token,
        &verification.into_inner().token,
    ] {
        assert_invalid(&server, token).await;
    }
    // Nor the other way round.
    let failure = server.refresh(&tokens.access_token).await.unwrap_err();
    assert_eq!(failure.reason(), "TOKEN_INVALID");
    assert!(server.is_active(&tokens.access_token).await);
}

async fn t11_mutilated_refresh_tokens_are_refused(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.refresh_token.as_str();

    let mut mutilated: Vec<String> = (1..token.len())
        .map(|length| token[..length].to_owned())
        .collect();
    mutilated.extend((1..token.len()).map(|start| token[start..].to_owned()));
    for suffix in ["A", "=", ".", " ", "\n", "AAAA", token] {
        mutilated.push(format!("{token}{suffix}"));
        mutilated.push(format!("{suffix}{token}"));
    }
    mutilated.push(token.to_uppercase());
    mutilated.push(token.replacen("idr_", "ido_", 1));
    mutilated.push("idr_".to_owned());
    for (index, character) in token.char_indices() {
        let replaced = if character == 'A' { 'B' } else { 'A' };
        mutilated.push(format!("{}{replaced}{}", &token[..index], &token[index + 1..]));
    }
    for text in &mutilated {
        let failure = server.refresh(text).await.expect_err(text);
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::Unauthenticated, "TOKEN_INVALID"),
            "{text}"
        );
        let request = SignOutRequest {
            refresh_token: text.clone(),
            all_sessions: true,
        };
        let sign_out = Failure::from(server.auth().sign_out(request).await.expect_err(text));
        assert_eq!(sign_out.reason(), "TOKEN_INVALID", "{text}");
    }
    // None of it counted as a second use.
    assert!(server.is_active(&tokens.access_token).await);
    server.refresh(token).await.unwrap();
}

async fn t13_huge_tokens_are_refused_before_they_are_looked_at(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let forger = Forger::with_key_of_service(&t).await;
    let signed_with = |padding: usize| {
        let mut claims = claims_of(&tokens.access_token);
        claims["padding"] = json!("p".repeat(padding));
        forger.sign(&claims)
    };

    // The longest that is looked at has 4096 bytes.
    let longest = (1..4096)
        .rev()
        .map(signed_with)
        .find(|token| token.len() <= 4096)
        .unwrap();
    assert!(longest.len() > 4090 && server.is_active(&longest).await);
    for token in [signed_with(3600), signed_with(64 * 1024), "x".repeat(4097)] {
        let failure = server.introspect(&token).await.unwrap_err();
        assert_eq!(
            failure.fields(),
            [("token".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())]
        );
        assert_eq!(failure.metadata("limit").as_deref(), Some("4096"));
    }
    assert_invalid_in_metadata(&server, &signed_with(3600)).await;

    let request = IntrospectTokenRequest {
        token: "x".repeat(8 << 20),
    };
    let failure = Failure::from(server.auth().introspect_token(request).await.unwrap_err());
    assert_eq!(failure.code(), Code::ResourceExhausted, "{failure:?}");
    // Metadata of this size is refused before there is a call.
    for size in [64 * 1024, 1 << 20] {
        let call = bearing(&"x".repeat(size), GetMeRequest {});
        server.auth().get_me(call).await.unwrap_err();
    }
    // The connection may be on its way out, of which this client tells its next caller.
    eventually("the token is good on another connection", async || {
        let outcome = server.introspect(&tokens.access_token).await;
        outcome.is_ok_and(|answer| answer.active)
    })
    .await;
}

async fn assert_invalid_in_metadata(server: &Clients, token: &str) {
    let failure = server.get_me(token).await.unwrap_err();
    assert_eq!(failure.reason(), "TOKEN_INVALID");
}
