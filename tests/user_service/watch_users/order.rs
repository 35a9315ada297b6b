//! In which order changes are told, and that none is left out, whoever commits when.

use futures_util::future::join_all;
use identity::domain::{EventCursor, ReadWindow, UserEventType as DomainEventType, WatchFilter};
use identity::proto::identity::v1::UserEventType;
use identity::proto::identity::v1::watch_users_response::Content;
use identity::repositories::UserEventRepository;
use uuid::Uuid;

use super::rename;
use super::watching::{Copy, Watch, after, from_beginning, from_now, table};
use crate::faults::blocker::Blocker;
use crate::support::{Backend, Behaviour, Clients, Test, behaviours, eventually, postgres_only};
use crate::systems::repository::database;

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            changes_through_another_server_are_told,
            changes_by_another_program_are_told,
            many_writers_and_many_watchers_on_two_servers_agree,
            many_changes_of_one_transaction_are_told_in_their_order,
        ],
        postgres_only![
            a_change_that_commits_late_is_not_left_out,
            a_change_that_commits_late_is_not_left_out_of_a_resumed_stream,
            changes_of_one_user_come_in_the_order_in_which_they_took_effect,
            a_transaction_between_two_does_not_part_them,
            whoever_begins_between_the_two_is_told_of_both,
            what_was_held_back_is_told_before_the_first_checkpoint,
            a_change_that_is_given_up_holds_back_nothing_for_good,
        ],
    ]
    .concat()
}

/// Changes a user as another program does, with its event.
pub fn change_by_hand(user_id: &str, name: &str) -> String {
    format!(
        "UPDATE users SET full_name = '{name}' WHERE id = '{user_id}';
         INSERT INTO user_events (user_id, type, changed_fields, actor_kind, correlation_id, occurred_at)
         SELECT id, 'user_updated', 'full_name', 'operator', 'by-hand', updated_at FROM users
         WHERE id = '{user_id}';"
    )
}

/// The same for SQLite.
pub fn change_by_hand_on_sqlite(user_id: &str, name: &str) -> String {
    let digits = user_id.replace('-', "");
    let event = Uuid::now_v7().simple();
    format!(
        "BEGIN IMMEDIATE;
         UPDATE users SET full_name = '{name}' WHERE id = x'{digits}';
         INSERT INTO user_events (id, user_id, type, changed_fields, actor_kind, correlation_id, occurred_at)
         SELECT x'{event}', id, 'user_updated', 'full_name', 'operator', 'by-hand', updated_at FROM users
         WHERE id = x'{digits}';
         COMMIT;"
    )
}

/// Waits until the server knows of changes that it must not tell yet.
async fn wait_until_held_back(clients: &Clients) {
    eventually("changes are held back", async || {
        clients.metric("identity_watch_held_back_seconds").await > 0.0
    })
    .await;
}

async fn changes_through_another_server_are_told(t: Test) {
    let one = t.start().await;
    let other = t.start().await;
    let mut watch = Watch::now(&one).await;
    for number in 0..3 {
        let user = other.create_user(&format!("{number}@example.com")).await;
        assert_eq!(watch.change().await.user, Some(user));
    }
}

async fn changes_by_another_program_are_told(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;
    let statements = match t.backend {
        Backend::Sqlite => change_by_hand_on_sqlite(&ada.id, "Ada"),
        Backend::Postgres => change_by_hand(&ada.id, "Ada"),
    };

    t.sql(&statements).await.unwrap();

    assert_eq!(watch.change().await.user.unwrap().full_name, "Ada");
}

async fn many_writers_and_many_watchers_on_two_servers_agree(t: Test) {
    const WRITERS: usize = 6;
    const CHANGES: usize = 25;
    let servers = [t.start().await, t.start().await];
    let mut users = Vec::new();
    for number in 0..WRITERS {
        users.push(servers[0].create_user(&format!("{number}@example.com")).await);
    }
    let mut watches = Vec::new();
    for server in servers.iter().chain(&servers) {
        let mut watch = Watch::begin(server, from_beginning()).await.unwrap();
        let mut copy = Copy::default();
        for _ in 0..WRITERS {
            copy.apply(watch.next().await);
        }
        watch.catch_up().await;
        watches.push((watch, copy));
    }

    let writers = users.iter().enumerate().map(|(number, user)| {
        let clients = (*servers[number % 2]).clone();
        let (user, ada) = (user.clone(), users[0].clone());
        async move {
            for change in 0..CHANGES {
                // Half of them change the same user.
                let whom = if change % 2 == 0 { &ada } else { &user };
                rename(&clients, whom, &format!("{number} {change}")).await;
            }
        }
    });
    let readers = watches.iter_mut().map(|(watch, copy)| async {
        while copy.event_ids.len() < WRITERS * CHANGES {
            copy.apply(watch.next().await);
        }
    });
    tokio::join!(join_all(writers), join_all(readers));

    let expected = table(&servers[0]).await.unwrap();
    for (_, copy) in &watches {
        assert_eq!(copy.users, expected);
        assert_eq!(copy.event_ids, watches[0].1.event_ids);
    }
}

