//! The flows of accounts at providers, with ID tokens and nonces that are recognised wherever they turn up.

use identity::proto::identity::v1::{LinkOAuthAccountRequest, SignInWithIdTokenRequest};
use serde_json::json;

use super::leakage_flows::{EMAIL, Trail};
use crate::support::issuer::{PROVIDER, shared_issuer};
use crate::support::{Clients, Test};

/// The nonce of every token.
const NONCE: &str = "Canary-Xq7-nonce-Zw9";

/// Signs in with ID tokens, good ones and bad ones, and links an account.
pub async fn present_id_tokens(t: &Test, clients: &Clients, trail: &mut Trail) {
    let issuer = shared_issuer();
    let mut good = issuer.claims_with_email(t, "canary", "canary.id9@example.com", true);
    good["nonce"] = json!(NONCE);
    let mut taken = good.clone();
    taken["sub"] = json!("other");
    taken["email"] = json!(EMAIL);
    let mut forged = good.clone();
    forged["aud"] = json!("other.example");
    let mut second = good.clone();
    second["sub"] = json!("second");
    let tokens = [&good, &taken, &forged].map(|claims| issuer.sign(claims));
    let cut = tokens[0][..tokens[0].len() - 8].to_owned();
    let mut user_id = String::new();
    for token in tokens.iter().chain([&cut]) {
        let request = SignInWithIdTokenRequest {
            provider: PROVIDER.to_owned(),
            id_token: token.clone(),
            nonce: NONCE.to_owned(),
            ..SignInWithIdTokenRequest::default()
        };
        let outcome = clients.auth().sign_in_with_id_token(request).await;
        if let Some(answer) = trail.note(outcome) {
            user_id = answer.user.expect("a user").id;
            trail.keep(answer.tokens);
        }
    }
    let second = issuer.sign(&second);
    let link = LinkOAuthAccountRequest {
        user_id,
        provider: PROVIDER.to_owned(),
        id_token: second.clone(),
        nonce: NONCE.to_owned(),
        request_id: "0190a6e1-7d5c-4abc-8def-0123456789ac".to_owned(),
        ..LinkOAuthAccountRequest::default()
    };
    trail.note(clients.oauth_accounts().link_o_auth_account(link).await);
    trail.id_tokens.extend(tokens);
    trail.id_tokens.extend([cut, second, NONCE.to_owned()]);
}
