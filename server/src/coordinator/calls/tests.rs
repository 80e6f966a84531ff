//! Hostile receivers, and addresses that are not to be reached.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::call::{Answer, Call, CallPlace, HeaderText, LateCallText, Method};
use common::ids::{RunId, WorkspaceId};
use common::market::{Market, Policy, Stored};
use common::secret::{Purpose, SecretId};
use common::testing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::*;
use crate::api::testing::TestServer;
use crate::clock;
use crate::data::ssrf_guard::Guard;

const WORKSPACE: WorkspaceId = WorkspaceId::new(Uuid::from_u128(7));

fn attempt(call: Call) -> Attempt {
    let task = CallTask { call, ..testing::call("http://h.example/", 0) };
    let spec = testing::order_plan(WORKSPACE, testing::call_plan(task));
    let run = RunId::new(Uuid::from_u128(9));
    let task = TaskRef { run, stage: StageNo::new(0), index: 0 };
    let lease = Lease { task, attempt: 1 };
    Attempt { lease, spec: Arc::new(spec), block: BlockId::ROOT, late: None }
}

/// Makes a call behind this guard.
async fn make(server: &TestServer, guard: Guard, call: Call) -> Answer {
    let client = Client::new(guard, server.app.secrets.clone(), Evaluator::default());
    match client.make(&attempt(call)).await {
        Report::Ended(answer) => answer,
        Report::Lost(why) | Report::Invalid(why) => panic!("{why}"),
    }
}

async fn told(server: &TestServer, url: &str) -> String {
    let answer = make(server, Guard::new(false), Call::new(Method::Get, url)).await;
    assert_eq!(answer.status, None, "{url}: {answer:?}");
    answer.error.unwrap()
}

/// A receiver that reads the head of each request, and then does this with the connection.
async fn receiver<F, Fut>(with: F) -> String
where
    F: Fn(TcpStream, String) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let with = with.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 16 * 1024];
                let read = socket.read(&mut head).await.unwrap_or(0);
                with(socket, String::from_utf8_lossy(&head[..read]).into_owned()).await;
            });
        }
    });
    url
}

/// A receiver that answers so.
async fn answers(text: impl Into<Vec<u8>>) -> String {
    let text = text.into();
    receiver(move |mut socket, _| {
        let text = text.clone();
        async move {
            let _ = socket.write_all(&text).await;
            let _ = socket.shutdown().await;
        }
    })
    .await
}

async fn get(server: &TestServer, url: String) -> Answer {
    let call = Call { timeout_secs: 2, ..Call::new(Method::Get, url) };
    make(server, Guard::new(true), call).await
}

#[tokio::test]
async fn call_reaches_no_private_address_in_any_spelling() {
    let server = TestServer::open().await;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        let error = told(&server, &format!("http://{host}/")).await;
        assert!(error.contains("private address"), "{host}: {error}");
    }
    // A name is judged by what it leads to when the connection is made.
    let error = told(&server, "http://localhost:8080/").await;
    assert!(error.contains("leads to a private address"), "{error}");
}

#[tokio::test]
async fn call_reaches_no_port_of_a_system_service() {
    let server = TestServer::open().await;
    for port in [21, 22, 25, 53, 111, 445, 1023] {
        let error = told(&server, &format!("http://h.example:{port}/")).await;
        assert!(error.contains(&format!("the port {port} is not connected to")), "{error}");
    }
}

#[tokio::test]
async fn redirect_is_an_answer_and_not_followed() {
    let server = TestServer::open().await;
    let inside = receiver(|_, _| async { panic!("the redirect was followed") }).await;
    let url = answers(format!("HTTP/1.1 302 Found\r\nlocation: {inside}\r\n\r\n")).await;

    let answer = get(&server, url).await;

    assert_eq!((answer.status, answer.error), (Some(302), None));
}

#[tokio::test]
async fn endless_body_is_cut_where_what_is_kept_ends() {
    let server = TestServer::open().await;
    let url = receiver(|mut socket, _| async move {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while socket.write_all(&[b'x'; 8192]).await.is_ok() {}
    })
    .await;

    let answer = get(&server, url).await;

    assert_eq!((answer.status, answer.truncated, answer.error), (Some(200), true, None));
    assert_eq!(answer.body.len(), common::call::ANSWER_BYTES_MAX as usize);
}

