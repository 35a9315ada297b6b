//! What requests may say, and what comes of them.

use identity_tasks::proto::tasks::v1::{CreateTaskRequest, Task, UpdateTaskRequest};
use tonic::Code;

use crate::support::{Behaviour, Test, behaviours};
use crate::world::{Place, Refused, World};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_task_is_created_read_changed_and_deleted,
        every_wrong_field_is_named_at_once,
        a_mask_names_what_may_be_changed,
        titles_are_counted_in_characters,
    ]
}

async fn a_task_is_created_read_changed_and_deleted(t: Test) {
    for place in Place::BOTH {
        let world = World::start(&t, place).await;
        let ada = world.person(&format!("ada-{place:?}@example.com")).await;

        let created = ada.create("write the first program").await.unwrap();
        assert_eq!(created.create_time, created.update_time);
        assert_eq!(
            (created.title.as_str(), created.done),
            ("write the first program", false)
        );
        assert_eq!(ada.get(&created.id).await, Ok(created.clone()));
        // Upper case is taken, and lower case is returned.
        assert_eq!(ada.get(&created.id.to_uppercase()).await, Ok(created.clone()));

        t.clock.advance(chrono::TimeDelta::seconds(1));
        let done = Task {
            id: created.id.clone(),
            done: true,
            ..Task::default()
        };
        let changed = ada.update(done, None).await.unwrap();
        assert_eq!(
            (changed.title.as_str(), changed.done),
            ("write the first program", true)
        );
        assert_eq!(changed.create_time, created.create_time);
        assert_ne!(changed.update_time, created.update_time);

        ada.delete(&created.id).await.unwrap();
        for failure in [
            ada.get(&created.id).await.unwrap_err(),
            ada.delete(&created.id).await.unwrap_err(),
        ] {
            assert_eq!(failure.why(), (Code::NotFound, "TASK_NOT_FOUND"));
        }
    }
}

fn field(name: &str, reason: &str) -> (String, String) {
    (name.to_owned(), reason.to_owned())
}

async fn every_wrong_field_is_named_at_once(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let long = "x".repeat(201);

    let all_at_once = ada
        .update(
            Task {
                id: "7".to_owned(),
                title: long.clone(),
                ..Task::default()
            },
            Some(&["title", "create_time", "task.title"]),
        )
        .await
        .unwrap_err();
    assert_eq!(all_at_once.why(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        all_at_once.fields,
        [
            field("task.id", "INVALID_FORMAT"),
            field("update_mask.paths[1]", "FIELD_NOT_WRITABLE"),
            field("update_mask.paths[2]", "UNKNOWN_FIELD_PATH"),
            field("task.title", "VALUE_OUT_OF_RANGE"),
        ]
    );

    for (failure, name, reason) in [
        (ada.create("").await.unwrap_err(), "task.title", "FIELD_REQUIRED"),
        (
            ada.create(&long).await.unwrap_err(),
            "task.title",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            ada.create("a\0b").await.unwrap_err(),
            "task.title",
            "INVALID_FORMAT",
        ),
        (ada.get("").await.unwrap_err(), "task_id", "FIELD_REQUIRED"),
        (ada.get("7").await.unwrap_err(), "task_id", "INVALID_FORMAT"),
        (
            ada.delete("0190f3c0a5a17b7e8f3c0a5a17b7e8f3").await.unwrap_err(),
            "task_id",
            "INVALID_FORMAT",
        ),
        (ada.claim("").await.unwrap_err(), "task_id", "FIELD_REQUIRED"),
    ] {
        assert_eq!(failure.why(), (Code::InvalidArgument, reason), "{failure:?}");
        assert_eq!(failure.fields, [field(name, reason)]);
    }
    let mut client = ada.client.clone();
    for nothing in [
        client.create_task(CreateTaskRequest::default()).await.map(drop),
        client.update_task(UpdateTaskRequest::default()).await.map(drop),
    ] {
        let failure = Refused::from(nothing.unwrap_err());
        assert_eq!(failure.fields, [field("task", "FIELD_REQUIRED")]);
    }
}

async fn a_mask_names_what_may_be_changed(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let task = ada.create("before").await.unwrap();
    let wanted = |title: &str, done| Task {
        id: task.id.clone(),
        title: title.to_owned(),
        done,
        ..Task::default()
    };

    let only_done = ada
        .update(wanted("ignored", true), Some(&["done"]))
        .await
        .unwrap();
    assert_eq!((only_done.title.as_str(), only_done.done), ("before", true));
    let only_title = ada
        .update(wanted("after", false), Some(&["title"]))
        .await
        .unwrap();
    assert_eq!((only_title.title.as_str(), only_title.done), ("after", true));
    let all = ada.update(wanted("all", false), Some(&["*"])).await.unwrap();
    assert_eq!((all.title.as_str(), all.done), ("all", false));
    // All includes a title that is not there.
    let failure = ada.update(wanted("", true), Some(&["*"])).await.unwrap_err();
    assert_eq!(failure.fields, [field("task.title", "FIELD_REQUIRED")]);
    assert_eq!(ada.get(&task.id).await.unwrap(), all);
}

async fn titles_are_counted_in_characters(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let longest = "ü".repeat(200);

    let task = ada.create(&longest).await.unwrap();

    assert_eq!(ada.get(&task.id).await.unwrap().title, longest);
}
