//! `identity healthcheck`: asks a running server whether it is serving.
//!
//! It makes a call like any client, so that it notices when calls do not work. Where there is TLS, it would need a
//! certificate to do so, and asks the operations port instead, which has the same health.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{CommandError, output};
use crate::config::Settings;
use crate::proto::grpc::health::v1::health_client::HealthClient;

/// Shorter than the probes of containers usually wait.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let (address, is_serving) = if settings.tls.files().is_some() {
        let address = from_this_machine(settings.listen.operations);
        (address, ask_operations(address).await)
    } else {
        let address = from_this_machine(settings.listen.grpc);
        (address, ask_grpc(address).await)
    };
    match is_serving {
        Some(true) => {
            output::say("serving");
            Ok(())
        }
        Some(false) => Err(CommandError::Failed(format!("{address} is not serving"))),
        None => Err(CommandError::Failed(format!("{address} does not answer"))),
    }
}

/// A server that listens on every address is asked on loopback.
fn from_this_machine(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let loopback = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(loopback, address.port())
}

async fn ask_grpc(address: SocketAddr) -> Option<bool> {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .ok()?
        .timeout(LIMIT)
        .connect_timeout(LIMIT)
        .connect()
        .await
        .ok()?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .ok()?;
    Some(answer.into_inner().status() == ServingStatus::Serving)
}

async fn ask_operations(address: SocketAddr) -> Option<bool> {
    /// What the first line of the answer has in it, which is all that matters.
    const GOOD: &str = " 200 ";
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.lines().next()?.contains(GOOD))
    };
    timeout(LIMIT, asked).await.ok()?
}
