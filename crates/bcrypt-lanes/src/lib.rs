//! bcrypt, several hashes at a time on one core.
//!
//! bcrypt is slow because every step of it waits for a look-up in a table whose place the step before has said. A core
//! that computes one hash is idle for most of that time. A [`Batch`] computes up to [`LANES`] independent hashes side
//! by side, instruction by instruction, on the thread that calls it: two to three times as many hashes in the time that
//! one by one would take. Hashes may join and leave between any two steps, whatever their costs.
//!
//! What comes out is bit for bit what the [`bcrypt`](https://docs.rs/bcrypt) crate computes, against which it is tested
//! with random passwords, salts, costs and orders of arrival. The algorithm is that of Provos and Mazières, "A
//! Future-Adaptable Password Scheme" (USENIX 1999), with the `$2b$` of OpenBSD for what counts of a password.
//!
//! The crate does not draw salts, write or read hashes as text, compare digests, or start threads.
//!
//! ```
//! use bcrypt_lanes::{Batch, Job};
//!
//! let salt = [0; 16];
//! let mut batch = Batch::new();
//! for (n, password) in ["correct horse", "battery staple"].iter().enumerate() {
//!     batch.join(&Job::new(4, salt, password.as_bytes())?, n).expect("a batch has room for four");
//! }
//! let mut digests = [None, None];
//! while !batch.is_empty() {
//!     batch.advance(|n, digest| digests[n] = Some(digest));
//! }
//! assert_eq!(digests[0], Some(Job::new(4, salt, b"correct horse")?.run()));
//! # Ok::<(), bcrypt_lanes::CostNotAllowed>(())
//! ```

mod batch;
mod blowfish;
mod job;

pub use batch::{Batch, LANES};
pub use job::{COSTS, CostNotAllowed, DIGEST_BYTES, Digest, Job, MAX_PASSWORD_BYTES, Salt};
