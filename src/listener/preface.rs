//! The first bytes of a connection, which tell HTTP/2 from everything else.
//!
//! hyper waits for them without end, and spends the buffers of a connection on whoever has not sent them yet. So they
//! are read here, and given to hyper once they have all come.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What every connection of HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What came instead of the preface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrefaceError {
    /// The connection ended before the preface did.
    Ended,
    /// Something else: HTTP/1.1, TLS, or anything.
    OtherProtocol,
}

/// Reads the preface, as slowly as the client sends it, and returns the stream as if it had not been read.
pub(super) async fn read_preface<S: AsyncRead + Unpin>(
    mut stream: S,
) -> Result<AfterPreface<S>, PrefaceError> {
    let mut awaited = PREFACE;
    let mut buffer = [0; PREFACE.len()];
    while !awaited.is_empty() {
        let wanted = buffer.get_mut(..awaited.len()).unwrap_or_default();
        let length = stream.read(wanted).await.unwrap_or(0);
        let received = buffer.get(..length).unwrap_or_default();
        if received.is_empty() {
            return Err(PrefaceError::Ended);
        }
        awaited = awaited
            .strip_prefix(received)
            .ok_or(PrefaceError::OtherProtocol)?;
    }
    Ok(AfterPreface {
        unread: PREFACE,
        stream,
    })
}

/// A stream whose preface has been read but still comes first.
#[derive(Debug)]
pub(super) struct AfterPreface<S> {
    unread: &'static [u8],
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for AfterPreface<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.unread.len().min(buffer.remaining());
        let (now, later) = self.unread.split_at_checked(length).unwrap_or_default();
        buffer.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

/// Not vectored: to a stream that is, h2 writes every message of 256 bytes and more by itself, in a system call and a packet
/// of its own. To this one, answers of up to 1 KiB that are ready at the same moment leave together.
impl<S: AsyncWrite + Unpin> AsyncWrite for AfterPreface<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
