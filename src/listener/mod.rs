//! Who is at the other end of a connection.

mod peer;

pub use peer::{Peer, PeerName};
