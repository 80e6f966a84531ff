//! Clients that are slow with a head, a body or an answer, or say nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;

use super::server::{Server, rest, until};

const SETTINGS: &[(&str, &str)] = &[
    ("HTTP__HEADER_TIMEOUT_SECS", "1"),
    ("HTTP__IDLE_TIMEOUT_SECS", "1"),
    ("HTTP__STALL_TIMEOUT_SECS", "1"),
    ("HTTP__BYTES_PER_SEC_MIN", "1000"),
];
#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() -> Result<()> {
    let server = Server::start(SETTINGS).await?;
    let mut silent = Vec::new();
    let mut slow = Vec::new();
    for _ in 0..50 {
        silent.push(server.send("").await?);
        slow.push(server.send("GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await?);
    }
    let mut idle = server.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    until(&mut idle, "HTTP/1.1 200").await?;
    // One byte at a time gains no time.
    let (mut drip, mut writer) = server.send("GET / HTTP/1.1\r\nx: ").await?.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });

    for stream in silent.iter_mut().chain(&mut slow) {
        assert_eq!(rest(stream).await?, b"");
    }
    rest(&mut idle).await?;
    let mut heard = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut drip, &mut heard);
    let _ = tokio::time::timeout(super::server::PATIENCE, read).await?;
    dripping.await?;
    server.serves(1).await
}

#[tokio::test]
async fn slow_bodies_are_refused_with_the_reason() -> Result<()> {
    let server = Server::start(SETTINGS).await?;
    let key = server.owner_key()?;
    for (request, status) in [
        ("POST /v1/auth/access_token".to_owned(), "HTTP/1.1 408"),
        ("POST /v1/customer/jobs".to_owned(), "HTTP/1.1 408"),
        ("POST /v1/dev/apps".to_owned(), "HTTP/1.1 408"),
        (format!("POST /v1/dev/images?reference=a:1&digest={}", "a".repeat(64)), "HTTP/1.1 400"),
    ] {
        let head = format!(
            "{request} HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\ncontent-length: 1000000\r\n\
             \r\n{{"
        );
        let mut stream = server.send(head).await?;

        let answer = String::from_utf8_lossy(&rest(&mut stream).await?).into_owned();

        ensure!(answer.starts_with(status), "{request}: {answer:?}");
        ensure!(answer.contains("too slowly"), "{request}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn readers_that_take_no_answer_are_closed() -> Result<()> {
    let mut server = Server::start(SETTINGS).await?;
    let ask = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n";

    // Together they are more than the buffers of a connection take.
    let mut reader = server.send(ask.repeat(40)).await?;
    server.process.wrote("overdue=Write").await?;

    let heard = rest(&mut reader).await?.len();
    let whole = reqwest::get(format!("{}/docs/swagger-ui-bundle.js", server.url())).await?;
    let size = whole.bytes().await?.len();
    assert!(size > 1_000_000 && heard < 40 * size, "{heard} of 40 times {size}");
    Ok(())
}
