//! Images that are to open a donor's network, engine or machine to a stranger, or to take the
//! machine away from others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use harness::client::{COMPLETE, Client, Refusal};
use harness::machine::busybox::{self, docker};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::registry::{BODY, Registry};
use harness::wait::until;

const SECRET: &str = "INTRANET-SECRET-4711";
/// Nobody's job may take this long for what others do; alone it takes less than a second.
const CALM: Duration = Duration::from_secs(15);

fn order(template: &str) -> Value {
    json!({
        "templateId": template, "name": template,
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

/// Pushes an app that runs in this image, and makes a job of it.
async fn job(client: &Client, name: &'static str, image: &str, script: &str) -> Result<String> {
    let package = Package::app(name, script).with("platform_config", json!({"container": image}));
    client.push(&package).await?;
    client.template("passthrough", name, "passthrough").await?;
    client.create(order(name)).await
}

async fn refused(client: &Client, id: &str) -> Result<Refusal> {
    client.refused(Method::POST, &format!("/v1/customer/jobs/{id}/run"), json!({})).await
}

/// A service of the machine's own that is for no stranger, and how often it was asked.
async fn intranet() -> Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (port, asked) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
    let counter = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let body = format!("{{\"errors\":[{{\"message\":\"{SECRET}\"}}]}}");
            let answer =
                format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            // Whoever has gone needs no answer.
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    Ok((port, asked))
}

#[tokio::test]
async fn image_reference_reaches_no_private_service() -> Result<()> {
    let shape = Shape::nodes(1).set("DATA__ALLOW_PRIVATE_ADDRESSES", "false");
    Market::open(shape, async |_, client| {
        let (port, asked) = intranet().await?;
        for host in ["127.0.0.1", "localhost", "127.1", "2130706433", "0.0.0.0", "[::1]"] {
            let image = format!("{host}:{port}/admin/users:1");
            let id = job(&client, "reader", &image, "true").await?;

            let refusal = refused(&client, &id).await?;

            let message = &refusal.message;
            ensure!(!message.contains(SECRET), "{message}");
            ensure!(host == "[::1]" || message.contains(&image), "{message}");
        }
        ensure!(asked.load(Ordering::Relaxed) == 0, "the service was asked");
        Ok(())
    })
    .await
}

/// A server that may reach private addresses makes no node do so.
#[tokio::test]
async fn node_contacts_no_private_registry_and_discloses_no_response() -> Result<()> {
    let shape = Shape::nodes(1).set_nodes("DATA__ALLOW_PRIVATE_ADDRESSES", "false");
    Market::open(shape, async |_, client| {
        let registry = Registry::public(json!({})).await?;
        for image in [registry.image(), registry.image().replace("127.0.0.1", "localhost")] {
            let id = job(&client, "reader", &image, "true").await?;
            client.run(&id).await?;

            let message = client.failure(&id).await?;

            ensure!(message.contains("private address"), "{message}");
            ensure!(!message.contains(BODY), "{message}");
        }
        let paths = registry.paths();
        let asked = |what: &str| paths.iter().any(|path| path.contains(what));
        ensure!(asked("/manifests/1") && !asked("sha256"), "{paths:?}");
        Ok(())
    })
    .await
}

/// The right image comes all the way: a list of platforms, packed layers, blobs elsewhere.
#[tokio::test]
async fn public_image_is_pinned_and_pulled_by_the_node() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let registry = Registry::public(json!({"Env": ["FROM_IMAGE=yes"]})).await?;
        let script =
            "cat /private > $TASK_RESULTS_DIR/out; echo $FROM_IMAGE >> $TASK_RESULTS_DIR/out";
        let id = job(&client, "reader", &registry.image(), script).await?;

        client.run(&id).await?;
        let tried = client.reached(&id, COMPLETE).await;

        registry.forget();
        tried?;
        let files = client.results(&id).await?;
        ensure!(files["out"] == format!("{}yes\n", registry.host), "{files:?}");
        let seen = registry.seen.lock().expect("no request panics").clone();
        for (path, authorization) in &seen {
            ensure!(!path.starts_with("/store/") || authorization.is_empty(), "{path}");
        }
        ensure!(seen.iter().any(|(path, _)| path.starts_with("/store/")));
        Ok(())
    })
    .await
}

/// An image that is removed when the test ends, however it does.
struct Gone(String);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = docker(&["image", "rm", "--force", &self.0]);
    }
}

