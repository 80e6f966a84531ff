use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use warp::{Filter as _, Reply as _};

use super::{Options, serve};
use crate::captured_log::CapturedLog;
use crate::config::Config;
use crate::metrics::Metrics;

static BEGUN: Notify = Notify::const_new();
static GO_ON: Notify = Notify::const_new();
static NEVER_BEGUN: Notify = Notify::const_new();

/// A server of four routes: one that answers, one that panics, one that waits to be told, and one
/// that never answers.
async fn start(stop: &CancellationToken) -> (TcpStream, tokio::task::JoinHandle<()>) {
    start_with(stop, options()).await
}

fn options() -> Options {
    Options::new(&Config::load(None).unwrap().http, Vec::new(), Metrics::new())
}

async fn start_with(
    stop: &CancellationToken,
    options: Options,
) -> (TcpStream, tokio::task::JoinHandle<()>) {
    let fine = warp::path("fine").map(|| "fine".into_response());
    let panics = warp::path("panics").map(|| -> warp::reply::Response { panic!("on purpose") });
    let waits = warp::path("waits").then(|| async {
        BEGUN.notify_one();
        GO_ON.notified().await;
        "waited".into_response()
    });
    let never = warp::path("never").then(|| async {
        NEVER_BEGUN.notify_one();
        std::future::pending::<warp::reply::Response>().await
    });
    let routes = fine.or(panics).unify().or(waits).unify().or(never).unify();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(routes, listener, options, stop.clone()));
    (TcpStream::connect(address).await.unwrap(), serving)
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

async fn heard(stream: &mut TcpStream, text: &str) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(text) {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "closed after {heard:?}");
        heard.push_str(str::from_utf8(&buffer[..n]).unwrap());
    }
    heard
}

#[tokio::test]
async fn panic_of_a_handler_is_answered_and_ends_no_connection() {
    let stop = CancellationToken::new();
    let (mut stream, _serving) = start(&stop).await;

    ask(&mut stream, "/panics").await;
    let panicked = heard(&mut stream, "INTERNAL").await;
    ask(&mut stream, "/fine").await;
    let fine = heard(&mut stream, "\r\n\r\nfine").await;

    assert!(panicked.starts_with("HTTP/1.1 500"), "{panicked}");
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
    assert!(fine.contains("x-frame-options: DENY"), "{fine}");
    assert_ne!(request_id(&panicked), request_id(&fine));
    assert!(panicked.contains(&format!("\"request_id\":\"{}\"", request_id(&panicked))));
    stop.cancel();
}

/// The id in the header of an answer: a new one, because the client is not a trusted proxy.
fn request_id(answer: &str) -> &str {
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert!(id.parse::<uuid::Uuid>().is_ok(), "{answer}");
    id
}

#[tokio::test]
async fn request_without_progress_is_answered_with_its_id() {
    let stop = CancellationToken::new();
    let mut options = options();
    options.limits.request = Duration::from_millis(50);
    let (mut stream, _serving) = start_with(&stop, options).await;

    ask(&mut stream, "/never").await;
    let answer = heard(&mut stream, "request_id\":").await;

    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains(&format!("\"request_id\":\"{}\"", request_id(&answer))), "{answer}");
    stop.cancel();
}

#[tokio::test]
async fn request_whose_client_has_left_is_in_the_access_log() {
    let log = CapturedLog::start();
    let stop = CancellationToken::new();
    let (mut stream, _serving) = start(&stop).await;

    ask(&mut stream, "/never").await;
    NEVER_BEGUN.notified().await;
    drop(stream);

    let line = log.line(&["access: request ended", "status=499 "]).await;
    assert!(line.contains("method=\"GET\" route=\"unknown\"") && line.contains("bytes=0 "));
    stop.cancel();
}

#[tokio::test]
async fn stop_closes_idle_connections_and_lets_requests_end() {
    let stop = CancellationToken::new();
    let (mut waiting, serving) = start(&stop).await;
    let mut idle = TcpStream::connect(waiting.peer_addr().unwrap()).await.unwrap();
    ask(&mut idle, "/fine").await;
    heard(&mut idle, "\r\n\r\nfine").await;
    ask(&mut waiting, "/waits").await;
    BEGUN.notified().await;

    stop.cancel();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    GO_ON.notify_one();

    let answer = heard(&mut waiting, "waited").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = tokio::time::timeout(Duration::from_secs(20), serving).await;
    ended.expect("the server does not end").unwrap();
    assert_eq!(rest, b"");
}
