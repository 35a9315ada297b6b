//! Where the server listens: `IDENTITY_LISTEN`, `IDENTITY_OPERATIONS_LISTEN`, `IDENTITY_OPERATIONS_TLS`,
//! `IDENTITY_REFLECTION`, `IDENTITY_DRAIN_GRACE`, `IDENTITY_DRAIN_TIME`.

use std::net::SocketAddr;
use std::time::Duration;

use super::tls::TlsSettings;
use super::variable::{Reader, Variable};

const LISTEN: Variable = Variable::new(
    "IDENTITY_LISTEN",
    "127.0.0.1:50051",
    "The address of the gRPC server. Beyond loopback it needs TLS, or IDENTITY_TLS=off",
);
const OPERATIONS_LISTEN: Variable = Variable::new(
    "IDENTITY_OPERATIONS_LISTEN",
    "127.0.0.1:9464",
    "The address of the operations server (HTTP: /health, /metrics). Beyond loopback it needs \
     IDENTITY_OPERATIONS_TLS=off",
);
const OPERATIONS_TLS: Variable = Variable::new(
    "IDENTITY_OPERATIONS_TLS",
    "",
    "off says that the operations server may be reached in plain text from beyond loopback, as kubelet and \
     Prometheus do; it never speaks TLS",
);
const REFLECTION: Variable = Variable::new(
    "IDENTITY_REFLECTION",
    "on",
    "Whether clients can ask which services there are (on or off)",
);
const DRAIN_GRACE: Variable = Variable::new(
    "IDENTITY_DRAIN_GRACE",
    "0s",
    "How long calls and connections are still taken after SIGTERM while the health is NOT_SERVING already, for load \
     balancers that are slow to look",
);
const DRAIN_TIME: Variable = Variable::new(
    "IDENTITY_DRAIN_TIME",
    "10s",
    "How long running calls may take to finish after SIGTERM and the grace",
);

pub(super) const VARIABLES: &[Variable] = &[
    LISTEN,
    OPERATIONS_LISTEN,
    OPERATIONS_TLS,
    REFLECTION,
    DRAIN_GRACE,
    DRAIN_TIME,
];

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSettings {
    /// The address of the gRPC server.
    pub grpc: SocketAddr,
    /// The address of the operations server.
    pub operations: SocketAddr,
    /// Whether reflection is served.
    pub reflection: bool,
    /// How long calls are still taken at the end while the health is down already.
    pub drain_grace: Duration,
    /// How long running calls may take to finish after that.
    pub drain_time: Duration,
}

impl ListenSettings {
    pub(super) fn read(reader: &mut Reader<'_>, tls: Option<&TlsSettings>) -> Option<Self> {
        const LONGEST: Duration = Duration::from_secs(3600);
        let grpc = reader.parse(&LISTEN, address);
        let operations = reader.parse(&OPERATIONS_LISTEN, address);
        let is_plain_text_wanted = reader.parse_optional(&OPERATIONS_TLS, |text| match text {
            "off" | "false" => Ok(()),
            _ => Err("must be off or unset; the operations server never speaks TLS".to_owned()),
        });
        let reflection = reader.switch(&REFLECTION);
        let drain_grace = reader.duration(&DRAIN_GRACE, Duration::ZERO..=LONGEST);
        let drain_time = reader.duration(&DRAIN_TIME, Duration::ZERO..=LONGEST);
        // A mistake about TLS has been noted where it was made.
        if let (Some(address), Some(TlsSettings::Unset)) = (grpc, tls)
            && !address.ip().is_loopback()
        {
            reader.note(
                &LISTEN,
                "must be a loopback address, unless there is TLS (IDENTITY_TLS_CERT_FILE) or plain text is asked for \
                 (IDENTITY_TLS=off)",
            );
        }
        let is_plain_text_wanted = is_plain_text_wanted?.is_some() || tls == Some(&TlsSettings::Off);
        if let Some(address) = operations
            && !address.ip().is_loopback()
            && !is_plain_text_wanted
        {
            reader.note(
                &OPERATIONS_LISTEN,
                "must be a loopback address, unless plain text is asked for (IDENTITY_OPERATIONS_TLS=off)",
            );
        }
        Some(Self {
            grpc: grpc?,
            operations: operations?,
            reflection: reflection?,
            drain_grace: drain_grace?,
            drain_time: drain_time?,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:50051".to_owned())
}
