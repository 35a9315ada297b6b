//! A caller reaches its own tasks, and learns nothing about those of others.

use identity_tasks::proto::tasks::v1::{ListTasksRequest, Task};
use tonic::Code;
use uuid::Uuid;

use crate::support::{Behaviour, Test, behaviours};
use crate::world::{Person, Place, Refused, World, all_tasks};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        todo_08_tasks_of_another_user_are_answered_like_tasks_that_do_not_exist,
        todo_08_a_list_holds_the_callers_tasks_and_no_others,
        todo_08_a_page_token_of_another_user_opens_nothing,
        todo_08_the_owner_is_the_subject_of_the_token,
    ]
}

/// Tries everything that can be done with a task.
async fn everything(person: &Person, id: &str) -> Vec<Refused> {
    let change = Task {
        id: id.to_owned(),
        title: "taken over".to_owned(),
        done: true,
        ..Task::default()
    };
    vec![
        person.get(id).await.unwrap_err(),
        person.update(change.clone(), None).await.unwrap_err(),
        person.update(change, Some(&["done"])).await.unwrap_err(),
        person.delete(id).await.unwrap_err(),
        person.claim(id).await.unwrap_err(),
    ]
}

async fn todo_08_tasks_of_another_user_are_answered_like_tasks_that_do_not_exist(t: Test) {
    for place in Place::BOTH {
        let world = World::start(&t, place).await;
        let ada = world.person(&format!("ada-{place:?}@example.com")).await;
        let mallory = world.person(&format!("mallory-{place:?}@example.com")).await;
        let task = ada.create("keep a secret").await.unwrap();
        let before = all_tasks(&world.database).await;
        let made_up = Uuid::now_v7().to_string();

        let of_ada = everything(&mallory, &task.id).await;
        let of_nobody = everything(&mallory, &made_up).await;

        for failure in &of_ada {
            assert_eq!(failure.why(), (Code::NotFound, "TASK_NOT_FOUND"));
            assert_eq!(failure.resource, Some(format!("tasks/{}", task.id)));
        }
        let without_id = |failures: Vec<Refused>| -> Vec<Refused> {
            let cleared = |failure| Refused {
                resource: None,
                ..failure
            };
            failures.into_iter().map(cleared).collect()
        };
        assert_eq!(without_id(of_ada), without_id(of_nobody));
        assert_eq!(all_tasks(&world.database).await, before);
        assert_eq!(ada.get(&task.id).await, Ok(task));
    }
}

async fn todo_08_a_list_holds_the_callers_tasks_and_no_others(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let grace = world.person("grace@example.com").await;
    let nobody = world.person("nobody@example.com").await;
    for number in 1..=3 {
        ada.create(&format!("ada {number}")).await.unwrap();
        grace.create(&format!("grace {number}")).await.unwrap();
    }

    assert_eq!(ada.titles().await, ["ada 3", "ada 2", "ada 1"]);
    assert_eq!(grace.titles().await, ["grace 3", "grace 2", "grace 1"]);
    assert!(nobody.titles().await.is_empty());
    assert!(nobody.unowned_titles().await.is_empty());
}

async fn todo_08_a_page_token_of_another_user_opens_nothing(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let mallory = world.person("mallory@example.com").await;
    for number in 1..=3 {
        ada.create(&format!("ada {number}")).await.unwrap();
    }
    let (_, token) = ada.list(1, "").await.unwrap();

    let (seen, next) = mallory.list(0, &token).await.unwrap();

    assert!(seen.is_empty() && next.is_empty(), "{seen:?}");
}

async fn todo_08_the_owner_is_the_subject_of_the_token(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let grace = world.person("grace@example.com").await;
    ada.create("of Ada").await.unwrap();

    // Whatever else a call says, the token decides.
    let mut request = tonic::Request::new(ListTasksRequest::default());
    for name in ["x-user-id", "user_id", "owner", "sub"] {
        request.metadata_mut().insert(name, ada.id.parse().unwrap());
    }
    let seen = grace.client.clone().list_tasks(request).await.unwrap();
    assert!(seen.into_inner().tasks.is_empty());
    // With two tokens it is not clear who is calling.
    let mut ambiguous = tonic::Request::new(ListTasksRequest::default());
    for token in [&ada.access_token, &grace.access_token] {
        let value = format!("Bearer {token}").parse().unwrap();
        ambiguous.metadata_mut().append("authorization", value);
    }
    let failure = Refused::from(world.tasks.stranger().list_tasks(ambiguous).await.unwrap_err());
    assert_eq!(failure.why(), (Code::Unauthenticated, "TOKEN_INVALID"));
}