#[tokio::test]
async fn slow_answers_end_at_the_time_out() {
    let server = TestServer::open().await;
    let silent = receiver(|socket, _| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let dripping = receiver(|mut socket, _| async move {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while socket.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for url in [silent, dripping] {
        let began = Instant::now();
        let answer = get(&server, url).await;
        assert_eq!(answer.error.as_deref(), Some("no complete answer came within 2 s"));
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn compressed_body_is_kept_as_it_came() {
    let server = TestServer::open().await;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![0; 8 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let url = answers([head.as_bytes(), &bomb].concat()).await;

    let answer = get(&server, url).await;

    assert_eq!((answer.status, answer.truncated), (Some(200), false));
    assert_eq!(answer.body, bomb);
}

#[tokio::test]
async fn broken_answers_are_failures_with_a_reason() {
    let server = TestServer::open().await;
    let many = "x: y\r\n".repeat(10_000);
    for text in [
        "SSH-2.0-OpenSSH\r\n".to_owned(),
        String::new(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nshort".to_owned(),
    ] {
        let answer = get(&server, answers(text.clone()).await).await;
        assert!(answer.error.is_some(), "{text:.40}: {answer:?}");
    }
}

#[tokio::test]
async fn secret_cannot_carry_other_headers_and_goes_to_calls_only() {
    let server = TestServer::open().await;
    let url = receiver(|mut socket, head| async move {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        let _ = socket.write_all(answer.as_bytes()).await;
    })
    .await;
    let keep = async |id: &str, purpose: Purpose, value: &str| {
        let secret = crate::store::secrets::Secret {
            id: SecretId::named(id).unwrap(),
            purpose,
            access_key: String::new(),
            params: BTreeMap::new(),
            name: String::new(),
            expires_at: None,
        };
        server.app.secrets.keep(WORKSPACE, &secret, value).await.unwrap();
    };
    keep("token", Purpose::Other, "Bearer t").await;
    keep("evil", Purpose::Other, "a\r\nHost: evil").await;
    keep("keys", Purpose::Aws, "k").await;
    let with = |id: &str| {
        let value = HeaderText::Secret(SecretId::named(id).unwrap());
        Call { headers: [("X-Key".to_owned(), value)].into(), ..Call::new(Method::Get, &*url) }
    };

    let told = make(&server, Guard::new(true), with("token")).await;
    assert!(String::from_utf8_lossy(&told.body).contains("x-key: Bearer t"), "{told:?}");
    for (id, why) in [("evil", "not valid"), ("keys", "a call takes other"), ("none", "no secret")]
    {
        let answer = make(&server, Guard::new(true), with(id)).await;
        assert!(answer.error.as_ref().is_some_and(|error| error.contains(why)), "{answer:?}");
    }
    let signed =
        Call { sign: vec![SecretId::named("token").unwrap()], ..Call::new(Method::Get, &*url) };
    let answer = make(&server, Guard::new(true), signed).await;
    assert!(answer.error.is_some_and(|error| error.contains("whsec_")));
}

#[tokio::test]
async fn call_gets_its_texts_with_secrets_when_it_is_made() {
    let server = TestServer::open().await;
    let url = receiver(|mut socket, head| async move {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        let _ = socket.write_all(answer.as_bytes()).await;
    })
    .await;
    let secret = crate::store::secrets::Secret {
        id: SecretId::named("token").unwrap(),
        purpose: Purpose::Other,
        access_key: String::new(),
        params: BTreeMap::new(),
        name: String::new(),
        expires_at: None,
    };
    server.app.secrets.keep(WORKSPACE, &secret, "hush").await.unwrap();
    let text = |text: &str| LateCallText {
        place: CallPlace::Header("X-Key".to_owned()),
        text: text.parse().unwrap(),
    };
    let late = async |late: LateCallText| {
        let task = CallTask { late: vec![late], ..testing::call(&url, 0) };
        let scope = serde_json::from_str(r#"{"secrets": {"key": "token"}}"#).unwrap();
        let plan = testing::call_plan(task);
        let spec = RunSpec { scope, ..testing::order_plan(WORKSPACE, plan) };
        let run = RunId::new(Uuid::from_u128(1));
        let mut market = Market::load(Policy::default(), Stored::default(), clock::now());
        market.grant(WORKSPACE, "1".parse().unwrap(), "gift", clock::now()).unwrap();
        market.start_run(run, Arc::new(spec), clock::now()).unwrap();
        market.dispatch(clock::now());
        let task = TaskRef { run, stage: StageNo::new(0), index: 0 };
        let run = market.run(run).unwrap();
        let attempt = Attempt::new(run, Lease { task, attempt: 1 }).unwrap();
        let secrets = server.app.secrets.clone();
        Client::new(Guard::new(true), secrets, Evaluator::default()).make(&attempt).await
    };

    let Report::Ended(answer) = late(text("for {{ secrets.key }}")).await else { panic!("lost") };
    let told = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(told.contains("x-key: for hush"), "{told}");
    let invalid = late(text("{{ int('x') }}")).await;
    assert!(matches!(invalid, Report::Invalid(why) if why.contains("\"call\"")));
}
