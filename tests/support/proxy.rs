//! A TCP proxy that fails on command: the network between a server and its database.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The most bytes that are on their way in one direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// A proxy to one address. It begins by forwarding, and ends with all connections when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Goes up with every cut; a connection lives as long as it does not.
    cuts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Refuse,
    BlackHole,
}

impl Proxy {
    /// Starts a proxy to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, observer) = watch::channel(State {
            mode: Mode::Forward,
            cuts: 0,
        });
        let listener = tokio::spawn(accept(listener, target, observer));
        Self {
            address,
            state,
            listener,
        }
    }

    /// Returns the address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards again. What a black hole has held back is delivered.
    pub fn forward(&self) {
        self.state.send_modify(|state| state.mode = Mode::Forward);
    }

    /// Drops all connections, and each new one at once.
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.mode = Mode::Refuse;
            state.cuts += 1;
        });
    }

    /// Keeps connections open, and accepts new ones, but lets nothing through.
    pub fn black_hole(&self) {
        self.state.send_modify(|state| state.mode = Mode::BlackHole);
    }

    /// Drops all connections; new ones are welcome.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, state: watch::Receiver<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let now = *state.borrow();
        if now.mode != Mode::Refuse {
            tokio::spawn(serve(client, target, state.clone(), now.cuts));
        }
    }
}

/// Serves a connection until a side or a cut ends it.
async fn serve(client: TcpStream, target: SocketAddr, state: watch::Receiver<State>, cuts: u64) {
    let mut observer = state.clone();
    let relay = async {
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            pump(from_client, to_server, state.clone(), cuts),
            pump(from_server, to_client, state, cuts),
        );
    };
    tokio::select! {
        () = relay => (),
        // An error means that the proxy itself is gone.
        _ = observer.wait_for(|now| now.cuts != cuts) => (),
    }
}

/// Copies one direction, its end included, as long as the proxy forwards. What is sent after a fault began
/// is never forwarded, however late this task learns of the fault.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    cuts: u64,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        let Ok(is_cut) = state
            .wait_for(|now| now.mode != Mode::BlackHole || now.cuts != cuts)
            .await
            .map(|now| now.cuts != cuts)
        else {
            return;
        };
        if is_cut || length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            // Dropping `to` passes the end on.
            return;
        }
    }
}
