//! Whose tasks they are, and what becomes of them when the user is deleted.

use futures_util::future::join_all;
use tonic::Code;

use crate::support::{Backend, Behaviour, Test, behaviours};
use crate::world::{Place, World, all_tasks};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        tsk_02_a_task_refers_to_its_user_by_an_indexed_foreign_key_that_cascades,
        tsk_02_identity_goes_on_working_with_the_tasks_in_its_database,
        tsk_03_tasks_from_before_ownership_stay_without_an_owner_and_are_listed,
        tsk_03_a_task_of_nobody_is_claimed_by_one_user,
        tsk_04_deleting_a_user_deletes_that_users_tasks_and_nothing_else,
        tsk_04_a_token_of_a_deleted_user_creates_nothing,
    ]
}

async fn tsk_02_a_task_refers_to_its_user_by_an_indexed_foreign_key_that_cascades(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    ada.create("write the first program").await.unwrap();

    let (is_nullable, reference, indexes) = match t.backend {
        Backend::Postgres => (
            "SELECT is_nullable AS value FROM information_schema.columns
             WHERE table_name = 'tasks' AND column_name = 'user_id'",
            "SELECT conname || ' ' || pg_get_constraintdef(oid) AS value FROM pg_constraint
             WHERE conrelid = 'tasks'::regclass AND contype = 'f'",
            "SELECT indexname || ' ' || substring(indexdef FROM '\\(.*') AS value FROM pg_indexes
             WHERE tablename = 'tasks' AND indexname LIKE 'tasks_user_id%' ORDER BY indexname",
        ),
        Backend::Sqlite => (
            "SELECT iif(\"notnull\", 'NO', 'YES') AS value FROM pragma_table_info('tasks') WHERE name = 'user_id'",
            "SELECT 'tasks_user_id_fkey FOREIGN KEY (' || \"from\" || ') REFERENCES ' || \"table\"
                 || '(' || \"to\" || ') ON DELETE ' || on_delete AS value
             FROM pragma_foreign_key_list('tasks')",
            "SELECT list.name || ' (' || (SELECT group_concat(name, ', ') FROM pragma_index_info(list.name)) || ')'
                 AS value
             FROM pragma_index_list('tasks') AS list WHERE list.name LIKE 'tasks_user_id%' ORDER BY list.name",
        ),
    };
    assert_eq!(t.sql_value(is_nullable).await.as_deref(), Some("YES"));
    assert_eq!(
        t.sql_value(reference).await.as_deref(),
        Some("tasks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE")
    );
    assert_eq!(
        t.sql_values(indexes).await,
        [
            Some("tasks_user_id_created_at_idx (user_id, created_at)".to_owned()),
            Some("tasks_user_id_idx (user_id)".to_owned()),
        ]
    );

    // The database holds it by itself.
    let nobody = match t.backend {
        Backend::Postgres => "gen_random_uuid()",
        Backend::Sqlite => "randomblob(16)",
    };
    let error = t
        .sql(&format!("UPDATE tasks SET user_id = {nobody}"))
        .await
        .unwrap_err();
    assert!(error.to_lowercase().contains("foreign key"), "{error}");
    t.sql("UPDATE tasks SET user_id = NULL").await.unwrap();
}

async fn tsk_02_identity_goes_on_working_with_the_tasks_in_its_database(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    ada.create("write the first program").await.unwrap();
    let before = all_tasks(&t).await;
    let World { identity, tasks, .. } = world;
    identity.shutdown().await;

    let (verified, report, complaint) = t.run(&[], &["migrate", "verify"]).await;
    assert_eq!(verified, 0, "{report}{complaint}");
    assert!(report.contains("unexpected  table tasks"), "{report}");
    let (migrated, ..) = t.run(&[], &["migrate", "up"]).await;
    assert_eq!(migrated, 0);
    // Reverting what the tasks refer to is refused, and loses nothing.
    let (reverted, ..) = t.run(&[], &["migrate", "down", "--steps", "9"]).await;
    assert_ne!(reverted, 0);
    assert_eq!(all_tasks(&t).await, before);

    let again = t.start().await;
    assert_eq!(again.get(&ada.id).await.unwrap().email, "ada@example.com");
    assert_eq!(ada.titles().await, ["write the first program"]);
    drop(tasks);
}

