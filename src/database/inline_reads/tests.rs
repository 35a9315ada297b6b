use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::{Connection, RunQueryDsl};
use diesel::result::QueryResult;
use diesel::sql_types::Integer;
use diesel::sqlite::SqliteConnection;
use futures_util::FutureExt;

use super::{InlineReads, LINE, Slot, Target};
use crate::config::PoolSettings;

const FOREVER: Duration = Duration::from_secs(3600);

fn settings(max_lifetime: Duration) -> PoolSettings {
    PoolSettings {
        min_idle: 0,
        max_size: 1,
        max_lifetime,
        idle_timeout: FOREVER,
        check_after_idle: FOREVER,
        acquire_timeout: FOREVER,
        connect_timeout: FOREVER,
    }
}

fn reads(folder: &tempfile::TempDir, max_lifetime: Duration) -> InlineReads {
    let path = folder.path().join("inline.db");
    writer(folder)
        .batch_execute(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE numbers (value INTEGER NOT NULL);
             INSERT INTO numbers VALUES (7);",
        )
        .expect("a table");
    let target = Target {
        path,
        busy_timeout: Duration::ZERO,
        is_writer: false,
        echo_sql: false,
    };
    InlineReads::new(target, settings(max_lifetime))
}

fn writer(folder: &tempfile::TempDir) -> SqliteConnection {
    let path = folder.path().join("inline.db");
    SqliteConnection::establish(path.to_str().expect("a path")).expect("a file")
}

fn number(connection: &mut SqliteConnection, _: &()) -> QueryResult<i32> {
    let select = diesel::dsl::sql::<Integer>("SELECT value FROM numbers");
    select.get_result(connection)
}

fn failing(_: &mut SqliteConnection, _: &()) -> QueryResult<i32> {
    Err(diesel::result::Error::NotFound)
}

fn panicking(_: &mut SqliteConnection, _: &()) -> QueryResult<i32> {
    panic!("a look-up panics")
}

/// Whose thread it is.
fn place(_: &mut SqliteConnection, _: &()) -> QueryResult<ThreadId> {
    Ok(thread::current().id())
}

fn count(_: &mut SqliteConnection, look_ups: &Arc<AtomicUsize>) -> QueryResult<()> {
    look_ups.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Where a look-up has begun, and where it goes on.
#[derive(Clone)]
struct Gate(Arc<Barrier>, Arc<Barrier>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)))
    }
}

fn slow(connection: &mut SqliteConnection, gate: &Gate) -> QueryResult<i32> {
    let found = number(connection, &());
    gate.0.wait();
    gate.1.wait();
    found
}

/// Takes the connection in a thread of its own, until the gate opens.
fn hold(reads: &InlineReads) -> (Gate, JoinHandle<Option<i32>>) {
    let gate = Gate::new();
    let held = thread::spawn({
        let (reads, gate) = (reads.clone(), gate.clone());
        move || reads.get(&gate, slow).now_or_never().flatten()
    });
    gate.0.wait();
    (gate, held)
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// Asks until the connection is open.
async fn until_open(reads: &InlineReads) -> i32 {
    loop {
        if let Some(number) = reads.get(&(), number).await {
            return number;
        }
        thread::yield_now();
    }
}

/// A database and its connection, which is open. The folder goes with it.
async fn opened() -> (tempfile::TempDir, InlineReads) {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = reads(&folder, FOREVER);
    until_open(&opened).await;
    (folder, opened)
}

#[tokio::test]
async fn it_opens_by_itself_and_again_after_a_failure_or_when_it_is_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let long_lived = reads(&folder, FOREVER);
    assert_eq!(long_lived.get(&(), number).await, None);
    assert_eq!(until_open(&long_lived).await, 7);
    assert_eq!(long_lived.get(&(), failing).await, None);
    assert_eq!(long_lived.get(&(), number).await, None);
    assert_eq!(until_open(&long_lived).await, 7);

    let other_folder = tempfile::tempdir().expect("a folder");
    let short_lived = reads(&other_folder, Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(short_lived.get(&(), number).await, None);
        while !matches!(short_lived.0.state().slot, Slot::Open(_)) {
            thread::yield_now();
        }
    }
}

#[tokio::test]
async fn whoever_finds_it_taken_is_told_by_who_has_it_what_there_is_by_then() {
    let (folder, reads) = opened().await;
    let (gate, held) = hold(&reads);
    let holder = held.thread().id();
    writer(&folder)
        .batch_execute("UPDATE numbers SET value = 8")
        .expect("a commit");
    let (mut number, mut place) = (pin!(reads.get(&(), number)), pin!(reads.get(&(), place)));
    assert!(poll(&mut number).is_pending());
    assert!(poll(&mut place).is_pending());
    gate.1.wait();
    assert_eq!(held.join().expect("no panic"), Some(7));
    assert_eq!(poll(&mut number), Poll::Ready(Some(8)));
    assert_eq!(poll(&mut place), Poll::Ready(Some(holder)));
    assert_eq!(until_open(&reads).await, 8);
}

