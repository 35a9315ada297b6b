//! The schema of the tasks, over time.

use identity_tasks::database::{Database, MigrationError};

use crate::support::{Backend, Behaviour, Test, behaviours};
use crate::world::{Place, World, all_tasks, clock, with_legacy_tasks};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        tsk_06_ownership_is_added_to_a_database_that_holds_tasks_and_taken_back_without_loss,
        tsk_06_reverting_refuses_to_lose_owners_and_tasks,
        migrations_run_once_however_many_services_start,
        a_database_of_the_other_kind_is_refused,
        a_database_without_users_cannot_be_shared,
    ]
}

/// Returns the tasks as the version before ownership sees them.
async fn legacy_view(database: &Test) -> Vec<String> {
    let id = match database.backend {
        Backend::Postgres => "id",
        Backend::Sqlite => "hex(id)",
    };
    let query = format!(
        "SELECT concat_ws(' ', {id}, title, done, created_at, updated_at) AS value FROM tasks ORDER BY id"
    );
    database.sql_values(&query).await.into_iter().flatten().collect()
}

async fn column_names(database: &Test) -> Vec<String> {
    let query = match database.backend {
        Backend::Postgres => {
            "SELECT column_name AS value FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = 'tasks' ORDER BY ordinal_position"
        }
        Backend::Sqlite => "SELECT name AS value FROM pragma_table_info('tasks')",
    };
    database.sql_values(query).await.into_iter().flatten().collect()
}

const LEGACY_COLUMNS: [&str; 5] = ["id", "title", "done", "created_at", "updated_at"];

async fn tsk_06_ownership_is_added_to_a_database_that_holds_tasks_and_taken_back_without_loss(t: Test) {
    let identity = t.start().await;
    for place in Place::BOTH {
        let database = place.database(&t).await;
        with_legacy_tasks(&t, place, &database, &["water the plants", "feed the cat"]).await;
        let service = Database::new(&place.settings(&database));
        assert_eq!(column_names(&database).await, LEGACY_COLUMNS);
        let before = legacy_view(&database).await;
        assert_eq!(before.len(), 2);

        // Added, and added once.
        let applied = service.migrate_up(clock(&t)()).await.unwrap();
        assert!(applied[0].contains("_add_owner_"), "{applied:?}");
        assert!(service.migrate_up(clock(&t)()).await.unwrap().is_empty());
        assert_eq!(legacy_view(&database).await, before);
        assert!(column_names(&database).await.contains(&"user_id".to_owned()));
        // The version before goes on working: it names neither the column nor an owner.
        database
            .sql("INSERT INTO tasks (title) VALUES ('written by the version before')")
            .await
            .unwrap();
        let with_new = legacy_view(&database).await;
        assert_eq!(with_new.len(), 3);

        // Taken back, and added again.
        for expected in applied.iter().rev() {
            let reverted = service.migrate_down(false).await.unwrap();
            assert_eq!(reverted.as_ref(), Some(expected));
        }
        assert_eq!(column_names(&database).await, LEGACY_COLUMNS);
        assert_eq!(legacy_view(&database).await, with_new);
        assert_eq!(service.migrate_up(clock(&t)()).await.unwrap(), applied);
        assert_eq!(legacy_view(&database).await, with_new);
        if place == Place::Shared {
            // So that the tables of the two places cannot be taken for each other.
            database.sql("DELETE FROM tasks").await.unwrap();
        }
    }
    drop(identity);
}

async fn tsk_06_reverting_refuses_to_lose_owners_and_tasks(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    ada.create("write the first program").await.unwrap();
    let before = all_tasks(&t).await;
    let service = Database::new(&Place::Shared.settings(&t));

    let error = service.migrate_down(false).await.unwrap_err();
    assert!(
        matches!(
            error,
            MigrationError::WouldLose {
                what: "the owners of tasks",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(all_tasks(&t).await, before);

    // Who insists loses the owner, and not the task.
    service.migrate_down(true).await.unwrap();
    assert_eq!(legacy_view(&t).await.len(), 1);
    let refusal = service.migrate_down(false).await.unwrap_err();
    assert!(
        matches!(refusal, MigrationError::WouldLose { what: "tasks", .. }),
        "{refusal}"
    );
    assert_eq!(legacy_view(&t).await.len(), 1);
}

async fn migrations_run_once_however_many_services_start(t: Test) {
    let identity = t.start().await;
    for place in Place::BOTH {
        let database = place.database(&t).await;
        let starts = (0..6).map(|_| {
            let service = Database::new(&place.settings(&database));
            let now = clock(&t)();
            async move { service.migrate_up(now).await.unwrap() }
        });
        let outcomes = futures_util::future::join_all(starts).await;
        let applied: Vec<&String> = outcomes.iter().flatten().collect();
        let expected = match place {
            Place::Shared => 2,
            Place::Apart => 3,
        };
        assert_eq!(applied.len(), expected, "{outcomes:?}");
    }
    drop(identity);
}

async fn a_database_of_the_other_kind_is_refused(t: Test) {
    let identity = t.start().await;
    let shared = Place::Shared.database(&t).await;
    let service = Database::new(&Place::Shared.settings(&shared));
    service.migrate_up(clock(&t)()).await.unwrap();
    let before = column_names(&shared).await;

    // Somebody switches TASKS_SHARES_DATABASE off.
    let confused = Database::new(&Place::Apart.settings(&shared));
    let error = confused.migrate_up(clock(&t)()).await.unwrap_err();

    assert!(matches!(error, MigrationError::Unknown(_)), "{error}");
    assert_eq!(column_names(&shared).await, before);
    drop(identity);
}

async fn a_database_without_users_cannot_be_shared(t: Test) {
    let service = Database::new(&Place::Shared.settings(&t));

    let error = service.migrate_up(clock(&t)()).await.unwrap_err();

    assert!(matches!(error, MigrationError::NoUsers), "{error}");
    assert!(column_names(&t).await.is_empty());
}
