//! Which connections may be open at the same time, and which of them give way when there is no room.
//!
//! Connections that cost nothing but a descriptor are what an attacker has plenty of, so room is made at the
//! expense of who has shown the least: first the oldest that has not finished its handshake, then the oldest that
//! has never made a call, then the one that has been idle for the longest, whose client connects anew without an
//! error when it has something to ask. Only when all are busy, a new connection is refused.
//!
//! Those that have begun HTTP/2 and say no more have a limit of their own: each of them has the buffers of a
//! connection, and a client that means well calls as soon as it can.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::telemetry::{ListenerMetrics, RefusedConnection};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// TLS or the preface of HTTP/2 is not finished.
    Handshake,
    /// It could make calls but has never made one.
    Silent,
    /// It has made a call.
    Called,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Handshake, Self::Silent, Self::Called];
}

/// Who counts as one peer: an address, or a network of 64 bits, which is what a customer gets of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum PeerKey {
    Address(u32),
    Network(u64),
}

impl From<IpAddr> for PeerKey {
    fn from(address: IpAddr) -> Self {
        const BITS_OF_A_HOST: u32 = 64;
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Address(address.to_bits()),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> BITS_OF_A_HOST;
                Self::Network(u64::try_from(network).unwrap_or(u64::MAX))
            }
        }
    }
}

/// The open connections.
#[derive(Debug)]
pub(super) struct Admission {
    max_connections: usize,
    max_per_peer: usize,
    max_silent: usize,
    metrics: ListenerMetrics,
    started: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    all: ByStage,
    by_peer: HashMap<PeerKey, ByStage>,
}

/// Connections by stage, and in each stage by age.
#[derive(Debug, Default)]
struct ByStage {
    handshake: BTreeMap<u64, Arc<Entry>>,
    silent: BTreeMap<u64, Arc<Entry>>,
    called: BTreeMap<u64, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    peer: PeerKey,
    streams: AtomicUsize,
    /// How many of them have nothing to say at the moment.
    quiet_streams: AtomicUsize,
    /// Whether another call was at work when the last one began.
    are_calls_concurrent: AtomicBool,
    /// When the last call ended, in milliseconds since the server started.
    idle_since: AtomicU64,
    must_give_way: Notify,
}

impl Entry {
    fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Acquire) == 0
    }
}

impl ByStage {
    const fn of(&self, stage: Stage) -> &BTreeMap<u64, Arc<Entry>> {
        match stage {
            Stage::Handshake => &self.handshake,
            Stage::Silent => &self.silent,
            Stage::Called => &self.called,
        }
    }

    const fn of_mut(&mut self, stage: Stage) -> &mut BTreeMap<u64, Arc<Entry>> {
        match stage {
            Stage::Handshake => &mut self.handshake,
            Stage::Silent => &mut self.silent,
            Stage::Called => &mut self.called,
        }
    }

    fn len(&self) -> usize {
        Stage::ALL.into_iter().map(|stage| self.of(stage).len()).sum()
    }

    /// Removes a connection, and says whether it was there.
    fn remove(&mut self, id: u64) -> bool {
        Stage::ALL
            .into_iter()
            .any(|stage| self.of_mut(stage).remove(&id).is_some())
    }

    fn oldest(&self, stage: Stage) -> Option<Arc<Entry>> {
        let (_, entry) = self.of(stage).first_key_value()?;
        Some(Arc::clone(entry))
    }

    /// The connection that is the least loss.
    fn dispensable(&self) -> Option<Arc<Entry>> {
        /// Of those who have called, so many of the oldest are looked at: every new connection may cost that much.
        const LOOKS: usize = 1000;
        self.oldest(Stage::Handshake)
            .or_else(|| self.oldest(Stage::Silent))
            .or_else(|| {
                let callers = self.called.values().take(LOOKS);
                let idle = callers.filter(|entry| entry.is_idle());
                idle.min_by_key(|entry| entry.idle_since.load(Ordering::Relaxed))
                    .cloned()
            })
    }
}

impl Open {
    fn remove(&mut self, entry: &Entry) -> bool {
        if let Some(connections) = self.by_peer.get_mut(&entry.peer) {
            connections.remove(entry.id);
            if connections.len() == 0 {
                self.by_peer.remove(&entry.peer);
            }
        }
        self.all.remove(entry.id)
    }

    fn insert(&mut self, stage: Stage, entry: &Arc<Entry>) {
        let of_peer = self.by_peer.entry(entry.peer).or_default();
        for connections in [of_peer, &mut self.all] {
            connections.of_mut(stage).insert(entry.id, Arc::clone(entry));
        }
    }
}

