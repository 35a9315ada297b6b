//! The generated code of the protos, and the descriptor set that reflection serves.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "the code is generated; its documentation is in the protos"
)]

include!(concat!(env!("OUT_DIR"), "/protos.rs"));

/// `Debug` implementations that do not print what is marked `debug_redact`.
mod redacted_debug {
    use super::identity::v1::*;

    include!(concat!(env!("OUT_DIR"), "/redacted_debug.rs"));
}

/// The encoded `FileDescriptorSet` of every proto, with comments and custom options.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));