#[tokio::test]
async fn image_of_an_operators_engine_is_not_shared_with_strangers() -> Result<()> {
    Market::open(Shape::nodes(1), async |_, client| {
        let own = format!("donor-internal/billing-db:{}", uuid::Uuid::new_v4().simple());
        let _gone = Gone(own.clone());
        busybox::import(&own, &[&format!("ENV BILLING={SECRET}")])?;
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", &own])?;
        let id = id.trim().trim_start_matches("sha256:").to_owned();
        let script = "echo $BILLING > $TASK_RESULTS_DIR/out";
        for (name, image) in [("named", own.clone()), ("numbered", id.clone())] {
            let job = job(&client, name, &image, script).await?;
            let refusal = refused(&client, &job).await?;
            ensure!(refusal.message.contains("fanfold image push"), "{}", refusal.message);
        }
        for (name, image) in [("lent", own), ("by-id", id)] {
            let job = job(&client, name, &format!("localhost/{image}"), script).await?;
            client.run(&job).await?;
            let message = client.failure(&job).await?;
            ensure!(message.contains("fanfold image push"), "{message}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn images_of_the_engine_may_be_shared_by_the_owner() -> Result<()> {
    let shape = Shape::nodes(1).set_nodes("NODE_LOCAL_IMAGES", "true");
    Market::open(shape, async |_, client| {
        let image = format!("localhost/{}", busybox::IMAGE);
        let id = job(&client, "own", &image, "echo mine > $TASK_RESULTS_DIR/out").await?;
        client.run(&id).await?;
        client.reached(&id, COMPLETE).await?;
        ensure!(client.results(&id).await?["out"] == "mine\n");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn images_that_cannot_run_take_no_node_from_others() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        let mut hostile = Vec::new();
        for (number, volume) in ["/proc", "/dev"].into_iter().enumerate() {
            let registry = Registry::public(json!({"Volumes": {volume: {}}})).await?;
            hostile.push((market.tenant(&format!("hostile-{number}")).await?, registry));
        }
        let attacked = attack(&hostile).await;
        let calm = honest(&client).await;
        hostile.iter().for_each(|(_, registry)| registry.forget());
        attacked?;
        let took = calm?;
        ensure!(took < CALM, "the honest job took {took:?}");
        Ok(())
    })
    .await
}

/// Both workspaces run their images by turns; each run fails as its owner's fault.
async fn attack(hostile: &[(Client, Registry)]) -> Result<()> {
    for round in 0..4 {
        for (client, registry) in hostile {
            let id = if round == 0 {
                job(client, "odd", &registry.image(), "true").await?
            } else {
                client.create(order("odd")).await?
            };
            client.run(&id).await?;
            let message = client.failure(&id).await?;
            ensure!(message.contains("the image has a volume at"), "{message}");
            ensure!(!message.contains("lost by nodes"), "{message}");
        }
    }
    Ok(())
}

/// How long an honest job takes.
async fn honest(client: &Client) -> Result<Duration> {
    client.push(&Package::app("honest", "echo fine > $TASK_RESULTS_DIR/out")).await?;
    client.template("passthrough", "honest", "passthrough").await?;
    let start = Instant::now();
    let id = client.start(order("honest"), None).await?;
    client.reached(&id, COMPLETE).await?;
    Ok(start.elapsed())
}

/// A registry that has an image, and never gives it.
async fn stalling() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (host, stalled) = (listener.local_addr()?.to_string(), Arc::new(AtomicUsize::new(0)));
    let counter = stalled.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(stall(socket, counter.clone()));
        }
    });
    Ok((format!("{host}/team/app:1"), stalled))
}

async fn stall(mut socket: TcpStream, stalled: Arc<AtomicUsize>) -> Result<()> {
    let mut head = vec![0; 4096];
    loop {
        let n = socket.read(&mut head).await?;
        if n == 0 {
            return Ok(());
        }
        let head = String::from_utf8_lossy(&head[..n]);
        if head.starts_with("GET /v2/ ") || head.starts_with("HEAD ") {
            let digest = format!("docker-content-digest: sha256:{}", "ab".repeat(32));
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{digest}\r\n\r\n");
            socket.write_all(answer.as_bytes()).await?;
        } else {
            stalled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn stalled_registry_does_not_block_others() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let hostile = market.tenant("hostile").await?;
        let (image, stalled) = stalling().await?;
        let id = job(&hostile, "stalled", &image, "true").await?;
        hostile.run(&id).await?;
        until("a pull that stalls", async || {
            Ok((stalled.load(Ordering::Relaxed) > 0).then_some(()))
        })
        .await?;

        let took = honest(&client).await?;

        ensure!(took < CALM, "the honest job took {took:?}");
        let message = hostile.failure(&id).await?;
        ensure!(message.contains("its image cannot be pulled"), "{message}");
        Ok(())
    })
    .await
}