impl Admission {
    pub(super) fn new(
        max_connections: usize,
        max_per_peer: usize,
        max_silent: usize,
        metrics: ListenerMetrics,
    ) -> Self {
        Self {
            max_connections,
            max_per_peer,
            max_silent,
            metrics,
            started: Instant::now(),
            open: Mutex::default(),
        }
    }

    /// Gives a new connection a place, at the expense of another one if need be.
    pub(super) fn admit(self: &Arc<Self>, address: SocketAddr) -> Result<Place, RefusedConnection> {
        let peer = PeerKey::from(address.ip());
        let mut open = self.lock();
        let of_peer = open.by_peer.get(&peer).map_or(0, ByStage::len);
        if of_peer >= self.max_per_peer {
            let least = open.by_peer.get(&peer).and_then(ByStage::dispensable);
            self.replace(&mut open, least.ok_or(RefusedConnection::PeerFull)?.as_ref());
        }
        if open.all.len() >= self.max_connections {
            let least = open.all.dispensable();
            self.replace(&mut open, least.ok_or(RefusedConnection::ServerFull)?.as_ref());
        }
        let entry = Arc::new(Entry {
            id: open.next_id,
            peer,
            streams: AtomicUsize::new(0),
            quiet_streams: AtomicUsize::new(0),
            are_calls_concurrent: AtomicBool::new(false),
            idle_since: AtomicU64::new(self.now()),
            must_give_way: Notify::new(),
        });
        open.next_id += 1;
        open.insert(Stage::Handshake, &entry);
        drop(open);
        self.metrics.connections.inc();
        Ok(Place(Arc::new(Held {
            admission: Arc::clone(self),
            entry,
        })))
    }

    fn replace(&self, open: &mut Open, least: &Entry) {
        open.remove(least);
        least.must_give_way.notify_one();
        self.metrics.count_refused(RefusedConnection::GaveWay);
    }

    fn advance(&self, entry: &Arc<Entry>, stage: Stage) {
        let mut open = self.lock();
        // What has given way meanwhile does not come back.
        if !open.remove(entry) {
            return;
        }
        if stage == Stage::Silent && open.all.silent.len() >= self.max_silent {
            let oldest = open.all.oldest(Stage::Silent);
            if let Some(oldest) = oldest {
                self.replace(&mut open, &oldest);
            }
        }
        open.insert(stage, entry);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock, and if it did, a server that goes on is worth more.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an open connection, for everyone who works on it. It is free again when the last of them is gone.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    admission: Arc<Admission>,
    entry: Arc<Entry>,
}

impl Place {
    /// Notes that the handshake is over.
    pub(super) fn ready(&self) {
        self.0.admission.advance(&self.0.entry, Stage::Silent);
    }

    /// Waits until the connection has to give way to another one.
    pub(super) async fn must_give_way(&self) {
        self.0.entry.must_give_way.notified().await;
    }

    /// Notes that a call begins. It ends when what is returned is dropped.
    pub(super) fn begin_call(&self, is_first: bool) -> RunningCall {
        let entry = &self.0.entry;
        let running = entry.streams.fetch_add(1, Ordering::AcqRel);
        let quiet = entry.quiet_streams.load(Ordering::Relaxed);
        entry
            .are_calls_concurrent
            .store(running > quiet, Ordering::Relaxed);
        if is_first {
            self.0.admission.advance(entry, Stage::Called);
        }
        RunningCall(self.clone())
    }

    /// Tells whether calls are made at the same time: whether the last one began while another one was at work. A stream
    /// that waits for news is not.
    pub(super) fn are_calls_concurrent(&self) -> bool {
        self.0.entry.are_calls_concurrent.load(Ordering::Relaxed)
    }

    /// Returns for how long no call has been running; nothing while one is.
    pub(super) fn idle_time(&self) -> Option<Duration> {
        let held = &self.0;
        let since = held.entry.idle_since.load(Ordering::Acquire);
        held.entry
            .is_idle()
            .then(|| Duration::from_millis(held.admission.now().saturating_sub(since)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.admission.lock().remove(&self.entry);
        self.admission.metrics.connections.dec();
    }
}

/// A call that runs.
#[derive(Debug)]
pub(super) struct RunningCall(Place);

impl RunningCall {
    /// Notes that the call has nothing to say, until what is returned is dropped.
    pub(super) fn keep_quiet(&self) -> QuietCall<'_> {
        let quiet_streams = &self.0.0.entry.quiet_streams;
        quiet_streams.fetch_add(1, Ordering::Relaxed);
        QuietCall { quiet_streams }
    }
}

/// A call that runs and has nothing to say.
#[derive(Debug)]
pub(super) struct QuietCall<'call> {
    quiet_streams: &'call AtomicUsize,
}

impl Drop for QuietCall<'_> {
    fn drop(&mut self) {
        self.quiet_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let held = &self.0.0;
        held.entry
            .idle_since
            .store(held.admission.now(), Ordering::Release);
        held.entry.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::{Admission, Place};
    use crate::telemetry::{ListenerMetrics, RefusedConnection};

    const MAX_SILENT: usize = 5;

    fn admission(max_connections: usize, max_per_peer: usize) -> Arc<Admission> {
        Arc::new(Admission::new(
            max_connections,
            max_per_peer,
            MAX_SILENT,
            ListenerMetrics::default(),
        ))
    }

    fn from(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().expect("an address"), 1)
    }

