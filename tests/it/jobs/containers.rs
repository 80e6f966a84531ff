//! What containers get beside their chunk: secrets, private images, caches; from the customer's
//! command to the container and back.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use harness::client::{COMPLETE, Client};
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::registry::{Registry, TOKEN, USERNAME};

const VALUE: &str = "CONTAINER-SECRET-0123456789";

fn order(template: &str) -> Value {
    json!({
        "templateId": template, "name": template,
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    })
}

/// Runs one task of a package and gives what it wrote to `out`.
async fn out(client: &Client, package: &Package) -> Result<String> {
    client.push(package).await?;
    client.template("passthrough", package.name, "passthrough").await?;
    let id = client.start(order(package.name), None).await?;
    client.reached(&id, COMPLETE).await?;
    let files = client.results(&id).await?;
    let (_, bytes) = files.into_iter().next().context("a result")?;
    Ok(String::from_utf8(bytes.into())?)
}

/// Whether any file below a folder has this text.
fn is_in(text: &str, folder: &std::path::Path) -> Result<bool> {
    let found = std::process::Command::new("grep").args(["-r", "-q", text]).arg(folder).output()?;
    Ok(found.status.success())
}

#[tokio::test]
async fn secret_reaches_only_the_container_that_lists_it() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let script = "echo \"I say $TOKEN\"; echo \"$TOKEN\" >&2
            printf '%s %s' \"$TOKEN\" \"${OTHER:-none}\" > $TASK_RESULTS_DIR/out
            printf \"dying $TOKEN\"";
        let config = json!({"container": harness::machine::busybox::IMAGE, "secrets": ["TOKEN"]});
        let package = Package::app("needy", script).with("platform_config", config);
        client.push(&package).await?;
        client.template("passthrough", "needy", "passthrough").await?;
        let id = client.create(order("needy")).await?;
        let run = format!("/v1/customer/jobs/{id}/run");

        let refused = client.refused(Method::POST, &run, json!({})).await?;
        ensure!(refused.message.contains("\"TOKEN\"") && refused.message.contains("needy@1.0"));
        for name in ["TOKEN", "OTHER"] {
            let secret = json!({"secret": {"id": name, "secretType": "other"}, "secretKey": VALUE});
            client.post("/v1/auth/secrets", secret).await?;
        }
        client.run(&id).await?;
        client.reached(&id, COMPLETE).await?;

        let files = client.results(&id).await?;
        ensure!(files["out"] == format!("{VALUE} none"), "{files:?}");
        let logs = client.post("/v1/customer/logs", json!({"jobId": id})).await?.to_string();
        ensure!(logs.contains("I say ***") && logs.contains("dying ***"), "{logs}");
        ensure!(!logs.contains(VALUE), "{logs}");
        ensure!(!is_in(VALUE, &market.node_folder(0))?, "on the node's disk");
        let database = std::fs::read(market.database())?;
        ensure!(!database.windows(VALUE.len()).any(|part| part == VALUE.as_bytes()));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn private_image_is_pulled_by_nodes_that_never_see_its_login() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let registry = Registry::start().await?;
        let tested = private_image(market, &client, &registry).await;
        registry.forget();
        tested
    })
    .await
}

async fn private_image(market: &Market, client: &Client, registry: &Registry) -> Result<()> {
    let image = format!("{}/team/app", registry.host);
    let script = "cat /private > $TASK_RESULTS_DIR/out";
    let package = |name, token: &str| {
        let config = json!({"container": format!("{image}:1"), "private_image": true,
                            "username": USERNAME, "token": token});
        Package::app(name, script).with("platform_config", config)
    };

    ensure!(out(client, &package("private", TOKEN)).await? == registry.host);

    let seen = registry.seen.lock().expect("no request panics").clone();
    for (path, authorization) in &seen {
        let is_login = authorization.starts_with("Basic ");
        ensure!(!is_login || path.starts_with("/token?"), "the login went to {path}");
    }
    ensure!(seen.iter().any(|(path, _)| path.ends_with(&format!("manifests/{}", registry.digest))));
    for folder in [market.node_folder(0), market.server_folder()] {
        ensure!(!is_in(TOKEN, &folder)?, "the login is in {}", folder.display());
    }

    client.push(&package("wrong", "GUESSED-0123456789")).await?;
    client.template("passthrough", "wrong", "passthrough").await?;
    let id = client.create(order("wrong")).await?;
    let run = format!("/v1/customer/jobs/{id}/run");
    let refused = client.refused(Method::POST, &run, json!({})).await?;
    ensure!(refused.message.contains("does not accept"), "{}", refused.message);

    // The image is on the node now; who has no login must not come by it.
    for container in [format!("{image}@{}", registry.digest), format!("{image}:1")] {
        let thief =
            Package::app("thief", script).with("platform_config", json!({"container": container}));
        client.push(&thief).await?;
        client.template("passthrough", "thief", "passthrough").await?;
        let id = client.create(order("thief")).await?;
        let run = format!("/v1/customer/jobs/{id}/run");
        let refused = client.refused(Method::POST, &run, json!({})).await?;
        ensure!(refused.message.contains("without a login"), "{}", refused.message);
    }
    Ok(())
}

#[tokio::test]
async fn caches_are_filled_by_the_customer_and_kept_by_the_node() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        let file = market.server_folder().join("model.bin");
        std::fs::write(&file, "weights")?;
        let path = file.to_str().context("a plain path")?;
        market.customer(&["cache", "push", path, "--name", "models/a"]).await?;
        market.customer(&["cache", "push", path, "--shared"]).await?;

        let first = "cat $USER_CACHE_DIR/models/a $SHARED_CACHE_DIR/model.bin \
                     > $TASK_RESULTS_DIR/out; echo kept > $USER_CACHE_DIR/own";
        ensure!(out(&client, &Package::app("first", first)).await? == "weightsweights");
        market.customer(&["cache", "delete", "models/a"]).await?;
        let second = "cat $USER_CACHE_DIR/own > $TASK_RESULTS_DIR/out
                      [ ! -e $USER_CACHE_DIR/models/a ]";
        ensure!(out(&client, &Package::app("second", second)).await? == "kept\n");
        market.customer(&["cache", "list", "--shared"]).await
    })
    .await
}
