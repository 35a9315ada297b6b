//! The proxy that fails on command.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Behaviour, Proxy, plain};

pub fn tests() -> Vec<Behaviour> {
    plain![
        a_black_hole_delivers_later,
        a_cut_ends_connections,
        refusing_ends_old_and_new_connections
    ]
}

/// Long enough for an answer over loopback, which must not come.
const SILENCE: Duration = Duration::from_millis(100);

async fn a_black_hole_delivers_later() {
    let proxy = Proxy::start(echo_server().await).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut client).await, Some(*b"ping"));

    proxy.black_hole();
    assert!(timeout(SILENCE, echo(&mut client)).await.is_err());

    proxy.forward();
    let mut late = [0; 4];
    client.read_exact(&mut late).await.unwrap();
    assert_eq!(&late, b"ping");
    assert_eq!(echo(&mut client).await, Some(*b"ping"));
}

async fn a_cut_ends_connections() {
    let proxy = Proxy::start(echo_server().await).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut client).await, Some(*b"ping"));

    proxy.cut();

    assert_eq!(echo(&mut client).await, None);
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut next).await, Some(*b"ping"));
}

async fn refusing_ends_old_and_new_connections() {
    let proxy = Proxy::start(echo_server().await).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut client).await, Some(*b"ping"));

    proxy.refuse();

    assert_eq!(echo(&mut client).await, None);
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut next).await, None);
}

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

async fn echo(stream: &mut TcpStream) -> Option<[u8; 4]> {
    stream.write_all(b"ping").await.ok()?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}
