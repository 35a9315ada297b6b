//! What becomes of the tasks of deleted users where no foreign key reaches them: deletions are followed.

use chrono::TimeDelta;

use crate::support::{AUTH, Backend, Behaviour, Clients, Test, TestServer, behaviours, eventually};
use crate::world::{
    Person, Place, Tasks, World, all_tasks, delete_user, sent_statements, with_legacy_tasks,
};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        tsk_04_in_another_database_deletions_are_followed,
        tsk_04_deletions_are_followed_after_a_restart_of_either_service,
        tsk_04_deletions_from_before_the_first_start_are_found,
        tsk_04_a_resume_token_that_cannot_be_used_is_replaced_and_nobody_missed,
        tsk_04_what_a_token_of_a_deleted_user_creates_is_deleted_too,
        tsk_04_how_far_and_what_was_done_are_stored_together,
        tsk_04_an_id_that_is_given_again_keeps_its_new_tasks,
    ]
}

/// Has identity say often that nothing happened.
const CHECKPOINTS: (&str, &str) = ("IDENTITY_WATCH_CHECKPOINT_INTERVAL", "50ms");

async fn start(t: &Test) -> World {
    World::start_with(t, Place::Apart, &[CHECKPOINTS]).await
}

/// Starts the task service anew.
async fn start_tasks(t: &Test, world: &mut World) {
    world.tasks = Tasks::start(t, Place::Apart, &world.database, &world.identity, None).await;
}

async fn create(person: &Person, titles: &[&str]) {
    for title in titles {
        person.create(title).await.unwrap();
    }
}

async fn resume_token(database: &Test) -> Option<String> {
    let tokens = database
        .sql_values("SELECT resume_token AS value FROM user_watch")
        .await;
    tokens.into_iter().next().flatten()
}

/// Waits until the service follows: from then on it has a place to go on from.
async fn wait_until_following(database: &Test) {
    eventually("there is a resume token", async || {
        resume_token(database).await.is_some()
    })
    .await;
}

async fn wait_until_tasks_are(database: &Test, expected: &[String]) {
    eventually("the tasks are as they should be", async || {
        all_tasks(database).await == expected
    })
    .await;
}

async fn tsk_04_in_another_database_deletions_are_followed(t: Test) {
    let identity = t.start_with(&[AUTH, CHECKPOINTS]).await;
    let service: Clients = identity.with_token(&t.service_token("admin", &["admin"]).await);
    let own_token = t.service_token("tasks", &["users.read"]).await;
    let database = Place::Apart.database(&t).await;
    with_legacy_tasks(&t, Place::Apart, &database, &["of nobody"]).await;
    let tasks = Tasks::start(&t, Place::Apart, &database, &identity, Some(&own_token)).await;
    let mut people = Vec::new();
    for name in ["ada", "grace", "hedy"] {
        let (user, tokens) = service.signed_in(&format!("{name}@example.com")).await;
        people.push(Person::new(&tasks, user.id, tokens.access_token));
    }
    create(&people[1], &["one", "two"]).await;
    let of_others = all_tasks(&database).await;
    create(&people[0], &["one", "two", "three"]).await;
    create(&people[2], &["one"]).await;
    wait_until_following(&database).await;

    for person in [&people[0], &people[2]] {
        delete_user(&service, &person.id).await;
    }

    wait_until_tasks_are(&database, &of_others).await;
    // Blocking and signing out are no deletions, and neither is the passing of time.
    let block = identity::proto::identity::v1::BlockUserRequest {
        user_id: people[1].id.clone(),
        reason: "a test".to_owned(),
        ..Default::default()
    };
    service.users().block_user(block).await.unwrap();
    t.clock.advance(TimeDelta::days(2));
    let before = resume_token(&database).await;
    eventually("the block has been passed", async || {
        resume_token(&database).await != before
    })
    .await;
    assert_eq!(all_tasks(&database).await, of_others);
}

/// Makes two people with tasks, one of whom is to be deleted. Returns what is to be left.
async fn two_people(world: &World) -> (Person, Vec<String>) {
    let grace = world.person("grace@example.com").await;
    create(&grace, &["one", "two"]).await;
    let left = all_tasks(&world.database).await;
    let ada = world.person("ada@example.com").await;
    create(&ada, &["one", "two", "three"]).await;
    (ada, left)
}

async fn tsk_04_deletions_are_followed_after_a_restart_of_either_service(t: Test) {
    let mut world = start(&t).await;
    let (ada, left) = two_people(&world).await;
    wait_until_following(&world.database).await;
    world.tasks.stop().await;

    // While the tasks are away.
    world.delete_user(&ada.id).await;
    assert_eq!(all_tasks(&world.database).await.len(), left.len() + 3);
    start_tasks(&t, &mut world).await;
    wait_until_tasks_are(&world.database, &left).await;

    // And when it is identity that was away.
    let hedy = world.person("hedy@example.com").await;
    create(&hedy, &["one"]).await;
    let address = world.identity.grpc_address().to_string();
    world.identity.shutdown().await;
    let settings: [(&str, &str); 2] = [CHECKPOINTS, ("IDENTITY_LISTEN", &address)];
    let again: TestServer = t.start_with(&settings).await;
    delete_user(&again, &hedy.id).await;
    wait_until_tasks_are(&world.database, &left).await;
}

