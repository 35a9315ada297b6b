//! The queries, each written once.
//!
//! This folder is compiled twice, as a module of `postgres` and of `sqlite`. `super::Connection` is the
//! only difference; a query that has to be written differently is a function in those two modules.

pub(crate) mod request_ids;
pub(crate) mod users;

use super::{Backend, Connection, email_has_prefix, lock_user};
