//! One workspace that takes as many places as it can, and another that wants one.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpStream;

use super::server::{PATIENCE, Server, push, until};

/// As many as one workspace had of all in all before.
const WAITS: usize = 256;
const WAITS_MAX: usize = 64;

#[tokio::test]
async fn requests_that_wait_or_stream_for_one_workspace_leave_the_others_served() -> Result<()> {
    server::limits::open_files::raise_limit();
    let server = Server::start(&[("HTTP__CONNECTIONS_PER_ADDRESS_MAX", "2000")]).await?;
    let (hostile, other) = (server.owner().await?, server.other().await?);
    for client in [&hostile, &other] {
        push(client, "a", "app").await?;
        client.template("passthrough", "a", "passthrough").await?;
    }
    let draft = json!({"templateId": "a", "dataSource": {"dataSourceDescriptor": "bypass"}});
    let (held, free) = (hostile.create(draft.clone()).await?, other.create(draft).await?);
    let wait =
        |job: &str, secs: u8| format!("/v1/customer/jobs/{job}?wait={secs}&state=JOB_STATE_NEW");

    for (path, one) in [
        (wait(&held, 60), wait(&free, 1)),
        ("/v1/customer/events".to_owned(), format!("/v1/customer/events?jobId={free}")),
    ] {
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\r\n", hostile.token);
        let mut asked = Vec::new();
        for _ in 0..WAITS {
            asked.push(server.send(&head).await?);
        }
        let refused = refusals(asked, WAITS - WAITS_MAX).await?;

        let answer = other.request(Method::GET, &one).timeout(PATIENCE).send().await?;

        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(refused.len(), WAITS - WAITS_MAX, "{path}");
        for refusal in refused {
            ensure!(refusal.contains("retry-after: 5"), "{refusal}");
            ensure!(refusal.contains("too many"), "{refusal}");
        }
    }
    Ok(())
}

/// Waits until this many of the streams have answered with a refusal, and gives these answers.
async fn refusals(streams: Vec<TcpStream>, expected: usize) -> Result<Vec<String>> {
    let (sender, mut heard) = tokio::sync::mpsc::channel(streams.len());
    let mut reading = tokio::task::JoinSet::new();
    for mut stream in streams {
        let sender = sender.clone();
        reading.spawn(async move {
            // Served ones stay open, and keep their places, until the test ends.
            if let Ok(answer) = until(&mut stream, "TOO_MANY_CONCURRENT").await {
                let _ = sender.send(answer).await;
            }
        });
    }
    let mut refused = Vec::new();
    while refused.len() < expected {
        let answer = tokio::time::timeout(PATIENCE, heard.recv()).await;
        refused.push(answer.context("too few are refused")?.context("a reader ended")?);
    }
    // Detached readers keep their connections open for the rest of the test.
    reading.detach_all();
    Ok(refused)
}

#[tokio::test]
async fn silent_bodies_hold_no_place_for_pushes() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (hostile, other) = (server.owner().await?, server.other().await?);
    let mut silent = Vec::new();
    for path in ["/v1/dev/apps", "/v1/dev/apps", "/v1/dev/engines", "/v1/dev/engines"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: 1000\r\n\
             expect: 100-continue\r\n\r\n",
            hostile.token
        );
        let mut stream = server.send(head).await?;
        // The server asks for the body once the handler waits for it.
        until(&mut stream, "100 Continue").await?;
        silent.push(stream);
    }

    tokio::time::timeout(Duration::from_secs(20), push(&other, "a", "app"))
        .await
        .context("nobody can push")??;
    Ok(())
}
