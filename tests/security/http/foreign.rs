//! One workspace's ids in another workspace's requests, over every documented route.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use harness::client::{Client, text};
use reqwest::Method;
use serde_json::{Value, json};

use super::server::{Server, push};

/// In the names of all that the first workspace has.
const MARK: &str = "zebra";

/// What the first workspace has, by the parameter that names it and a part of the path.
async fn make(owner: &Client) -> Result<Vec<(&'static str, &'static str, String)>> {
    push(owner, "zebra", "app").await?;
    push(owner, "zebra-fold", "assembler").await?;
    owner.template("passthrough", "zebra", "passthrough").await?;
    let draft = json!({"templateId": "zebra", "name": "zebra",
                       "dataSource": {"dataSourceDescriptor": "bypass"},
                       "dataDestination": {"dataSourceDescriptor": "bucket"}});
    let job = owner.create(draft).await?;
    owner.run(&job).await?;
    let runs = owner.get(&format!("/v1/jobs/{job}/runs")).await?;
    let run = text(&runs["runs"][0]["id"])?;
    let secret = json!({"secret": {"id": "zebra", "name": "zebra", "secretType": "other"},
                        "secretKey": "zebra-hush"});
    owner.post("/v1/auth/secrets", secret).await?;
    let key = owner.post("/v1/auth/api_key", json!({"name": "zebra"})).await?;
    let users = owner.get("/v1/auth/user").await?;
    let top_up = owner.post("/v1/wallet/top_up", json!({"currencyAmount": "33.11"})).await?;
    let queue = owner.post("/v1/queues", json!({"name": "zebra"})).await?;
    let pool = owner.post("/v1/pools", json!({"name": "zebra", "own_nodes": true})).await?;
    let container = json!({"image": "localhost/zebra"});
    let definition = json!({"name": "zebra", "container": container});
    let definition = owner.post("/v1/definitions", definition).await?;
    Ok(vec![
        ("jobId", "", job.clone()),
        ("job", "", job),
        ("run", "", run.clone()),
        // Of any id: another workspace than the caller's is refused before anything is looked for.
        ("workspace", "", run.clone()),
        ("project", "", "zebra".to_owned()),
        // Of any id: the run is refused before its task is looked for.
        ("task", "/runs", run),
        ("jobTemplateId", "", "zebra".to_owned()),
        ("task", "", "process-0".to_owned()),
        ("tag", "/engines", "zebra-fold".to_owned()),
        ("tag", "", "zebra".to_owned()),
        ("id", "/api_key", text(&key["apiKey"]["id"])?),
        ("id", "/top_up", text(&top_up["topUpRequest"]["id"])?),
        ("id", "", "zebra".to_owned()),
        ("secretType", "", "other".to_owned()),
        ("userId", "", id_in(&users).context("a user's id")?),
        ("name", "", "zebra".to_owned()),
        ("file", "", "zebra".to_owned()),
        ("test", "", "zebra".to_owned()),
        ("template", "", "zebra".to_owned()),
        ("reference", "", "zebra".to_owned()),
        ("type", "", "other".to_owned()),
        ("secret", "", "zebra".to_owned()),
        ("key", "", text(&key["apiKey"]["id"])?),
        ("request", "", text(&top_up["topUpRequest"]["id"])?),
        ("member", "", id_in(&users).context("a user's id")?),
        ("queue", "", text(&queue["id"])?),
        ("pool", "", text(&pool["id"])?),
        ("environment", "", text(&pool["id"])?),
        ("definition", "", text(&definition["id"])?),
    ])
}

/// The first text under a key that ends in `id`.
fn id_in(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let named = |(key, value): (&String, &Value)| {
        let is_id = key.eq_ignore_ascii_case("id") || key.ends_with("Id");
        value.as_str().filter(|_| is_id).map(str::to_owned)
    };
    object.iter().find_map(named).or_else(|| object.values().find_map(id_in))
}

/// The path with what the first workspace has, where it names something.
fn filled(path: &str, things: &[(&str, &str, String)]) -> Result<String> {
    let mut filled = path.to_owned();
    while let Some((before, rest)) = filled.split_once('{') {
        let (name, after) = rest.split_once('}').context("a closing brace")?;
        let found = things.iter().find(|(param, part, _)| *param == name && path.contains(part));
        let (_, _, value) = found.with_context(|| format!("nothing for {{{name}}} in {path}"))?;
        filled = format!("{before}{value}{after}");
    }
    Ok(filled)
}

#[tokio::test]
async fn foreign_ids_are_refused_on_every_documented_route() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (owner, other) = (server.owner().await?, server.other().await?);
    let mut things = make(&owner).await?;
    let node = server.node().await?;
    things.extend([("nodeId", "", node.clone()), ("node", "", node)]);
    let document = other.get("/docs/openapi.json").await?;
    let mut let_in = BTreeMap::new();
    let mut named = 0;
    for (path, item) in document["paths"].as_object().context("paths")? {
        for (method, operation) in item.as_object().context("methods")? {
            let id = text(&operation["operationId"])?;
            // Streams go on until their reader leaves, and one ends the token that all others need.
            if ["Customer_Events", "Fanfold_StreamEvents", "Auth_SignOut"].contains(&id.as_str()) {
                continue;
            }
            let method: Method = method.to_uppercase().parse()?;
            let names_something = path.contains('{');
            let mut request = other.request(method.clone(), &filled(path, &things)?);
            if !operation["requestBody"].is_null() {
                let content = &operation["requestBody"]["content"]["application/json"];
                let body = if names_something { &content["example"] } else { &json!({}) };
                request = request.body(if body.is_null() { "{}".into() } else { body.to_string() });
            }

            let answer = request.send().await?;

            let status = answer.status();
            let said = answer.text().await?;
            ensure!(status.as_u16() < 500, "{method} {path}: {status} {said}");
            if names_something {
                named += 1;
                if status.is_success() {
                    let_in.insert(format!("{method} {path}"), said);
                }
            } else {
                ensure!(!said.contains(MARK), "{method} {path} shows another's: {said}");
            }
        }
    }

    other.get("/v1/auth/user").await.context("the token has ended on the way")?;
    ensure!(named > 30, "only {named} operations name something");
    ensure!(let_in.is_empty(), "let in: {let_in:#?}");
    let job = owner.job(&things[0].2).await?;
    assert_eq!(text(&job["name"])?, MARK);
    Ok(())
}