async fn tsk_04_deletions_from_before_the_first_start_are_found(t: Test) {
    let mut world = start(&t).await;
    let (ada, left) = two_people(&world).await;
    wait_until_following(&world.database).await;
    world.tasks.stop().await;
    world.database.sql("DELETE FROM user_watch").await.unwrap();
    world.delete_user(&ada.id).await;

    start_tasks(&t, &mut world).await;

    wait_until_tasks_are(&world.database, &left).await;
}

async fn tsk_04_a_resume_token_that_cannot_be_used_is_replaced_and_nobody_missed(t: Test) {
    let settings = [CHECKPOINTS, ("IDENTITY_EVENT_RETENTION", "10d")];
    let mut world = World::start_with(&t, Place::Apart, &settings).await;
    let (ada, left) = two_people(&world).await;
    wait_until_following(&world.database).await;
    world.tasks.stop().await;
    let old = resume_token(&world.database).await.unwrap();
    world.delete_user(&ada.id).await;

    // Switched off for longer than events are kept.
    t.clock.advance(TimeDelta::days(20));
    start_tasks(&t, &mut world).await;
    wait_until_tasks_are(&world.database, &left).await;
    eventually("the token is a new one", async || {
        resume_token(&world.database)
            .await
            .is_some_and(|token| token != old)
    })
    .await;

    // One that is none at all.
    let hedy = world.person("hedy@example.com").await;
    create(&hedy, &["one"]).await;
    world.tasks.stop().await;
    world
        .database
        .sql("UPDATE user_watch SET resume_token = 'nonsense'")
        .await
        .unwrap();
    world.delete_user(&hedy.id).await;
    start_tasks(&t, &mut world).await;
    wait_until_tasks_are(&world.database, &left).await;
}

async fn tsk_04_what_a_token_of_a_deleted_user_creates_is_deleted_too(t: Test) {
    let world = start(&t).await;
    let (ada, left) = two_people(&world).await;
    wait_until_following(&world.database).await;
    world.delete_user(&ada.id).await;
    wait_until_tasks_are(&world.database, &left).await;

    // The token is good for some minutes, and nobody is asked.
    ada.create("too late").await.unwrap();

    wait_until_tasks_are(&world.database, &left).await;
}

async fn tsk_04_how_far_and_what_was_done_are_stored_together(t: Test) {
    let world = start(&t).await;
    let (ada, left) = two_people(&world).await;
    wait_until_following(&world.database).await;
    // A deletion fails after it has begun.
    let (refuse, allow) = match t.backend {
        Backend::Postgres => (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'not now'; END $$;
             CREATE TRIGGER refuse AFTER DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION refuse()",
            "DROP TRIGGER refuse ON tasks",
        ),
        Backend::Sqlite => (
            "CREATE TRIGGER refuse AFTER DELETE ON tasks BEGIN SELECT RAISE(ABORT, 'not now'); END",
            "DROP TRIGGER refuse",
        ),
    };
    world.database.sql(refuse).await.unwrap();
    let before = all_tasks(&world.database).await;
    // The connections of SQLite do not tell the values of statements: there, the attempts of other tests count, too.
    let in_statement = match t.backend {
        Backend::Postgres => ada.id.as_str(),
        Backend::Sqlite => "INSERT INTO `departed_users`",
    };
    let attempts = || -> usize {
        sent_statements(in_statement)
            .into_iter()
            .filter(|(statement, _)| statement.contains("departed_users"))
            .map(|(_, count)| count)
            .sum()
    };
    let attempts_before = attempts();

    world.delete_user(&ada.id).await;
    eventually("it has been tried more than once", async || {
        attempts() > attempts_before + 1
    })
    .await;
    let token = resume_token(&world.database).await;
    assert_eq!(all_tasks(&world.database).await, before);
    // Neither went ahead of the other.
    let gone = world
        .database
        .sql_values("SELECT 'gone' AS value FROM departed_users")
        .await;
    assert!(gone.is_empty(), "{gone:?}");

    world.database.sql(allow).await.unwrap();
    wait_until_tasks_are(&world.database, &left).await;
    eventually("following goes on", async || {
        resume_token(&world.database).await != token
    })
    .await;
}

async fn tsk_04_an_id_that_is_given_again_keeps_its_new_tasks(t: Test) {
    let world = start(&t).await;
    let (ada, left) = two_people(&world).await;
    wait_until_following(&world.database).await;
    world.delete_user(&ada.id).await;
    wait_until_tasks_are(&world.database, &left).await;

    // Somebody imports the user again, under the id from before.
    let again = crate::support::new_user()
        .email("ada@example.com")
        .password(crate::support::PASSWORD)
        .user_id(&ada.id);
    world.identity.create(again).await.unwrap();
    eventually("the user is not remembered as gone", async || {
        let gone = "SELECT 'gone' AS value FROM departed_users";
        world.database.sql_values(gone).await.is_empty()
    })
    .await;
    create(&ada, &["a new beginning"]).await;
    let token = resume_token(&world.database).await;
    eventually("following goes on", async || {
        resume_token(&world.database).await != token
    })
    .await;

    assert_eq!(ada.titles().await, ["a new beginning"]);
}
