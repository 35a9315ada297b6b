//! A headless identity service that speaks gRPC.
//!
//! `ARCHITECTURE.md` walks through it. The library exists for the binary, its tests and its benches; its
//! interface is the protos, not these modules.

mod assembly;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database;
pub mod derived_ids;
pub mod domain;
pub mod feed;
pub mod grpc;
pub mod health;
pub mod http;
pub mod id_tokens;
pub mod listener;
pub mod master_key;
pub mod password_hashing;
pub mod proto;
pub mod repositories;
pub mod server;
pub mod sign_in;
pub mod telemetry;
pub mod tokens;
pub mod upkeep;
