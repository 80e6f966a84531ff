//! Each kind of secret at each place, against a server that writes down what arrives.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::client::Client;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::services::recorder::{Recorder, Seen};
use reqwest::Method;
use serde_json::{Value, json};

const SECRETS: &str = "/v1/auth/secrets";
const TEST: &str = "/v1/customer/datasource/test";
const JOBS: &str = "/v1/customer/jobs";

/// The secret halves, none of which may ever arrive anywhere, but for a password at its own server.
fn value(id: &str) -> String {
    match id {
        "sas" => "sv=2024-01-01&sig=SHARED-ACCESS-SIGNATURE".to_owned(),
        id if id.starts_with("azure") => STANDARD.encode(format!("AZURE-KEY-OF-{id}")),
        id => format!("SECRET-VALUE-OF-{id}"),
    }
}

async fn store(client: &Client, own: &str, elsewhere: &str) -> Result<()> {
    for secret in [
        json!({"id": "aws", "secretType": "aws", "accessKey": "AKAWS"}),
        json!({"id": "gcp", "secretType": "gcp", "accessKey": "GOOG1"}),
        json!({"id": "storj", "secretType": "storj", "accessKey": "AKSTORJ"}),
        json!({"id": "azure-here", "secretType": "azure", "accessKey": "acc1", "endpoint": own}),
        json!({"id": "azure-usual", "secretType": "azure", "accessKey": "acc1"}),
        json!({"id": "sas", "secretType": "azure", "accessKey": "acc1"}),
        json!({"id": "url-here", "secretType": "url", "accessKey": "ann", "endpoint": own}),
        json!({"id": "url-other", "secretType": "url", "accessKey": "ann", "endpoint": elsewhere}),
        json!({"id": "other", "secretType": "other"}),
    ] {
        let id = secret["id"].as_str().context("an id")?.to_owned();
        client.post(SECRETS, json!({"secret": secret, "secretKey": value(&id)})).await?;
    }
    Ok(())
}

/// A place at this address that names the secret.
fn place(descriptor: &str, address: &str, secret: &str) -> Value {
    let params = match descriptor {
        "url" => json!({"url": format!("{address}/file"), "secret_id": secret}),
        "azure" => json!({"name": "file", "containerName": "data", "accountName": "acc1",
                          "endpoint": address, "secret_id": secret}),
        _ => json!({"name": "file", "bucketName": "data", "endpoint": address,
                    "secret_id": secret}),
    };
    json!({"dataSourceDescriptor": descriptor, "params": params})
}

/// No secret stands in a request, however it is written.
fn assert_hides(seen: &[Seen], id: &str, what: &str) {
    let value = value(id);
    let whole = format!("{seen:?}");
    for form in [value.clone(), STANDARD.encode(&value), STANDARD.encode(format!("ann:{value}"))] {
        assert!(!whole.contains(&form), "{what}: {whole}");
    }
    assert!(!whole.contains("SHARED-ACCESS"), "{what}: {whole}");
    assert!(!whole.contains("Basic "), "{what}: {whole}");
}

