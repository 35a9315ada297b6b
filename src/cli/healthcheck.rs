//! `identity healthcheck`: asks a running server whether it is serving.

use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{CommandError, output};
use crate::config::Settings;
use crate::proto::grpc::health::v1::health_client::HealthClient;

/// Shorter than the probes of containers usually wait.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let address = settings.listen.grpc;
    let no_answer = |_| CommandError::Failed(format!("{address} does not answer"));
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| CommandError::failed(&error))?
        .timeout(LIMIT)
        .connect_timeout(LIMIT)
        .connect()
        .await
        .map_err(|_| CommandError::Failed(format!("{address} does not answer")))?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map_err(no_answer)?
        .into_inner();
    if answer.status() == ServingStatus::Serving {
        output::say("serving");
        Ok(())
    } else {
        Err(CommandError::Failed(format!("{address} is not serving")))
    }
}