/// More than are read at once.
async fn many_changes_of_one_transaction_are_told_in_their_order(t: Test) {
    const CHANGES: usize = 250;
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watches = [Watch::now(&server).await, Watch::now(&server).await];
    let statements: Vec<String> = (0..CHANGES)
        .map(|number| match t.backend {
            Backend::Sqlite => change_by_hand_on_sqlite(&ada.id, &number.to_string())
                .replace("BEGIN IMMEDIATE;", "")
                .replace("COMMIT;", ""),
            Backend::Postgres => change_by_hand(&ada.id, &number.to_string()),
        })
        .collect();

    t.sql(&format!("BEGIN; {} COMMIT;", statements.concat()))
        .await
        .unwrap();

    let mut events = Vec::new();
    let mut tokens = Vec::new();
    for watch in &mut watches {
        let mut times = Vec::new();
        events.clear();
        for _ in 0..CHANGES {
            let change = watch.change().await;
            assert_eq!(change.user.unwrap().full_name, (CHANGES - 1).to_string());
            events.push(change.event_id);
            tokens.push(watch.token.clone());
            times.push(change.occur_time.map(|time| (time.seconds, time.nanos)));
        }
        assert!(times.is_sorted());
    }
    for told in [1, 99, 100, 101, 130, 200, CHANGES] {
        let mut resumed = Watch::begin(&server, after(&tokens[told - 1])).await.unwrap();
        for event in &events[told..] {
            assert_eq!(resumed.change().await.event_id, *event, "after {told}");
        }
        resumed.checkpoint().await;
    }
}

async fn a_change_that_commits_late_is_not_left_out(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;
    let late = Blocker::holding(&t.database_url(), &change_by_hand(&ada.id, "Late")).await;

    let bob = server.create_user("bob@example.com").await;
    wait_until_held_back(&server).await;
    late.execute("COMMIT").await.unwrap();

    let first = watch.change().await;
    assert_eq!(first.user.unwrap().full_name, "Late");
    assert_eq!(watch.change().await.user, Some(bob));
    // And the other way round: what is told in the meantime does not lead past it.
    let later = Blocker::holding(&t.database_url(), "SELECT pg_current_xact_id()").await;
    let cleo = server.create_user("cleo@example.com").await;
    wait_until_held_back(&server).await;
    later.execute(&change_by_hand(&ada.id, "Later")).await.unwrap();
    later.execute("COMMIT").await.unwrap();
    assert_eq!(watch.change().await.user, Some(cleo));
    assert_eq!(watch.change().await.user.unwrap().full_name, "Later");
}

async fn a_change_that_commits_late_is_not_left_out_of_a_resumed_stream(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::begin(&server, from_beginning()).await.unwrap();
    watch.user().await;
    watch.catch_up().await;
    let late = Blocker::holding(&t.database_url(), &change_by_hand(&ada.id, "Late")).await;
    let bob = server.create_user("bob@example.com").await;
    wait_until_held_back(&server).await;
    let token = watch.token.clone();
    drop(watch);
    // Begun while the change was under way: before it, in every way to begin.
    let listed = crate::user_service::calls::list(&server, Default::default())
        .await
        .unwrap();
    let mut resumed = Watch::begin(&server, after(&token)).await.unwrap();
    let mut of_list = Watch::begin(&server, after(&listed.resume_token)).await.unwrap();

    late.execute("COMMIT").await.unwrap();

    for stream in [&mut resumed, &mut of_list] {
        assert_eq!(stream.change().await.user.unwrap().full_name, "Late");
        assert_eq!(stream.change().await.user.as_ref(), Some(&bob));
        stream.checkpoint().await;
    }
}

