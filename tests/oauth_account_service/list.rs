//! `ListOAuthAccounts`: pages of the accounts of one user, and looking users up by them.

use identity::proto::identity::v1::export_user_response::Item;
use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::{
    ExportUserRequest, ListOAuthAccountsRequest, LookupOAuthAccount, LookupUserRequest, User,
};
use tonic::Code;

use super::calls::{enter, link, list};
use crate::support::issuer::{PROVIDER, with_shared_issuer};
use crate::support::{AUTH, Behaviour, Clients, Failure, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed, assert_refused};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        accounts_are_listed_in_pages_the_oldest_first,
        g01_a_page_token_is_of_one_user,
        a03_users_see_their_own_accounts_only,
        users_are_looked_up_by_provider_and_subject,
        an_export_of_a_user_has_the_accounts,
    ]
}

async fn page(
    clients: &Clients,
    user_id: &str,
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<String>, String), Failure> {
    let request = ListOAuthAccountsRequest {
        user_id: user_id.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let response = clients.oauth_accounts().list_o_auth_accounts(request).await?;
    let response = response.into_inner();
    let subjects = response.accounts.into_iter().map(|account| account.subject);
    Ok((subjects.collect(), response.next_page_token))
}

async fn accounts_are_listed_in_pages_the_oldest_first(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_user("ada@example.com").await;
    let other = server.create_user("bob@example.com").await;
    link(&t, &server, &other.id, "other").await.unwrap();
    let subjects: Vec<String> = (0..5).map(|number| format!("s{number}")).collect();
    for subject in &subjects {
        link(&t, &server, &user.id, subject).await.unwrap();
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next) = page(&server, &user.id, 2, &token).await.unwrap();
        assert!(page.len() <= 2);
        found.extend(page);
        token = next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, subjects);
    assert!(list(&server, NOBODY).await.unwrap().is_empty());
    assert_refused(
        page(&server, &user.id, -1, "").await,
        "page_size",
        "VALUE_OUT_OF_RANGE",
    );
}

async fn g01_a_page_token_is_of_one_user(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_user("ada@example.com").await;
    for subject in ["1", "2"] {
        link(&t, &server, &user.id, subject).await.unwrap();
    }
    let (_, token) = page(&server, &user.id, 1, "").await.unwrap();
    page(&server, &user.id.to_uppercase(), 1, &token).await.unwrap();
    for (user_id, wrong) in [(NOBODY, token.as_str()), (user.id.as_str(), "made-up")] {
        let outcome = page(&server, user_id, 1, wrong).await;
        assert_refused(outcome, "page_token", "INVALID_PAGE_TOKEN");
    }
}

async fn a03_users_see_their_own_accounts_only(t: Test) {
    let server = t
        .start_with(&[with_shared_issuer().as_slice(), &[AUTH]].concat())
        .await;
    let service = server.with_token(&t.service_token("todo", &["admin"]).await);
    let (ada, tokens) = service.signed_in("ada@example.com").await;
    let bob = service.create_user("bob@example.com").await;
    link(&t, &service, &bob.id, "1").await.unwrap();
    let as_ada = server.with_token(&tokens.access_token);
    assert!(list(&as_ada, &ada.id).await.unwrap().is_empty());
    for id in [bob.id.as_str(), NOBODY] {
        assert_failed(list(&as_ada, id).await, Code::NotFound, "USER_NOT_FOUND");
    }
}

async fn users_are_looked_up_by_provider_and_subject(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = enter(&t, &server, "s|1").await.unwrap();
    let lookup = async |provider: &str, subject: &str| -> Result<User, Failure> {
        let account = LookupOAuthAccount {
            provider: provider.to_owned(),
            subject: subject.to_owned(),
        };
        let request = LookupUserRequest {
            identifier: Some(Identifier::OauthAccount(account)),
        };
        let response = server.users().lookup_user(request).await?;
        Ok(response.into_inner().user.expect("a user"))
    };
    assert_eq!(lookup(PROVIDER, "s|1").await.unwrap(), user);
    for (provider, subject) in [
        (PROVIDER, "S|1"),
        (PROVIDER, "s|"),
        ("google", "s|1"),
        ("apple", "s|1"),
    ] {
        assert_failed(lookup(provider, subject).await, Code::NotFound, "USER_NOT_FOUND");
    }
    assert_refused(
        lookup("nobody", "1").await,
        "oauth_account.provider",
        "INVALID_FORMAT",
    );
    assert_refused(lookup("", "1").await, "oauth_account.provider", "FIELD_REQUIRED");
    assert_refused(
        lookup(PROVIDER, "").await,
        "oauth_account.subject",
        "FIELD_REQUIRED",
    );
    assert_refused(
        lookup(PROVIDER, "\u{e9}").await,
        "oauth_account.subject",
        "INVALID_FORMAT",
    );
}

async fn an_export_of_a_user_has_the_accounts(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = enter(&t, &server, "s1").await.unwrap();
    link(&t, &server, &user.id, "s2").await.unwrap();
    let request = ExportUserRequest {
        user_id: user.id.clone(),
    };
    let mut stream = server.users().export_user(request).await.unwrap().into_inner();
    let mut subjects = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(Item::OauthAccount(account)) = response.item {
            assert_eq!(account.user_id, user.id);
            subjects.push(account.subject);
        }
    }
    assert_eq!(subjects, ["s1", "s2"]);
}