#[tokio::test]
async fn secret_is_sent_to_its_own_kind_of_place_only() -> Result<()> {
    let (server, elsewhere) = (Recorder::start().await?, Recorder::start().await?);
    Market::open(Shape::nodes(0), async |_, client| {
        store(&client, &server.url, &elsewhere.url).await?;
        client.push(&Package::app("copy", "true")).await?;
        let bypass = json!({"dataSourceDescriptor": "bypass"});
        for (secret, own) in [
            ("aws", Some("aws")),
            ("gcp", Some("gcp")),
            ("storj", Some("storj")),
            ("azure-here", Some("azure")),
            ("azure-usual", None),
            ("sas", None),
            ("url-here", Some("url")),
            ("url-other", None),
            ("other", None),
        ] {
            for descriptor in ["aws", "gcp", "storj", "azure", "url"] {
                let what = format!("{secret} at {descriptor}");
                let allowed = own == Some(descriptor);
                let place = place(descriptor, &server.url, secret);

                let test = json!({"dataSource": place});
                let refused = client.refused(Method::POST, TEST, test).await?;
                let seen = server.take();

                assert_eq!(!seen.is_empty(), allowed, "{what}: {}: {seen:?}", refused.message);
                if allowed && secret == "url-here" {
                    let basic = STANDARD.encode(format!("ann:{}", value(secret)));
                    assert_eq!(seen[0].authorization, format!("Basic {basic}"));
                } else {
                    assert_hides(&seen, secret, &what);
                }

                // The same as a job's ends: what does not fit is refused before anything starts.
                for (end, other) in
                    [("dataSource", "dataDestination"), ("dataDestination", "dataSource")]
                {
                    if allowed || (end, descriptor) == ("dataDestination", "url") {
                        continue;
                    }
                    let order = json!({"app": "copy", end: place, other: bypass});
                    let id = client.create(order).await?;
                    let run = format!("{JOBS}/{id}/run");
                    let refused = client.refused(Method::POST, &run, json!({})).await?;
                    let field = format!("{end}.params.secret_id: ");
                    assert!(refused.message.starts_with(&field), "{what}: {}", refused.message);
                    assert!(server.take().is_empty(), "{what} as {end}");
                }
            }
        }
        assert!(elsewhere.take().is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn password_is_not_forwarded_by_a_redirect() -> Result<()> {
    let thief = Recorder::start().await?;
    let server = Recorder::redirecting(&format!("{}/stolen", thief.url)).await?;
    Market::open(Shape::nodes(0), async |_, client| {
        store(&client, &server.url, &thief.url).await?;

        let test = json!({"dataSource": place("url", &server.url, "url-here")});
        client.refused(Method::POST, TEST, test).await?;

        assert!(server.take()[0].authorization.starts_with("Basic "));
        let seen = thief.take();
        assert_eq!((seen.len(), seen[0].authorization.as_str()), (1, ""), "{seen:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn api_key_that_makes_jobs_reads_no_secret() -> Result<()> {
    let server = Recorder::start().await?;
    Market::open(Shape::nodes(0), async |_, client| {
        store(&client, &server.url, &server.url).await?;
        let private = json!({"container": "r.example/app/priv:1.0", "private_image": true,
                             "username": "deploy", "token": "REGISTRY-TOKEN"});
        client.push(&Package::app("priv", "true").with("platform_config", private)).await?;
        client.push(&Package::app("copy", "true")).await?;
        let inline = json!({"dataSourceDescriptor": "aws", "params": {"name": "n",
            "bucketName": "data", "accessKey": "AKINLINE", "secretKey": "INLINE-SECRET"}});
        let theirs = client.create(json!({"app": "copy", "dataSource": inline})).await?;
        let scopes = json!({"name": "ci", "scopes": ["jobs:read", "jobs:write"]});
        let made = client.post("/v1/auth/api_key", scopes).await?;
        let token = made["token"].as_str().context("a key")?;
        let attacker = Client::with_key(&client.url, token).await?;

        let names =
            ["aws", "azure-here", "url-here", "other", "image/app/priv@1.0"].map(str::to_owned);
        let theirs = [
            format!("job-{theirs}-source"),
            format!("job/{theirs}/source"),
            format!("job%2F{theirs}%2Fsource"),
        ];
        for id in names.into_iter().chain(theirs) {
            for descriptor in ["url", "aws", "azure"] {
                let place = place(descriptor, &server.url, &id);
                let test = json!({"dataSource": place});
                let refused = attacker.refused(Method::POST, TEST, test).await?;
                assert!(matches!(refused.status, 400 | 403), "{id}: {}", refused.message);
                let order = json!({"app": "copy", "dataSource": place});
                let refused = attacker.refused(Method::POST, JOBS, order).await?;
                assert!(matches!(refused.status, 400 | 403), "{id}: {}", refused.message);
                // Whoever may use secrets can name no derived one either.
                if id.contains(['/', '%']) {
                    let test = json!({"dataSource": place});
                    assert_eq!(client.refused(Method::POST, TEST, test).await?.status, 400);
                }
            }
        }

        assert!(server.take().is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn container_gets_no_password_of_a_server() -> Result<()> {
    let server = Recorder::start().await?;
    Market::open(Shape::nodes(0), async |_, client| {
        let secret = json!({"id": "PASSWORD", "secretType": "url", "accessKey": "ann",
                            "endpoint": server.url});
        client.post(SECRETS, json!({"secret": secret, "secretKey": "x"})).await?;
        let config =
            json!({"container": harness::machine::busybox::IMAGE, "secrets": ["PASSWORD"]});
        client.push(&Package::app("greedy", "env").with("platform_config", config)).await?;
        let bypass = json!({"dataSourceDescriptor": "bypass"});
        let order = json!({"app": "greedy", "dataSource": bypass, "dataDestination": bypass});
        let id = client.create(order).await?;

        let run = format!("{JOBS}/{id}/run");
        let refused = client.refused(Method::POST, &run, json!({})).await?;

        assert_eq!(refused.status, 400);
        assert!(refused.message.contains("a container takes"), "{}", refused.message);
        Ok(())
    })
    .await
}
