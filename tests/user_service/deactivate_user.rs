//! `DeactivateUser` and `ReactivateUser`.

use super::calls::{Change, Method, lookup_email};
use crate::support::{Behaviour, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        deactivated_user_keeps_everything_and_can_return,
        a_change_of_state_moves_etag_and_update_time,
        a_state_change_that_changes_nothing_leaves_the_user_alone,
    ]
}

async fn deactivated_user_keeps_everything_and_can_return(t: Test) {
    let server = t.start().await;
    let user = new_user()
        .email("ada@example.com")
        .full_name("Ada Lovelace")
        .password("correct horse battery staple");
    let ada = server.create(user).await.unwrap();

    let off = Method::Deactivate.call(&server, Change::of(&ada.id)).await;
    let off = off.unwrap().unwrap();
    assert!(!off.is_active && !off.is_blocked && off.password_set);
    assert_eq!(off.full_name, "Ada Lovelace");
    assert_eq!(lookup_email(&server, "ada@example.com").await.unwrap(), off);

    let on = Method::Reactivate.call(&server, Change::of(&ada.id)).await;
    let on = on.unwrap().unwrap();
    assert!(on.is_active);
    assert_eq!(server.get(&ada.id).await.unwrap(), on);
}

async fn a_change_of_state_moves_etag_and_update_time(t: Test) {
    let server = t.start().await;
    // Also when the clock steps back in between.
    for step in [chrono::TimeDelta::zero(), -chrono::TimeDelta::hours(1)] {
        for method in Method::ALL.into_iter().filter(|method| *method != Method::Delete) {
            let email = format!("{method:?}{}@example.com", step.num_hours().abs());
            let before = method.prepare(&server, &email).await;
            server.clock.advance(step);

            let after = method.call(&server, Change::of(&before.id)).await;
            let after = after.unwrap().unwrap();

            let time = |user: &identity::proto::identity::v1::User| {
                let time = user.update_time.unwrap();
                (time.seconds, time.nanos)
            };
            assert!(time(&after) > time(&before), "{method:?}");
            assert_ne!(after.etag, before.etag, "{method:?}");
            assert_eq!(after.create_time, before.create_time, "{method:?}");
            assert_eq!(server.get(&before.id).await.unwrap(), after, "{method:?}");
        }
    }
}

async fn a_state_change_that_changes_nothing_leaves_the_user_alone(t: Test) {
    let server = t.start().await;
    for method in Method::ALL.into_iter().filter(|method| *method != Method::Delete) {
        let user = method.prepare(&server, &format!("{method:?}@example.com")).await;
        let once = method.call(&server, Change::of(&user.id)).await.unwrap();
        server.clock.advance(chrono::TimeDelta::hours(1));

        let twice = method.call(&server, Change::of(&user.id)).await.unwrap();

        assert_eq!(twice, once, "{method:?}");
        assert_eq!(server.get(&user.id).await.ok(), once, "{method:?}");
    }
}