/// Deletes a user as another program does, with its event.
fn delete_by_hand(user_id: &str) -> String {
    format!(
        "DELETE FROM users WHERE id = '{user_id}';
         INSERT INTO user_events (user_id, type, actor_kind, correlation_id)
         VALUES ('{user_id}', 'user_deleted', 'operator', 'by-hand')"
    )
}

/// Begins a transaction that has an id.
async fn begin(t: &Test) -> Blocker {
    Blocker::holding(&t.database_url(), "SELECT pg_current_xact_id()").await
}

/// The transaction that began first changes the user last, because it had to wait.
async fn changes_of_one_user_come_in_the_order_in_which_they_took_effect(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;
    let late = begin(&t).await;

    rename(&server, &ada, "Ada").await;
    wait_until_held_back(&server).await;
    late.execute(&delete_by_hand(&ada.id)).await.unwrap();
    late.execute("COMMIT").await.unwrap();

    assert_eq!(watch.change().await.r#type(), UserEventType::UserUpdated);
    assert_eq!(watch.change().await.r#type(), UserEventType::UserDeleted);
}

/// The one that deletes the user has begun before the one that renamed it, and a third one in between goes on.
async fn a_transaction_between_two_does_not_part_them(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let bob = server.create_user("bob@example.com").await;
    let mut watch = Watch::now(&server).await;
    let first = Blocker::holding(&t.database_url(), &change_by_hand(&bob.id, "Bob")).await;
    let late = begin(&t).await;
    let between = begin(&t).await;

    rename(&server, &ada, "Ada").await;
    wait_until_held_back(&server).await;
    late.execute(&delete_by_hand(&ada.id)).await.unwrap();
    late.execute("COMMIT").await.unwrap();
    first.execute("COMMIT").await.unwrap();

    // Nothing is in the way of this one: it has begun before all of them.
    assert_eq!(watch.change().await.user.unwrap().full_name, "Bob");
    between.release().await;
    assert_eq!(watch.change().await.r#type(), UserEventType::UserUpdated);
    assert_eq!(watch.change().await.r#type(), UserEventType::UserDeleted);
}

async fn whoever_begins_between_the_two_is_told_of_both(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let events = UserEventRepository::new(database(&t, &[]));
    let late = begin(&t).await;
    let between = begin(&t).await;
    rename(&server, &ada, "Ada").await;
    late.execute(&delete_by_hand(&ada.id)).await.unwrap();
    late.execute("COMMIT").await.unwrap();

    let begin_at = events.end().await.unwrap().to;

    between.release().await;
    // Whatever goes on in other databases of the cluster comes to an end.
    let window = eventually("both are in a window", async || {
        let window = events.window_after(begin_at).await.unwrap();
        (!window.has_held_back).then_some(window)
    })
    .await;
    let read = ReadWindow {
        after: EventCursor {
            from: begin_at,
            to: window.to,
            sequence: 0,
        },
        filter: WatchFilter::default(),
        limit: 10,
    };
    let told = events.read_window(read).await.unwrap();
    // A transaction of another database of the cluster may have been older than the user.
    let types: Vec<_> = told
        .iter()
        .map(|one| one.event.event_type)
        .filter(|event_type| *event_type != DomainEventType::UserCreated)
        .collect();
    assert_eq!(
        types,
        [DomainEventType::UserUpdated, DomainEventType::UserDeleted]
    );
}

/// Of more than one page.
async fn what_was_held_back_is_told_before_the_first_checkpoint(t: Test) {
    const USERS: usize = 450;
    let server = t.start().await;
    let old = begin(&t).await;
    for number in 0..USERS {
        server.create_user(&format!("{number}@example.com")).await;
    }
    let mut watch = Watch::begin(&server, from_now()).await.unwrap();
    wait_until_held_back(&server).await;

    old.release().await;

    for told in 0..USERS {
        let next = watch.next().await;
        assert!(matches!(next, Content::Change(_)), "{told} told: {next:?}");
    }
    watch.checkpoint().await;
}

async fn a_change_that_is_given_up_holds_back_nothing_for_good(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;
    let given_up = Blocker::holding(&t.database_url(), &change_by_hand(&ada.id, "Never")).await;
    let bob = server.create_user("bob@example.com").await;
    wait_until_held_back(&server).await;

    given_up.release().await;

    assert_eq!(watch.change().await.user, Some(bob));
}
