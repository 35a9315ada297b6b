//! What tests stand on: databases, servers, clients and faults.

mod behaviour;
pub mod certificates;
mod clients;
mod context;
mod failure;
mod forging;
pub mod http2;
pub mod issuer;
mod postgres;
mod process;
mod proxy;
mod server;
mod service_tokens;
pub mod sql;
mod system;
mod trial;
mod wait;

pub use behaviour::{Behaviour, Body, Plain};
pub(crate) use behaviour::{behaviours, on_databases, plain, postgres_only, sqlite_only};
pub use clients::{Clients, NewUser, PASSWORD, bearing, new_user};
pub use context::{Backend, Test};
pub use failure::Failure;
pub use forging::{Forger, claims_of, header_of, kid_of, parts_of, thumbprint};
pub use postgres::PostgresCluster;
pub use process::Process;
pub use proxy::Proxy;
pub use server::TestServer;
pub use service_tokens::AUTH;
pub use trial::run;
pub use wait::eventually;
