//! Planning the chunks of a file of a terabyte, which a stub on this machine serves by ranges.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::data::location::Source;
use common::ids::{RunId, WorkspaceId};
use common::plan::Partitioner;
use server::data::pace::{Pace, Side};
use server::data::ssrf_guard::{Guard, Ports};
use server::data::{Error, Resolved};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use uuid::Uuid;

use super::data;
use super::figure::Figure;
use super::report::Report;
use crate::client::failure::Failure;

const OWNER: WorkspaceId = WorkspaceId::new(Uuid::from_u128(3));
const RUN: RunId = RunId::new(Uuid::from_u128(2));
/// One terabyte.
const SIZE: u64 = 1_000_000_000_000;
/// The file is this, over and over: a record whose quoted text has a line end.
const RECORD: &[u8] =
    b"1842,2026-11-30T08:15:00Z,\"a note of two lines,\nwith \"\"quotes\"\" in it\",3.75\n";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Chunks to cut the terabyte in
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    chunks: u64,
}

pub async fn run(args: &Args) -> Result<Report, Failure> {
    let folder = tempfile::Builder::new().prefix("fanfold-bench-").tempdir();
    let folder = folder.map_err(|error| Failure::local("cannot make a temporary folder", error))?;
    measure(folder.path(), args.chunks)
        .await
        .map_err(|error| Failure::caused("the data plane failed", &error))
}

async fn measure(folder: &Path, chunks: u64) -> Result<Report, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let stub = Arc::new(Stub::default());
    let serving = tokio::spawn(serve(listener, Arc::clone(&stub)));
    let guard = Ports::new(&[address.port()]).map(|ports| Guard::new(true).with_ports(ports));
    let data = data::open(folder, guard.unwrap_or_else(|| Guard::new(true))).await?;
    let url = format!("http://{address}/table.csv");
    let source = Source::Url { url, username: None, secret: None };
    let pace = Pace::new(Side::Source);
    let mut report = Report::new("ranges: the chunks of a terabyte, planned over a stub");
    let bytes = SIZE.div_ceil(chunks);
    for (name, partitioner) in [
        ("bytes", Partitioner::Bytes { bytes }),
        ("lines", Partitioner::Lines { bytes }),
        ("csv", Partitioner::Csv { bytes }),
    ] {
        let Resolved::Objects(objects) = data.resolve(RUN, OWNER, &source, &pace).await? else {
            return Err(Error::Mismatch);
        };
        let (before, start) = (stub.seen(), Instant::now());
        let table = data.partition(OWNER, &source, partitioner, objects, &pace).await?;
        let took = start.elapsed();
        let seen = stub.seen();
        report.row(format!("{name}: planned"), Figure::millis(took), "ms");
        report.row(format!("{name}: chunks"), Figure::whole(table.len().into()), "");
        report.row(format!("{name}: requests"), Figure::whole(seen.0 - before.0), "");
        report.row(format!("{name}: read"), Figure::mebibytes(seen.1 - before.1), "MiB");
    }
    serving.abort();
    Ok(report)
}

/// What the stub has been asked for.
#[derive(Default)]
struct Stub {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Stub {
    fn seen(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

async fn serve(listener: TcpListener, stub: Arc<Stub>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket, Arc::clone(&stub)));
    }
}

/// Answers the requests of a connection for ranges; none has a body.
async fn answer(mut socket: TcpStream, stub: Arc<Stub>) -> std::io::Result<()> {
    /// A request without a range, as a look at the file is, is given this many bytes.
    const WHOLE_BYTES: u64 = 1 << 20;

    socket.set_nodelay(true)?;
    let mut head = Vec::with_capacity(4096);
    loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let asked: Vec<u8> = head.drain(..end + 4).collect();
            let (from, to) = range(&asked).unwrap_or((0, WHOLE_BYTES));
            let to = to.min(SIZE);
            stub.requests.fetch_add(1, Ordering::Relaxed);
            stub.bytes.fetch_add(to - from, Ordering::Relaxed);
            let mut answer = format!(
                "HTTP/1.1 206 Partial Content\r\nETag: \"stub\"\r\nAccept-Ranges: bytes\r\n\
                 Content-Length: {}\r\nContent-Range: bytes {from}-{}/{SIZE}\r\n\r\n",
                to - from,
                to - 1
            )
            .into_bytes();
            if !asked.starts_with(b"HEAD") {
                answer.extend(bytes(from, to));
            }
            socket.write_all(&answer).await?;
        } else if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
}

/// The bytes `from..to` that a request asks for.
fn range(head: &[u8]) -> Option<(u64, u64)> {
    let head = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
    let (_, range) = head.split_once("range: bytes=")?;
    let (from, rest) = range.split_once('-')?;
    let to = rest.split("\r\n").next()?;
    Some((from.parse().ok()?, to.parse::<u64>().ok()?.checked_add(1)?))
}

fn bytes(from: u64, to: u64) -> impl Iterator<Item = u8> {
    let len = RECORD.len() as u64;
    let skip = usize::try_from(from % len).unwrap_or(0);
    let take = usize::try_from(to - from).unwrap_or(0);
    RECORD.iter().copied().cycle().skip(skip).take(take)
}
