//! How much memory hostile clients can make the server take.

use futures_util::future::join_all;
use tokio::net::TcpStream;

use super::{CHECK, check, open, resident_bytes};
use crate::support::http2::{END_HEADERS, HEADERS, Http2, headers_of_call};
use crate::support::{Behaviour, Test, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![x18_everything_at_once_fits_into_256_mebibytes]
}

async fn x18_everything_at_once_fits_into_256_mebibytes(t: Test) {
    const LIMIT_BYTES: u64 = 256 * 1024 * 1024;
    const SILENT: usize = 300;
    const BUSY: usize = 20;
    const STREAMS: usize = 200;
    let settings = [
        ("IDENTITY_HANDSHAKE_TIMEOUT", "1h"),
        ("IDENTITY_BCRYPT_COST", "12"),
    ];
    let mut server = t.spawn(&settings, &["serve"]);
    server.wait_until_serving().await;
    let ada = server.create_user("ada@example.com").await;

    // Connections that say nothing (X06), connections with as many streams as they may have (X05), and more sign-ins than
    // can be looked at (X01).
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(server.grpc_address()).await.unwrap());
    }
    let mut busy = Vec::new();
    for _ in 0..BUSY {
        let mut client = Http2::connect(server.grpc_address()).await;
        for _ in 0..STREAMS {
            let stream = client.new_stream();
            let block = headers_of_call(CHECK);
            client.send(HEADERS, END_HEADERS, stream, &block).await.unwrap();
        }
        busy.push(client);
    }
    let sign_ins = (0..500).map(|number| {
        let clients = (*server).clone();
        let name = format!("nobody{number}@example.com");
        tokio::spawn(async move { clients.sign_in(&name, "a wrong password").await.is_err() })
    });
    let refused = join_all(sign_ins).await;

    assert!(refused.into_iter().all(|outcome| outcome.unwrap()));
    eventually("all of them are open", async || {
        open(&server).await > u64::try_from(SILENT + BUSY).unwrap()
    })
    .await;
    let taken = resident_bytes(server.id());
    assert!(taken < LIMIT_BYTES, "{taken} bytes");
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    check(&mut Http2::connect(server.grpc_address()).await).await;
}
