//! What handlers and flows call to read and change what is stored; one file per aggregate.

mod request_ids;
mod users;

pub use request_ids::RequestIdRepository;
pub use users::UserRepository;
