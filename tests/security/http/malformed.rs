//! Requests that no client should send.

use anyhow::{Result, ensure};

use super::server::Server;

/// The server closes the connection and says nothing.
const CLOSED: u16 = 0;

#[tokio::test]
async fn malformed_requests_are_refused_and_never_reach_the_log() -> Result<()> {
    let server = Server::start(&[("HTTP__HEADER_TIMEOUT_SECS", "2")]).await?;
    let long = "x".repeat(20_000);
    let headers: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let huge = format!("x: {}\r\n", "x".repeat(200_000));
    for (request, statuses) in [
        ("CONNECT fanfold.example:443 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[405][..]),
        ("CONNECT / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400, 405]),
        ("GET fanfold.example:443 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        ("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        ("GET * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        ("GET ftp://x/healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        ("GET http:// HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        ("GET health HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[400]),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), &[414]),
        (format!("GET /{long}{long}{long}{long} HTTP/1.1\r\n\r\n"), &[414, 431, CLOSED]),
        (format!("GET / HTTP/1.1\r\n{headers}\r\n"), &[431]),
        (format!("GET / HTTP/1.1\r\n{huge}\r\n"), &[431, CLOSED]),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), &[400, 505]),
        ("\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), &[400]),
        ("GET /\u{0} HTTP/1.1\r\n\r\n".to_owned(), &[400]),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), &[400]),
        ("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_owned(), &[400]),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), &[400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[CLOSED]),
        ("GET /%00%ff HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &[404]),
    ] {
        let closing = request.replacen("host: x\r\n", "host: x\r\nconnection: close\r\n", 1);

        let answer = server.exchange(closing).await?;

        let status = answer.get(9..12).and_then(|status| status.parse::<u16>().ok());
        let right = statuses.contains(&status.unwrap_or(CLOSED));
        let start: String = request.chars().take(60).collect();
        ensure!(right, "{start:?}: {answer:?}");
    }
    // The whole URL in place of the path is right, if odd.
    let whole =
        "GET http://fanfold.example/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(server.exchange(whole).await?.starts_with("HTTP/1.1 200"));
    let log = server.log()?;
    ensure!(!log.contains("panicked"), "{log}");
    ensure!(!log.contains("ERROR"), "{log}");
    server.serves(1).await
}

#[tokio::test]
async fn answers_carry_the_security_headers() -> Result<()> {
    let server = Server::start(&[]).await?;
    for path in
        ["/healthz", "/nowhere", "/v1/auth/user", "/v1/storage/x", "/docs/", "/v1/auth/info"]
    {
        let answer = reqwest::get(format!("{}{path}", server.url())).await?;

        let headers = answer.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        let policy = headers["content-security-policy"].to_str()?;
        ensure!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        ensure!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        ensure!(!policy.contains("script-src") || path == "/docs/", "{path}: {policy}");
    }
    Ok(())
}
