//! The published tutorial, unchanged, in a Python container.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use harness::client::{COMPLETE, Client};
use harness::machine::python;
use harness::market::{Market, Shape};
use harness::services::web;

const TEXT: &str = "hello, world: read me, change my case.\n";

/// Pushes image, app and template with the real client, as the tutorial does.
pub async fn push(market: &Market) -> Result<()> {
    let folder = python::repository().join("templates/hello-world").display().to_string();
    market.push_image(python::IMAGE).await?;
    market.customer(&["app", "push", &folder]).await?;
    market.customer(&["app", "activate", "hello-world"]).await
}

async fn start(client: &Client, url: &str, params: Value) -> Result<String> {
    let order = json!({
        "templateId": "hello-world-template", "name": "hello-world",
        "dataSource": {"dataSourceDescriptor": "url", "params": {
            "@type": "type.googleapis.com/bytenite.data_source.HttpDataSource", "url": url,
        }},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"app": params},
    });
    client.start(order, None).await
}

#[tokio::test]
async fn tutorial_changes_the_case_of_a_text() -> Result<()> {
    if !python::is_possible() {
        return Ok(());
    }
    Market::open(Shape::nodes(1), async |market, client| {
        push(market).await?;
        let url = format!("{}/texts/hello.txt", web::serve(TEXT).await?);

        for (params, expected) in [
            (json!({"case": "title"}), "Hello, World: Read Me, Change My Case.\n"),
            (json!({}), "HELLO, WORLD: READ ME, CHANGE MY CASE.\n"),
        ] {
            let id = start(&client, &url, params).await?;
            client.reached(&id, COMPLETE).await?;
            let files = client.results(&id).await?;
            assert_eq!(files.keys().collect::<Vec<_>>(), ["hello_world_processed.txt"]);
            assert_eq!(files["hello_world_processed.txt"], expected);
        }

        let id = start(&client, &url, json!({"case": "sideways"})).await?;
        let message = client.failure(&id).await?;
        assert!(message.contains("exit code 1"), "{message}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn private_address_is_not_fetched_unless_the_owner_allows_it() -> Result<()> {
    if !python::is_possible() {
        return Ok(());
    }
    let url = web::serve(TEXT).await?;
    let port = url.rsplit(':').next().context("port")?;
    let shape = Shape::nodes(0)
        .set("DATA__ALLOW_PRIVATE_ADDRESSES", "false")
        .set("DATA__ALLOWED_PORTS", &format!("[80, {port}]"));
    Market::open(shape, async |market, client| {
        push(market).await?;

        for host in ["127.0.0.1", "localhost", "[::1]", "2130706433", "0.0.0.0"] {
            let id = start(&client, &format!("http://{host}:{port}/"), json!({})).await?;
            let message = client.failure(&id).await?;
            assert!(message.contains("private address"), "{host}: {message}");
        }
        Ok(())
    })
    .await
}
