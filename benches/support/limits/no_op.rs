//! A call that does nothing: a bare server of the same stack, on the same runtime, in a process of its own, with one
//! method from nothing to nothing and no layers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::load::Answer;
use crate::support::roles::{self, BareServer};

/// What the process is started as.
pub const ROLE: &str = "no-op";

const METHOD: &str = "/bench.NoOp/Nothing";

/// Starts the server.
pub fn start() -> BareServer {
    BareServer::start(&mut roles::command(ROLE))
}

/// Calls the method, with a deadline, as every call of a bench has one.
pub async fn call(channel: Channel, deadline: Duration) -> Answer {
    let mut client = tonic::client::Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return Answer::Failed(error.to_string());
    }
    let mut request = Request::new(());
    request.set_timeout(deadline);
    // As the clients that are compared with it.
    let codec = identity::grpc::Codec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static(METHOD);
    client.unary(request, path, codec).await.map(drop).into()
}

/// Serves until the standard input ends.
pub async fn serve() {
    roles::serve(NoOpServer).await;
}

/// What generated code of a service with one method looks like.
#[derive(Clone)]
struct NoOpServer;

impl NamedService for NoOpServer {
    const NAME: &'static str = "bench.NoOp";
}

impl Service<http::Request<Body>> for NoOpServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), ()>::default());
            Ok(grpc.unary(Nothing, request).await)
        })
    }
}

struct Nothing;

impl UnaryService<()> for Nothing {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}
