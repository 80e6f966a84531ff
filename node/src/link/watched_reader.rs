//! Reads what the server's bucket gives, and notes that it is away while it gives no byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

/// Gives the bytes of `inner`. Without one for a while, `is_away` becomes true until the next.
pub struct WatchedReader<R> {
    inner: R,
    is_away: watch::Sender<bool>,
    notice: Duration,
    /// When the current wait is long enough to be noted.
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl<R: AsyncRead + Unpin> WatchedReader<R> {
    pub fn new(inner: R, is_away: watch::Sender<bool>, notice: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(notice));
        Self { inner, is_away, notice, timer, is_waiting: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for WatchedReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) => {
                this.is_waiting = false;
                note(&this.is_away, false);
            }
            // What becomes of the error is the caller's.
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if !this.is_waiting {
                    this.is_waiting = true;
                    this.timer.as_mut().reset(Instant::now() + this.notice);
                }
                if this.timer.as_mut().poll(cx).is_ready() {
                    note(&this.is_away, true);
                }
            }
        }
        read
    }
}

/// Notes whether the server's bucket is away; who waits for a change is woken by one only.
pub fn note(known: &watch::Sender<bool>, is_away: bool) {
    known.send_if_modified(|known| std::mem::replace(known, is_away) != is_away);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn watched_reader_notes_a_silence_and_its_end() {
        let (reader, mut writer) = tokio::io::duplex(8);
        let is_away = watch::Sender::new(false);
        let mut noted = is_away.subscribe();
        let mut watched = WatchedReader::new(reader, is_away, Duration::from_millis(1));
        let reading = tokio::spawn(async move { watched.read_u8().await });

        noted.wait_for(|is_away| *is_away).await.unwrap();
        writer.write_all(b"x").await.unwrap();

        noted.wait_for(|is_away| !*is_away).await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), b'x');
    }
}