async fn tsk_03_tasks_from_before_ownership_stay_without_an_owner_and_are_listed(t: Test) {
    for place in Place::BOTH {
        let world = World::start_with_legacy(&t, place, &["newest", "older", "oldest"]).await;
        let ada = world.person(&format!("ada-{place:?}@example.com")).await;
        ada.create("her own").await.unwrap();

        let owners = "SELECT count(*) AS value FROM tasks WHERE user_id IS NULL";
        let count = match t.backend {
            Backend::Postgres => format!("SELECT value::text FROM ({owners}) AS counted"),
            Backend::Sqlite => format!("SELECT CAST(value AS TEXT) AS value FROM ({owners})"),
        };
        assert_eq!(world.database.sql_value(&count).await.as_deref(), Some("3"));
        assert_eq!(ada.unowned_titles().await, ["newest", "older", "oldest"]);
        assert_eq!(ada.titles().await, ["her own"]);
        // In pages, too.
        let (first, token) = ada.list_unowned(2, "").await.unwrap();
        let (second, end) = ada.list_unowned(2, &token).await.unwrap();
        assert_eq!((first.len(), second.len(), end.as_str()), (2, 1, ""));
        assert_eq!(second[0].title, "oldest");
        // They are nobody's: not even to be looked at one by one, or changed.
        for failure in [
            ada.get(&first[0].id).await.unwrap_err(),
            ada.delete(&first[0].id).await.unwrap_err(),
        ] {
            assert_eq!(failure.why(), (Code::NotFound, "TASK_NOT_FOUND"));
        }
    }
}

async fn tsk_03_a_task_of_nobody_is_claimed_by_one_user(t: Test) {
    for place in Place::BOTH {
        let world = World::start_with_legacy(&t, place, &["wanted", "left alone"]).await;
        let mut people = Vec::new();
        for name in ["ada", "grace", "hedy", "joan"] {
            people.push(world.person(&format!("{name}-{place:?}@example.com")).await);
        }
        let (unowned, _) = people[0].list_unowned(0, "").await.unwrap();
        let wanted = &unowned[0];

        let outcomes = join_all(people.iter().map(|person| person.claim(&wanted.id))).await;

        let winners: Vec<usize> = (0..outcomes.len())
            .filter(|index| outcomes[*index].is_ok())
            .collect();
        assert_eq!(winners.len(), 1, "{place:?}: {outcomes:?}");
        for (person, outcome) in people.iter().zip(&outcomes) {
            match outcome {
                Ok(task) => {
                    assert_eq!((&task.id, task.title.as_str()), (&wanted.id, "wanted"));
                    assert_eq!(person.get(&task.id).await.as_ref(), Ok(task));
                    // Whose answer was lost asks again.
                    assert_eq!(person.claim(&task.id).await.as_ref(), Ok(task));
                    assert_eq!(person.titles().await, ["wanted"]);
                }
                Err(failure) => {
                    assert_eq!(failure.why(), (Code::NotFound, "TASK_NOT_FOUND"));
                    assert!(person.titles().await.is_empty());
                }
            }
            assert_eq!(person.unowned_titles().await, ["left alone"]);
        }
    }
}

async fn tsk_04_deleting_a_user_deletes_that_users_tasks_and_nothing_else(t: Test) {
    let world = World::start_with_legacy(&t, Place::Shared, &["of nobody"]).await;
    let ada = world.person("ada@example.com").await;
    let grace = world.person("grace@example.com").await;
    for title in ["one", "two"] {
        grace.create(title).await.unwrap();
    }
    let without_ada = all_tasks(&t).await;
    for title in ["one", "two", "three"] {
        ada.create(title).await.unwrap();
    }
    assert_eq!(all_tasks(&t).await.len(), without_ada.len() + 3);

    world.delete_user(&ada.id).await;

    assert_eq!(all_tasks(&t).await, without_ada);
    assert_eq!(grace.titles().await, ["two", "one"]);
    assert_eq!(grace.unowned_titles().await, ["of nobody"]);
}

async fn tsk_04_a_token_of_a_deleted_user_creates_nothing(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    world.delete_user(&ada.id).await;

    // Nobody can tell from the token alone, which is good for some minutes.
    let failure = ada.create("too late").await.unwrap_err();

    assert_eq!(failure.why(), (Code::Unauthenticated, "TOKEN_INVALID"));
    assert!(all_tasks(&t).await.is_empty());
    assert!(ada.titles().await.is_empty());
}
