//! A client of HTTP/2 that does what it is told, also what no honest client would: frames written by hand.

use std::net::SocketAddr;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What every connection begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags of frames.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Codes of errors (RFC 9113 §7).
pub const NO_ERROR: u32 = 0;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// The setting that says how much may be sent to the client on each stream.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

const FRAME_HEADER_BYTES: usize = 9;

/// A frame of the server.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns the code of a RST_STREAM or GOAWAY.
    pub fn error_code(&self) -> u32 {
        let start = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[start..start + 4].try_into().unwrap())
    }

    /// Says whether it is the last frame of its stream.
    pub fn ends_stream(&self) -> bool {
        self.kind == RST_STREAM || (matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0)
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a GOAWAY of this code.
    GoAway(u32),
    /// Without a word.
    Closed,
}

/// A connection.
pub struct Http2<S = TcpStream> {
    stream: S,
    next_stream: u32,
}

impl Http2 {
    /// Connects and begins as an honest client does.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[]).await
    }

    /// Connects with some settings.
    pub async fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(stream, settings).await.unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http2<S> {
    /// Begins on a stream.
    pub async fn over(stream: S, settings: &[(u16, u32)]) -> std::io::Result<Self> {
        let mut client = Self {
            stream,
            next_stream: 1,
        };
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat();
        client.write(&begin).await?;
        Ok(client)
    }

    /// Sends bytes. Fails if the server has gone.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a frame. Fails if the server has gone.
    pub async fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        self.write(&frame(kind, flags, stream, payload)).await
    }

    /// Returns the number of a stream that has not been used.
    pub fn new_stream(&mut self) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        stream
    }

    /// Sends a whole call. Returns the number of its stream.
    pub async fn call(&mut self, path: &str, message: &impl Message) -> std::io::Result<u32> {
        let stream = self.new_stream();
        let bytes = [
            frame(HEADERS, END_HEADERS, stream, &headers_of_call(path)),
            frame(DATA, END_STREAM, stream, &grpc_message(message)),
        ]
        .concat();
        self.write(&bytes).await?;
        Ok(stream)
    }

    /// Returns the next frame, if there is one before the end of the connection. Answers pings and settings as
    /// every client has to.
    pub async fn next(&mut self) -> Option<Frame> {
        let frame = self.next_unanswered().await?;
        let is_question = frame.flags & ACK == 0;
        // Fails only if the server has gone, which the next frame shows.
        let _ = match frame.kind {
            SETTINGS if is_question => self.send(SETTINGS, ACK, 0, &[]).await,
            PING if is_question => self.send(PING, ACK, 0, &frame.payload).await,
            _ => Ok(()),
        };
        Some(frame)
    }

    /// Returns the next frame, and answers nothing.
    pub async fn next_unanswered(&mut self) -> Option<Frame> {
        let mut head = [0; FRAME_HEADER_BYTES];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff,
            payload,
        })
    }

    /// Waits for the first frame that fits. Fails the test if the connection ends before.
    pub async fn wait_for(&mut self, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("a frame rather than the end");
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// Waits for the last frame of a stream.
    pub async fn end_of(&mut self, stream: u32) -> Frame {
        self.wait_for(|frame| frame.stream == stream && frame.ends_stream())
            .await
    }

    /// Waits until the server closes the connection.
    pub async fn end(&mut self) -> End {
        let mut end = End::Closed;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                end = End::GoAway(frame.error_code());
            }
        }
        end
    }
}

/// Writes a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Writes a message with the header of gRPC: not compressed, and its length.
pub fn grpc_message(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), &bytes].concat()
}

/// Writes what every call begins with.
pub fn headers_of_call(path: &str) -> Vec<u8> {
    headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// Writes headers (RFC 7541 §6.2.2: literal, without indexing, and without Huffman's code).
pub fn headers(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in pairs {
        bytes.push(0);
        for text in [name, value] {
            write_length(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// Writes a number with a prefix of seven bits (RFC 7541 §5.1).
fn write_length(bytes: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 0x7f;
    if length < PREFIX {
        bytes.push(length.try_into().unwrap());
        return;
    }
    bytes.push(0x7f);
    let mut rest = length - PREFIX;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    bytes.push(rest.try_into().unwrap());
}
