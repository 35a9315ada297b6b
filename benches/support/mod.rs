//! What the benches share: servers, databases, people, load, limits of the machine, and how results are told.

pub mod databases;
pub mod http1;
pub mod latencies;
pub mod limits;
pub mod load;
pub mod people;
pub mod population;
pub mod processes;
pub mod results;
pub mod roles;
pub mod server;
pub mod settings;
pub mod statistics;
pub mod targets;

// Of what tests stand on, benches need the databases and the hand-made HTTP/2. The rest would only be compiled.
#[path = "../../tests/support/http2.rs"]
pub mod http2;
#[path = "../../tests/support/postgres/mod.rs"]
mod postgres;
#[path = "../../tests/support/sql.rs"]
pub mod sql;
#[path = "../../tests/support/system.rs"]
pub mod system;
#[path = "../../tests/support/wait.rs"]
mod wait;

pub use databases::{Database, on_each_database};
pub use load::{Answer, Load, Turn, closed_loop, open_loop};
pub use postgres::PostgresCluster;
pub use results::Report;
pub use server::Server;
pub use statistics::{Spread, ratios};
pub use wait::eventually;
