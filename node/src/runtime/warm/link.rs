//! The node's end of the way to a supervisor.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::protocol::{self, Done, GREETING, HEAD_BYTES, Kind, SAID_BYTES_MAX, Task, put_frame};
use crate::runtime::docker::Piece;

/// What the socket is called in its folder.
pub const SOCKET: &str = "node";
/// How long a supervisor may take until it says that it is ready, once its container has started.
const PATIENCE: Duration = Duration::from_secs(20);

/// A socket that waits for one supervisor.
#[derive(Debug)]
pub struct Waiting {
    listener: UnixListener,
    path: PathBuf,
}

/// The way to a supervisor that waits for a task.
#[derive(Debug)]
pub struct Link {
    socket: UnixStream,
    read: BytesMut,
}

/// What a supervisor says of a task that has ended.
#[derive(Debug)]
pub struct Report {
    pub done: Done,
    /// Then, the way to it; or what is left of the task.
    pub clean: oneshot::Receiver<Result<Link, String>>,
}

impl Waiting {
    /// Makes the socket in a folder that only the node and one container see.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        // The path of a socket is short, and that of a folder need not be.
        let open = fs::File::open(folder)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd()))?;
        let path = folder.join(SOCKET);
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(Self { listener, path })
    }

    /// Waits for the supervisor. Nobody else can come after it: the socket is gone.
    pub async fn greeted(self) -> io::Result<Link> {
        let greeted = async {
            let (socket, _) = self.listener.accept().await?;
            fs::remove_file(&self.path)?;
            let mut link = Link { socket, read: BytesMut::new() };
            match link.next().await? {
                Some((Kind::Ready, greeting)) if greeting == GREETING => Ok(link),
                _ => Err(io::Error::other("what answers is no supervisor")),
            }
        };
        timeout(PATIENCE, greeted).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Link {
    #[cfg(test)]
    pub fn of_tests(socket: UnixStream) -> Self {
        Self { socket, read: BytesMut::new() }
    }

    /// Whether the supervisor is still there. It says nothing without being asked.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = self.socket.try_read(&mut byte);
        self.read.is_empty() && read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    pub async fn ask(&mut self, task: &Task) -> io::Result<()> {
        let mut frame = Vec::new();
        put_frame(&mut frame, Kind::Task, &task.encode());
        self.socket.write_all(&frame).await
    }

    /// The next frame; `None` where the supervisor has gone.
    async fn next(&mut self) -> io::Result<Option<(Kind, Bytes)>> {
        loop {
            if let Some(head) = self.read.first_chunk::<HEAD_BYTES>() {
                let (kind, bytes) = protocol::read_head(*head, SAID_BYTES_MAX)?;
                if self.read.len() >= HEAD_BYTES + bytes {
                    let frame = self.read.split_to(HEAD_BYTES + bytes).freeze();
                    return Ok(Some((kind, frame.slice(HEAD_BYTES..))));
                }
            }
            if self.socket.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits until the supervisor says what is left of a task.
    async fn cleaned(mut self) -> Result<Self, String> {
        match self.next().await {
            Ok(Some((Kind::Clean, left))) if left.is_empty() => Ok(self),
            Ok(Some((Kind::Clean, left))) => Err(String::from_utf8_lossy(&left).into_owned()),
            Ok(_) | Err(_) => Err("the supervisor has gone".to_owned()),
        }
    }
}

/// What a task writes, to its end, of which `report` is told. Where the container ends without a
/// word, nothing is told.
pub fn told(
    link: Link,
    report: oneshot::Sender<Report>,
) -> impl Stream<Item = Piece> + Send + Unpin {
    Box::pin(stream::unfold(Some((link, report)), async |open| {
        let (mut link, report) = open?;
        let (kind, bytes) = link.next().await.ok()??;
        match kind {
            Kind::Output | Kind::Errors => {
                let piece = Piece { is_error: kind == Kind::Errors, bytes };
                Some((piece, Some((link, report))))
            }
            Kind::Done => {
                let done = Done::decode(&bytes).ok()?;
                let (cleaned, clean) = oneshot::channel();
                tokio::spawn(async move {
                    // Nobody waits for it any more where this fails.
                    let _ = cleaned.send(link.cleaned().await);
                });
                let _ = report.send(Report { done, clean });
                None
            }
            Kind::Ready | Kind::Task | Kind::Clean => None,
        }
    }))
}