#[tokio::test]
async fn a_holder_that_does_not_come_back_is_not_waited_for() {
    let (_folder, reads) = opened().await;
    let (gate, held) = hold(&reads);
    assert_eq!(reads.get(&(), number).await, None);
    gate.1.wait();
    assert_eq!(held.join().expect("no panic"), Some(7));
    assert_eq!(reads.get(&(), number).await, Some(7));
}

#[tokio::test]
async fn nothing_is_looked_up_for_who_has_gone_away() {
    let (_folder, reads) = opened().await;
    let (gate, held) = hold(&reads);
    let (of_gone, of_others) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut goes = Box::pin(reads.get(&of_gone, count));
    let mut stays = Box::pin(reads.get(&of_others, count));
    assert!(poll(&mut goes).is_pending());
    assert!(poll(&mut stays).is_pending());
    drop(goes);
    gate.1.wait();
    held.join().expect("no panic");
    assert_eq!(poll(&mut stays), Poll::Ready(Some(())));
    assert_eq!(of_gone.load(Ordering::Relaxed), 0);
    assert_eq!(of_others.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_line_and_what_one_holder_does_for_others_have_an_end() {
    let (_folder, reads) = opened().await;
    let (gate, held) = hold(&reads);
    let second_gate = Gate::new();
    let mut first = Box::pin(reads.get(&second_gate, slow));
    assert!(poll(&mut first).is_pending());
    let mut others: Vec<_> = (1..LINE).map(|_| Box::pin(reads.get(&(), number))).collect();
    for other in &mut others {
        assert!(poll(other).is_pending());
    }
    assert_eq!(reads.get(&(), number).now_or_never(), Some(None));

    // There is a place again, but not for this holder.
    gate.1.wait();
    second_gate.0.wait();
    let mut last = Box::pin(reads.get(&(), number));
    assert!(poll(&mut last).is_pending());
    second_gate.1.wait();
    held.join().expect("no panic");
    assert_eq!(poll(&mut first), Poll::Ready(Some(7)));
    for other in &mut others {
        assert_eq!(poll(other), Poll::Ready(Some(7)));
    }
    assert_eq!(poll(&mut last), Poll::Ready(None));
    assert_eq!(reads.get(&(), number).await, Some(7));
}

#[tokio::test]
async fn what_is_wrong_with_one_look_up_is_nobody_elses() {
    for wrong in [failing, panicking] {
        let (_folder, reads) = opened().await;
        let (gate, held) = hold(&reads);
        let mut before = Box::pin(reads.get(&(), number));
        let mut bad = Box::pin(reads.get(&(), wrong));
        let mut after = Box::pin(reads.get(&(), number));
        for call in [&mut before, &mut bad, &mut after] {
            assert!(poll(call).is_pending());
        }
        gate.1.wait();
        assert_eq!(held.join().expect("no panic"), Some(7));
        assert_eq!(poll(&mut before), Poll::Ready(Some(7)));
        assert_eq!(poll(&mut bad), Poll::Ready(None));
        // Nobody knows in what state the connection is.
        assert_eq!(poll(&mut after), Poll::Ready(None));
        assert_eq!(reads.get(&(), number).now_or_never(), Some(None));
        assert_eq!(until_open(&reads).await, 7);
    }
}

#[tokio::test]
async fn whoever_writes_is_not_waited_for() {
    let (folder, reads) = opened().await;
    let mut writer = writer(&folder);
    writer
        .batch_execute("BEGIN EXCLUSIVE; UPDATE numbers SET value = 8;")
        .expect("a lock");
    assert_eq!(reads.get(&(), number).await, Some(7));
    writer.batch_execute("COMMIT").expect("a commit");
    assert_eq!(reads.get(&(), number).await, Some(8));
}

#[tokio::test]
async fn a_look_up_that_panics_leaves_no_connection_behind() {
    let (_folder, reads) = opened().await;
    let own = reads.clone();
    let panicked = thread::spawn(move || own.get(&(), panicking).now_or_never());
    assert!(panicked.join().is_err());
    assert_eq!(reads.get(&(), number).await, None);
    assert_eq!(until_open(&reads).await, 7);
}

#[tokio::test]
async fn where_no_thread_can_open_it_nobody_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let reads = reads(&folder, FOREVER);
    let own = reads.clone();
    // There is no runtime to take threads from.
    let panicked = thread::spawn(move || own.get(&(), number).now_or_never());
    assert!(panicked.join().is_err());
    assert_eq!(reads.get(&(), number).now_or_never(), Some(None));
}
