//! What else the program of a bench is: it is started again as what has to run in a process of its own.

use std::convert::Infallible;
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prost::Message;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tonic::Request;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::load::Answer;

/// What the processes are told apart by.
pub const ROLE: &str = "IDENTITY_BENCH_ROLE";

/// Runs a bench, or what this process was started as instead.
pub fn run(bench: impl Future<Output = ()>) {
    // As the service makes it.
    let runtime = Builder::new_multi_thread().enable_all().build();
    run_on(&runtime.expect("a runtime"), bench);
}

/// Makes a runtime for load that leaves half of the cores to what it is put on: with a thread for every core, it would
/// wait for them itself, and whoever answers fastest would share them with the most of it.
pub fn half_of_the_cores() -> Runtime {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// Does what [`run`] does, on a given runtime.
pub fn run_on(runtime: &Runtime, bench: impl Future<Output = ()>) {
    raise_descriptors();
    match std::env::var(ROLE).as_deref() {
        Ok(super::limits::no_op::ROLE) => runtime.block_on(super::limits::no_op::serve()),
        Ok(super::limits::bare_exchange::ROLE) => {
            runtime.block_on(super::limits::bare_exchange::serve());
        }
        Ok(role) => panic!("{role} is not a part of this bench"),
        // `cargo test --benches` and `cargo clippy` give arguments; none of them matters.
        Err(_) => runtime.block_on(bench),
    }
}

/// Lets this process have as many connections as it may: an open loop opens new ones for calls that wait.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("descriptors");
}

/// Prepares this program to be started as something else. It ends when its standard input does, also if the bench
/// is killed.
pub fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A bare server, in a process of its own.
pub struct BareServer {
    process: Child,
    address: SocketAddr,
}

impl BareServer {
    /// Starts what [`serve`] serves.
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.spawn().expect("this program");
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

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The one method of a bare server.
pub trait Method:
    UnaryService<Self::Request, Response = (), Future: Send> + Clone + Send + Sync + 'static
{
    /// The service that it is of.
    const SERVICE: &'static str;
    /// What it is called with.
    type Request: Message + Default + 'static;
}

/// What generated code of a service with one method looks like.
#[derive(Clone)]
struct OneMethod<M>(M);

impl<M: Method> NamedService for OneMethod<M> {
    const NAME: &'static str = M::SERVICE;
}

impl<M: Method> Service<http::Request<Body>> for OneMethod<M> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.0.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), M::Request>::default());
            Ok(grpc.unary(method, request).await)
        })
    }
}

/// Calls the method, with a deadline, as every call of a bench has one.
pub async fn call<M: Method>(channel: Channel, message: M::Request, deadline: Duration) -> Answer {
    let mut client = tonic::client::Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return Answer::Failed(error.to_string());
    }
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    // As the clients that are compared with it.
    let codec = identity::grpc::Codec::<M::Request, ()>::default();
    let path = format!("/{}/Call", M::SERVICE).parse().expect("a path");
    client.unary(request, path, codec).await.map(drop).into()
}

/// Serves without any layers until the standard input ends.
pub async fn serve(method: impl Method) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("its address"));
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    tonic::transport::Server::builder()
        .add_service(OneMethod(method))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .expect("the server");
}
