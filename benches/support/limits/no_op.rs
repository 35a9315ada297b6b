//! A call that does nothing: a bare server of the same stack, on the same runtime, in a process of its own, with one
//! method from nothing to nothing and no layers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::Child;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::load::Answer;
use crate::support::roles;

/// What the process is started as.
pub const ROLE: &str = "no-op";

const METHOD: &str = "/bench.NoOp/Nothing";

/// The server, in a process of its own.
pub struct NoOp {
    process: Child,
    address: SocketAddr,
}

impl NoOp {
    /// Starts it.
    pub fn start() -> Self {
        let mut process = roles::command(ROLE).spawn().expect("this program");
        let mut line = String::new();
        let output = process.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("an address");
        Self {
            process,
            address: line.trim().parse().expect("an address"),
        }
    }

    /// Returns a connection of its own.
    pub fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.expect("an address").connect_lazy()
    }
}

impl Drop for NoOp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("its address"));
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    tonic::transport::Server::builder()
        .add_service(NoOpServer)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .expect("the server");
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
