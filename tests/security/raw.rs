//! Calls whose bytes are chosen by the test, as a client without generated code, or a hostile one, sends them.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::Body as _;
use tonic::Status;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use crate::support::{Clients, Failure};

/// A call of a method (`/package.Service/Method`).
pub struct RawCall {
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

/// What a call was answered with: the bytes of the message, or why there is none.
pub type RawAnswer = Result<Vec<u8>, Failure>;

impl RawCall {
    /// A call with one message, framed as it should be.
    pub fn new(path: &str, message: &[u8]) -> Self {
        Self::framed(path, frame(message))
    }

    /// A call whose body is these bytes.
    pub fn framed(path: &str, body: Vec<u8>) -> Self {
        Self::with_body(path, Body::new(axum::body::Body::from(body)))
    }

    /// A call whose body begins with these bytes and never ends.
    pub fn unfinished(path: &str, body: Vec<u8>) -> Self {
        let begin = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
        let endless = futures_util::StreamExt::chain(begin, futures_util::stream::pending());
        Self::with_body(path, Body::new(axum::body::Body::from_stream(endless)))
    }

    fn with_body(path: &str, body: Body) -> Self {
        Self {
            path: path.to_owned(),
            headers: Vec::new(),
            body,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Makes the call.
    pub async fn send(self, clients: &Clients) -> RawAnswer {
        let mut request = Request::post(format!("http://{}{}", clients.grpc_address(), self.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(self.body).unwrap();
        let mut channel = clients.channel();
        let response = channel.ready().await.unwrap().call(request).await;
        let never_ends = self.path.ends_with("/WatchUsers");
        answer(
            response.expect("an answer rather than a lost connection"),
            never_ends,
        )
        .await
    }
}

/// Puts the header of gRPC in front of a message: not compressed, and its length.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [[0].as_slice(), &length.to_be_bytes(), message].concat()
}

/// Reads the answer: of a stream that never ends, the first message.
async fn answer(response: Response<Body>, never_ends: bool) -> RawAnswer {
    assert_eq!(response.status(), 200);
    // An error without a message has its code in the head.
    if let Some(failure) = failure(response.headers()) {
        return Err(failure);
    }
    let mut body = response.into_body();
    let mut message: Vec<u8> = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.unwrap().into_data() {
            Ok(data) => {
                message.extend::<Bytes>(data);
                if never_ends && is_whole(&message) {
                    break;
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().expect("data or trailers");
                if let Some(failure) = failure(&trailers) {
                    return Err(failure);
                }
            }
        }
    }
    Ok(message.split_off(5))
}

/// Says whether these bytes begin with a whole message.
fn is_whole(bytes: &[u8]) -> bool {
    let length = bytes
        .get(1..5)
        .map(|length| u32::from_be_bytes(length.try_into().unwrap()));
    length.is_some_and(|length| bytes.len() - 5 >= usize::try_from(length).unwrap())
}

fn failure(headers: &HeaderMap) -> Option<Failure> {
    let status = Status::from_header_map(headers)?;
    (status.code() != tonic::Code::Ok).then(|| Failure::from(status))
}
