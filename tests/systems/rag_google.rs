//! The RAG administration tool: users who began with a Google account.

use identity::clock::{Clock, SystemClock};
use identity::domain::{
    AccountKey, AuthProvider, Command, ExternalIdentity, ListOAuthAccounts, NewLinkedUser, ProviderName,
    Refusal, Subject, UserId,
};
use identity::id_tokens::GOOGLE_ISSUER;
use identity::repositories::{OAuthAccountRepository, UserRepository};

use super::rag::CONFIGURATION;
use super::repository::{database, new_named, refusal, repository, without_request_id};
use super::rows::insert_by_hand;
use super::{columns, index_names, migrate};
use crate::session_service::calls::id_in_sql;
use crate::support::{Backend, Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        rag_01_a_google_id_is_unique_and_indexed,
        rag_02_an_account_that_began_with_a_provider_has_a_linked_account,
        rag_06_rag_09_users_are_created_and_found_by_google_id,
        rag_09_a_google_id_is_one_users,
    ]
}

/// A user to create who began with a Google account.
fn new_with_google(email: &str, google_id: &str) -> Command<NewLinkedUser> {
    let user = new_named(email).value;
    without_request_id(NewLinkedUser {
        user,
        email_verified_at: None,
        identity: ExternalIdentity {
            provider: ProviderName::parse("google").unwrap(),
            key: AccountKey {
                issuer: GOOGLE_ISSUER.to_owned(),
                subject: subject(google_id),
            },
            email: None,
            full_name: None,
        },
    })
}

fn subject(text: &str) -> Subject {
    Subject::parse(text).unwrap()
}

async fn repositories(t: &Test) -> (UserRepository, OAuthAccountRepository) {
    let users = repository(t, CONFIGURATION).await;
    (users, OAuthAccountRepository::new(database(t, CONFIGURATION)))
}

async fn rag_01_a_google_id_is_unique_and_indexed(t: Test) {
    migrate(&t, &["up"]).await;
    let (id, time) = match t.backend {
        Backend::Postgres => ("uuid", "timestamptz"),
        Backend::Sqlite => ("blob", "integer"),
    };
    let found = columns(&t, "oauth_accounts").await;
    for column in [
        format!("user_id {id} NO"),
        "provider text NO".to_owned(),
        "issuer text NO".to_owned(),
        "subject text NO".to_owned(),
        format!("last_sign_in_at {time} YES"),
        format!("created_at {time} NO"),
        format!("updated_at {time} NO"),
    ] {
        assert!(found.contains(&column), "{column} in {found:?}");
    }
    let indexes = index_names(&t, "oauth_accounts").await;
    for index in ["oauth_accounts_subject_key", "oauth_accounts_user_id_idx"] {
        assert!(indexes.contains(&index.to_owned()), "{index} in {indexes:?}");
    }
}

async fn rag_02_an_account_that_began_with_a_provider_has_a_linked_account(t: Test) {
    let (users, accounts) = repositories(&t).await;
    users.create(new_named("invited@example.com")).await.unwrap();
    for provider in ["google", "apple", "oidc"] {
        let values = format!("'eve@example.com', 'eve@example.com', '{provider}'");
        let inserted = insert_by_hand(&t, "email, email_normalized, auth_provider", &values).await;
        let error = inserted.expect_err(provider);
        assert!(error.contains("users_credential_check"), "{provider}: {error}");
        let updated = t
            .sql(&format!("UPDATE users SET auth_provider = '{provider}'"))
            .await;
        let refusal = updated.expect_err(provider);
        assert!(
            refusal.contains("users_credential_check"),
            "{provider}: {refusal}"
        );
    }
    let ada = accounts
        .create_user(new_with_google("ada@example.com", "1"))
        .await
        .unwrap();
    let id = id_in_sql(&t, &ada.id.to_string());
    let error = t
        .sql(&format!("DELETE FROM oauth_accounts WHERE user_id = {id}"))
        .await
        .unwrap_err();
    assert!(error.contains("users_credential_check"), "{error}");
    // An account is nobody's without a user.
    let orphan = match t.backend {
        Backend::Postgres => "gen_random_uuid()",
        Backend::Sqlite => "randomblob(16)",
    };
    t.sql(&format!("UPDATE oauth_accounts SET user_id = {orphan}"))
        .await
        .unwrap_err();
    // With the user, everything goes.
    t.sql(&format!("DELETE FROM users WHERE id = {id}"))
        .await
        .unwrap();
    let left = "SELECT count(*) AS value FROM oauth_accounts";
    assert_eq!(t.sql_value(left).await.as_deref(), Some("0"));
}

async fn rag_06_rag_09_users_are_created_and_found_by_google_id(t: Test) {
    let (users, accounts) = repositories(&t).await;
    let google_id = subject("110169484474386276334");
    assert_eq!(users.get_by_google_id(&google_id).await.unwrap(), None);

    let created = accounts
        .create_user(new_with_google("ada@example.com", google_id.as_str()))
        .await
        .unwrap();

    assert_eq!(created.auth_provider, Some(AuthProvider::Google));
    assert_eq!(created.password_hash, None);
    let found = users.get_by_google_id(&google_id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&created));
    assert_eq!(users.get_by_id(created.id).await.unwrap(), created);
    assert_eq!(
        users
            .get_by_google_id(&subject("1101694844743862763340"))
            .await
            .unwrap(),
        None
    );
    let list = ListOAuthAccounts {
        user_id: created.id,
        after: None,
        limit: 10,
    };
    assert_eq!(accounts.list(list).await.unwrap().len(), 1);
}

async fn rag_09_a_google_id_is_one_users(t: Test) {
    let (users, accounts) = repositories(&t).await;
    let ada = accounts
        .create_user(new_with_google("ada@example.com", "1"))
        .await
        .unwrap();
    for (email, google_id, expected) in [
        ("bob@example.com", "1", Refusal::IdentityTaken),
        ("ADA@example.com", "2", Refusal::EmailTaken),
    ] {
        let error = accounts
            .create_user(new_with_google(email, google_id))
            .await
            .unwrap_err();
        assert_eq!(refusal(&error), Some(expected), "{email}");
    }
    // Nothing of what was refused is there, and the same id at another issuer is another one.
    assert_eq!(users.get_by_google_id(&subject("2")).await.unwrap(), None);
    let mut elsewhere = new_with_google("carol@example.com", "1");
    elsewhere.value.identity.key.issuer = "https://id.example.org".to_owned();
    accounts.create_user(elsewhere).await.unwrap();
    assert_eq!(users.get_by_google_id(&subject("1")).await.unwrap(), Some(ada));
    let unknown = UserId::generate(SystemClock.now());
    assert!(users.get_by_id(unknown).await.is_err());
}
