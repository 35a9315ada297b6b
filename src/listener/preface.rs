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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::io::IoSlice;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use futures_util::future::join_all;
    use http::{Request, Response};
    use hyper::body::{Body, Bytes, Incoming};
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

    use super::read_preface;

    /// A stream that takes vectors, as those of TCP and TLS do, and counts what is written at once.
    struct Counting {
        stream: DuplexStream,
        writes: Arc<AtomicUsize>,
    }

    impl AsyncRead for Counting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.stream).poll_write(context, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<std::io::Result<usize>> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
            let whole: Vec<u8> = bytes.collect();
            Pin::new(&mut self.stream).poll_write(context, &whole)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(context)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(context)
        }
    }

    async fn length_of(mut body: Incoming) -> usize {
        let mut length = 0;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            length += frame.expect("a frame").data_ref().map_or(0, Bytes::len);
        }
        length
    }

    #[tokio::test]
    async fn answers_that_are_ready_together_leave_together() {
        const CALLS: usize = 64;
        const ANSWER_BYTES: usize = 700;
        const ROOM: usize = 1024 * 1024;
        let (near, far) = tokio::io::duplex(ROOM);
        let writes = Arc::new(AtomicUsize::new(0));
        let counting = Counting {
            stream: far,
            writes: Arc::clone(&writes),
        };
        let service =
            service_fn(|_| async { Ok::<_, Infallible>(Response::new("a".repeat(ANSWER_BYTES))) });
        tokio::spawn(async move {
            let stream = read_preface(counting).await.expect("a preface");
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        let io = TokioIo::new(near);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut client, connection) = handshake.await.expect("a handshake");
        tokio::spawn(connection);

        let calls = (0..CALLS).map(|_| client.send_request(Request::new(String::new())));
        let answers = join_all(calls).await.into_iter();
        let bodies = answers.map(|answer| length_of(answer.expect("an answer").into_body()));
        let lengths = join_all(bodies).await;

        assert!(
            lengths.iter().all(|length| *length == ANSWER_BYTES),
            "{lengths:?}"
        );
        let writes = writes.load(Ordering::Relaxed);
        assert!(writes < CALLS / 2, "{writes} writes for {CALLS} answers");
    }
}
