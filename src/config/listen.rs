//! Where the server listens: `IDENTITY_LISTEN`, `IDENTITY_OPERATIONS_LISTEN`, `IDENTITY_REFLECTION`,
//! `IDENTITY_DRAIN_TIME`.

use std::net::SocketAddr;
use std::time::Duration;

use super::variable::{Reader, Variable};

const LISTEN: Variable = Variable::new(
    "IDENTITY_LISTEN",
    "127.0.0.1:50051",
    "The address of the gRPC server. Only loopback: callers are not authenticated yet",
);
const OPERATIONS_LISTEN: Variable = Variable::new(
    "IDENTITY_OPERATIONS_LISTEN",
    "127.0.0.1:9464",
    "The address of the operations server (HTTP: /health, /metrics). Only loopback",
);
const REFLECTION: Variable = Variable::new(
    "IDENTITY_REFLECTION",
    "on",
    "Whether clients can ask which services there are (on or off)",
);
const DRAIN_TIME: Variable = Variable::new(
    "IDENTITY_DRAIN_TIME",
    "10s",
    "How long running calls may take to finish after SIGTERM",
);

pub(super) const VARIABLES: &[Variable] = &[LISTEN, OPERATIONS_LISTEN, REFLECTION, DRAIN_TIME];

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSettings {
    /// The address of the gRPC server.
    pub grpc: SocketAddr,
    /// The address of the operations server.
    pub operations: SocketAddr,
    /// Whether reflection is served.
    pub reflection: bool,
    /// How long running calls may take to finish at the end.
    pub drain_time: Duration,
}

impl ListenSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let grpc = reader.parse(&LISTEN, loopback_address);
        let operations = reader.parse(&OPERATIONS_LISTEN, loopback_address);
        let reflection = reader.switch(&REFLECTION);
        let drain_time = reader.duration(&DRAIN_TIME, Duration::ZERO..=Duration::from_secs(3600));
        Some(Self {
            grpc: grpc?,
            operations: operations?,
            reflection: reflection?,
            drain_time: drain_time?,
        })
    }
}

fn loopback_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:50051".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("must be a loopback address, because callers are not authenticated yet".to_owned())
    }
}
