//! A name that leads to a public address when it is looked up first, and to the server's own
//! machine when it is looked up again.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::client::text;
use harness::market::{Market, Shape};
use harness::say::say;
use harness::services::receiver::Receiver;
use harness::wait::until;
use serde_json::json;

/// A public address at which nobody listens.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(11, 255, 255, 254);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);
/// Of the question of a DNS message: it asks for an IPv4 address.
const TYPE_A: [u8; 2] = [0, 1];
const HEADER_BYTES: usize = 12;

/// Answers each question for an address with the public one and with loopback in turn; gives how
/// many were asked.
fn resolver() -> Result<Arc<AtomicUsize>> {
    let socket = UdpSocket::bind(SocketAddr::from((RESOLVER, 53)))?;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((size, from)) = socket.recv_from(&mut message) {
            let Some(answer) = answer(&message[..size], &counted) else { continue };
            // A question that is not answered is asked again.
            let _ = socket.send_to(&answer, from);
        }
    });
    Ok(asked)
}

fn answer(message: &[u8], asked: &AtomicUsize) -> Option<Vec<u8>> {
    let name = message.get(HEADER_BYTES..)?.iter().position(|byte| *byte == 0)?;
    let kind = HEADER_BYTES + name + 1;
    let question = message.get(HEADER_BYTES..kind + 4)?;
    let has_answer = message.get(kind..kind + 2)? == TYPE_A;
    let mut answer = message.get(..2)?.to_vec();
    // An answer without an error: one question, and no further records.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(has_answer), 0, 0, 0, 0]);
    answer.extend(question);
    if has_answer {
        let is_first = asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        let address = if is_first { PUBLIC } else { Ipv4Addr::LOCALHOST };
        // The name of the question, an IPv4 address, not to be kept.
        answer.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

#[tokio::test]
async fn name_that_changes_between_look_up_and_connect_leads_to_no_private_address() -> Result<()> {
    let Ok(asked) = resolver() else {
        say(format_args!("skipped: answering names takes root"));
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("resolv.conf");
    std::fs::write(&file, format!("nameserver {RESOLVER}\noptions timeout:1 attempts:2\n"))?;
    let receiver = Receiver::open().await?;
    let port = receiver.url.rsplit(':').next().context("a port")?.to_owned();
    let shape = Shape::nodes(0).set("DATA__ALLOW_PRIVATE_ADDRESSES", "false").resolver(file);
    Market::open(shape, async |_, client| {
        let url = format!("http://changes.example:{port}/inside");
        let order =
            json!({"call": {"url": url, "timeout_secs": 2, "retry": {"waits_secs": [0, 0, 0]}}});
        let job = client.post("/v1/jobs", order).await?;
        let path = format!("/v1/jobs/{}/runs", text(&job["id"])?);
        let run = text(&client.post(&path, json!({})).await?["run"]["id"])?;
        let path = format!("/v1/runs/{run}");

        let ended = until("the end of the call", async || {
            let run = client.get(&path).await?;
            Ok((!run["ended_at"].is_null()).then_some(run))
        })
        .await?;

        ensure!(ended["state"] == "failed", "{ended}");
        let attempts = client.get(&format!("{path}/attempts")).await?;
        let errors: Vec<_> = attempts["attempts"].as_array().context("a list")?.iter().collect();
        ensure!(errors.len() == 4, "{attempts}");
        let refused = "or it leads to a private address";
        let is_refused = |attempt: &&serde_json::Value| {
            attempt["error"].as_str().is_some_and(|error| error.contains(refused))
        };
        ensure!(errors.into_iter().any(|attempt| is_refused(&attempt)), "{attempts}");
        // Both answers were given, so that the change was there to be fallen for.
        ensure!(asked.load(Ordering::SeqCst) >= 2, "nobody asked");
        ensure!(receiver.received("/").is_empty(), "the server called its own machine");
        Ok(())
    })
    .await?;
    // The receiver is there to be reached: a connection of our own is.
    reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()?
        .get(format!("{}/inside", receiver.url))
        .send()
        .await?;
    ensure!(receiver.received("/inside").len() == 1, "the receiver does not listen");
    Ok(())
}
