use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use warp::{Filter as _, Reply as _};

use super::{Options, serve};
use crate::config::Config;
use crate::metrics::Metrics;

static BEGUN: Notify = Notify::const_new();
static GO_ON: Notify = Notify::const_new();

/// A server of three routes: one that answers, one that panics, one that waits to be told.
async fn start(stop: &CancellationToken) -> (TcpStream, tokio::task::JoinHandle<()>) {
    let fine = warp::path("fine").map(|| "fine".into_response());
    let panics = warp::path("panics").map(|| -> warp::reply::Response { panic!("on purpose") });
    let waits = warp::path("waits").then(|| async {
        BEGUN.notify_one();
        GO_ON.notified().await;
        "waited".into_response()
    });
    let routes = fine.or(panics).unify().or(waits).unify();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options::new(&Config::load(None).unwrap().http, Vec::new(), Metrics::new());
    let serving = tokio::spawn(serve(routes, listener, options, stop.clone()));
    (TcpStream::connect(address).await.unwrap(), serving)
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
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
