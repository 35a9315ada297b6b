//! A call that does nothing: a bare server of the same stack, on the same runtime, in a process of its own, with one
//! method from nothing to nothing and no layers.

use std::future::{Ready, ready};
use std::time::Duration;

use tonic::server::UnaryService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::support::load::Answer;
use crate::support::roles::{self, BareServer, Method};

/// What the process is started as.
pub const ROLE: &str = "no-op";

/// Starts the server.
pub fn start() -> BareServer {
    BareServer::start(&mut roles::command(ROLE))
}

/// Calls the method.
pub async fn call(channel: Channel, deadline: Duration) -> Answer {
    roles::call::<Nothing>(channel, (), deadline).await
}

/// Serves until the standard input ends.
pub async fn serve() {
    roles::serve(Nothing).await;
}

#[derive(Clone)]
struct Nothing;

impl Method for Nothing {
    const SERVICE: &'static str = "bench.NoOp";
    type Request = ();
}

impl UnaryService<()> for Nothing {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}
