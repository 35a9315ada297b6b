//! A client of HTTP/1.1 for services that do not speak gRPC: as many connections as there are calls under way, each kept
//! for the next call.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The connections to one server.
#[derive(Clone)]
pub struct Http1 {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<SendRequest<String>>>>,
}

/// What a server said.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Http1 {
    /// Makes a client that has no connections yet.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: Arc::default(),
        }
    }

    /// Makes a call, on a new connection if the one that was kept has ended.
    pub async fn call(&self, request: &Request<String>) -> Result<Response, String> {
        while let Some(mut connection) = self.take() {
            if connection.ready().await.is_ok()
                && let Ok(response) = self.call_on(connection, request).await
            {
                return Ok(response);
            }
        }
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let shaken = handshake(TokioIo::new(stream)).await;
        let (connection, running) = shaken.map_err(|error| error.to_string())?;
        tokio::spawn(running);
        self.call_on(connection, request).await
    }

    async fn call_on(
        &self,
        mut connection: SendRequest<String>,
        request: &Request<String>,
    ) -> Result<Response, String> {
        let answer = connection.send_request(request.clone()).await;
        let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
        let response = Response {
            status: head.status,
            headers: head.headers,
            body: read(body).await?,
        };
        self.idle.lock().expect("the connections").push(connection);
        Ok(response)
    }

    fn take(&self) -> Option<SendRequest<String>> {
        self.idle.lock().expect("the connections").pop()
    }
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        if let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
