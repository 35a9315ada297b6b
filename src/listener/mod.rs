//! Connections: who they come from.

mod peer;

pub use peer::{Peer, PeerName};
