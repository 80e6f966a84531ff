//! Reads exactly N bytes: an early end, or too long a time without bytes, is an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Gives exactly `left` bytes of `inner`; an early end or a long silence is an error.
pub struct ExactReader<R> {
    inner: R,
    left: u64,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<R: AsyncRead + Unpin> ExactReader<R> {
    pub fn new(inner: R, bytes: u64, silence: Duration) -> Self {
        Self { inner, left: bytes, silence, timer: Box::pin(tokio::time::sleep(silence)) }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ExactReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let room = usize::try_from(this.left).unwrap_or(usize::MAX).min(buf.remaining());
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, &mut part) else {
            ready!(this.timer.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        read?;
        let n = part.filled().len();
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        buf.advance(n);
        this.left -= n as u64;
        this.timer.as_mut().reset(Instant::now() + this.silence);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn read(inner: &[u8], bytes: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        ExactReader::new(inner, bytes, Duration::from_secs(5)).read_to_end(&mut all).await?;
        Ok(all)
    }

    #[tokio::test]
    async fn exact_reader_gives_exactly_the_announced_bytes() {
        assert_eq!(read(b"fanfold", 3).await.unwrap(), b"fan");
        assert_eq!(read(b"fanfold", 7).await.unwrap(), b"fanfold");
        assert_eq!(read(b"fanfold", 0).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn exact_reader_fails_on_an_early_end() {
        assert_eq!(read(b"fan", 7).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn exact_reader_fails_on_silence() {
        let (mut reader, _writer) = tokio::io::duplex(8);

        let read = ExactReader::new(&mut reader, 1, Duration::from_millis(1)).read_u8().await;

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
