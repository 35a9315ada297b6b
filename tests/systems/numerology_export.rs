//! The numerology application: what a person gets who asks for its data.

use identity::proto::identity::v1::UserEventType;
use identity::proto::identity::v1::export_user_response::Item;

use super::numerology::{CONFIGURATION, ada};
use crate::oauth_account_service::calls::link;
use crate::support::issuer::with_shared_issuer;
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::export_user::export;

pub fn tests() -> Vec<Behaviour> {
    behaviours![num_15_a_person_gets_everything_that_is_held_and_nothing_about_others]
}

async fn num_15_a_person_gets_everything_that_is_held_and_nothing_about_others(t: Test) {
    let server = t
        .start_with(&[CONFIGURATION, &with_shared_issuer()].concat())
        .await;
    let user = server.create(ada().password(PASSWORD)).await.unwrap();
    let other = ada().email("grace@example.com").password(PASSWORD);
    let other = server.create(other).await.unwrap();
    server.sign_in(&other.email, PASSWORD).await.unwrap();
    server.sign_in(&user.email, PASSWORD).await.unwrap();
    server.sign_in(&user.email, "not the password").await.unwrap_err();
    server.sign_in(&user.email, PASSWORD).await.unwrap();
    link(&t, &server, &user.id, "ada").await.unwrap();

    let items = export(&server, &user.id).await.unwrap();

    assert_eq!(items[0], Item::User(server.get(&user.id).await.unwrap()));
    let sessions = items.iter().filter(|item| matches!(item, Item::Session(_)));
    assert_eq!(sessions.count(), 2);
    let accounts = items.iter().filter(|item| matches!(item, Item::OauthAccount(_)));
    assert_eq!(accounts.count(), 1);
    let attempts: Vec<bool> = items
        .iter()
        .filter_map(|item| {
            if let Item::LoginAttempt(attempt) = item {
                Some(attempt.success)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(attempts, [true, false, true], "the newest first");
    let events: Vec<UserEventType> = items
        .iter()
        .filter_map(|item| {
            if let Item::UserEvent(event) = item {
                Some(event.r#type())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        events,
        [UserEventType::OauthAccountLinked, UserEventType::UserCreated]
    );
    assert!(!format!("{items:?}").contains(&other.id));
}