    fn must_give_way(place: &Place) -> bool {
        place.must_give_way().now_or_never().is_some()
    }

    #[test]
    fn who_has_shown_the_least_gives_way_first() {
        let admission = admission(4, 4);
        let admit = || admission.admit(from("192.0.2.1")).expect("a place");
        let (called, silent, first, second) = (admit(), admit(), admit(), admit());
        called.ready();
        drop(called.begin_call(true));
        silent.ready();

        let order = [&first, &second];
        for expected in order {
            let newcomer = admit();
            newcomer.ready();
            drop(newcomer.begin_call(true));
            assert!(must_give_way(expected));
            assert!(!must_give_way(&silent) && !must_give_way(&called));
            std::mem::forget(newcomer);
        }
        let third = admit();
        third.ready();
        drop(third.begin_call(true));
        assert!(must_give_way(&silent) && !must_give_way(&called));

        let _fourth = admit();
        assert!(must_give_way(&called), "it has been idle for the longest");
    }

    #[test]
    fn of_those_that_never_call_the_oldest_gives_way_to_the_next() {
        let admission = admission(100, 100);
        let admit = || admission.admit(from("192.0.2.1")).expect("a place");
        let handshake = admit();
        let called = admit();
        called.ready();
        drop(called.begin_call(true));
        let silent: Vec<_> = (0..2 * MAX_SILENT)
            .map(|_| {
                let place = admit();
                place.ready();
                place
            })
            .collect();
        let (gone, left) = silent.split_at(MAX_SILENT);
        assert!(gone.iter().all(must_give_way));
        assert!(!left.iter().chain([&handshake, &called]).any(must_give_way));
    }

    #[test]
    fn who_is_busy_never_gives_way() {
        let admission = admission(2, 2);
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let place = admission.admit(from("192.0.2.1")).expect("a place");
                place.ready();
                let call = place.begin_call(true);
                (place, call)
            })
            .collect();
        assert_eq!(
            admission.admit(from("192.0.2.1")).err(),
            Some(RefusedConnection::PeerFull)
        );
        assert_eq!(
            admission.admit(from("192.0.2.2")).err(),
            Some(RefusedConnection::ServerFull)
        );
        assert!(busy.iter().all(|(place, _)| !must_give_way(place)));
        drop(busy);
        assert!(admission.admit(from("192.0.2.1")).is_ok());
    }

    #[test]
    fn calls_are_concurrent_if_the_last_one_began_beside_another() {
        let place = admission(1, 1).admit(from("192.0.2.1")).expect("a place");
        assert!(!place.are_calls_concurrent());
        let first = place.begin_call(true);
        assert!(!place.are_calls_concurrent());
        let second = place.begin_call(false);
        assert!(place.are_calls_concurrent());
        drop((first, second));
        assert!(place.are_calls_concurrent(), "the next ones may well be");
        let stream = place.begin_call(false);
        assert!(!place.are_calls_concurrent());
        let quiet = stream.keep_quiet();
        drop(place.begin_call(false));
        assert!(!place.are_calls_concurrent(), "the stream waits for news");
        drop(quiet);
        drop(place.begin_call(false));
        assert!(place.are_calls_concurrent(), "the stream has news");
    }

    #[test]
    fn a_peer_over_its_limit_takes_nothing_from_others() {
        let admission = admission(10, 1);
        let other = admission.admit(from("2001:db8:0:1::1")).expect("a place");
        let first = admission.admit(from("2001:db8:0:2::1")).expect("a place");
        let second = admission.admit(from("2001:db8:0:2:ffff::2")).expect("a place");
        assert!(must_give_way(&first), "a network of 64 bits is one peer");
        let mapped = admission.admit(from("::ffff:192.0.2.1")).expect("a place");
        let plain = admission.admit(from("192.0.2.1")).expect("a place");
        assert!(must_give_way(&mapped), "the same address in another form");
        assert!(!must_give_way(&other) && !must_give_way(&second) && !must_give_way(&plain));
    }
}
