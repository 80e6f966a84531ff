//! A customer's client, written from the published API.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use common::money::credits::Credits;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::package::Package;
use crate::wait::until;

pub const COMPLETE: &str = "JOB_STATE_COMPLETE";
pub const FAILED: &str = "JOB_STATE_FAILED";

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub url: String,
    pub token: String,
}

/// Why a server refused a request.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    /// As gRPC numbers them; `None` for a problem (RFC 9457), which has the reason alone.
    pub code: Option<i64>,
    /// The word for programs.
    pub reason: String,
    pub message: String,
}

impl Refusal {
    /// Reads an `rpcStatus` of ByteNite's API, or a problem of what belongs to no product's API.
    fn read(status: u16, answer: &Value) -> Result<Self> {
        let code = answer["code"].as_i64();
        let (reason, message) = match code {
            Some(_) => (&answer["details"][0]["reason"], &answer["message"]),
            None => (&answer["code"], &answer["detail"]),
        };
        Ok(Self { status, code, reason: text(reason)?, message: text(message)? })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBalance {
    total_balance: Box<RawValue>,
    available_balance: Box<RawValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    pub total: Credits,
    pub available: Credits,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLine {
    amount: Box<RawValue>,
    balance: Box<RawValue>,
    description: String,
}

/// A line of the wallet; `units` are whole 1e-8 credits, negative where they were taken.
#[derive(Debug, Clone)]
pub struct Line {
    pub units: i64,
    pub balance: Credits,
    pub description: String,
}

impl Client {
    /// Signs in with the credentials that a server left in its folder.
    pub async fn sign_in(folder: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Value> {
            Ok(serde_json::from_slice(&fs::read(folder.join(name)).context(name.to_owned())?)?)
        };
        let key = text(&read("credentials.json")?["apiKey"])?;
        Self::with_key(&text(&read("endpoint.json")?["url"])?, &key).await
    }

    pub async fn with_key(url: &str, api_key: &str) -> Result<Self> {
        // Another test of this process may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client =
            Self { http: reqwest::Client::new(), url: url.to_owned(), token: String::new() };
        let answer = client.post("/v1/auth/access_token", json!({"apiKey": api_key})).await?;
        client.token = text(&answer["token"])?;
        Ok(client)
    }

    /// The same client with something else for a token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        request.header("Authorization", &self.token)
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Bytes)> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.bytes().await?))
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Bytes> {
        let (status, bytes) = self.send(method.clone(), path, body).await?;
        ensure!(status == 200, "{method} {path}: {status} {}", String::from_utf8_lossy(&bytes));
        Ok(bytes)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.call(Method::GET, path, None).await?)?)
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        Ok(serde_json::from_slice(&self.call(Method::POST, path, Some(body)).await?)?)
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Value> {
        Ok(serde_json::from_slice(&self.call(Method::PATCH, path, Some(body)).await?)?)
    }

    pub async fn delete(&self, path: &str) -> Result<()> {
        self.call(Method::DELETE, path, None).await.map(drop)
    }

    /// A call that must be refused, in the documented shape.
    pub async fn refused(&self, method: Method, path: &str, body: Value) -> Result<Refusal> {
        let body = (method != Method::GET).then_some(body);
        let (status, bytes) = self.send(method.clone(), path, body).await?;
        let answer: Value = serde_json::from_slice(&bytes)?;
        ensure!(status != 200, "{method} {path} was not refused: {answer}");
        Refusal::read(status, &answer)
    }

    /// Pushes a package and switches it on.
    pub async fn push(&self, package: &Package) -> Result<()> {
        let family = package.family();
        self.post(&format!("/v1/dev/{family}"), json!({"data": package.archive()?})).await?;
        self.post(&format!("/v1/dev/{family}/{}/activate", package.name), json!({})).await?;
        Ok(())
    }

    /// Stores a template of partitioner, app and assembler under the app's name.
    pub async fn template(&self, partitioner: &str, app: &str, assembler: &str) -> Result<()> {
        let template =
            json!({"id": app, "partitioner": partitioner, "app": app, "assembler": assembler});
        self.post("/v1/dev/templates", template).await?;
        Ok(())
    }

    /// Makes a job and gives its id.
    pub async fn create(&self, order: Value) -> Result<String> {
        let answer = self.post("/v1/customer/jobs", order).await?;
        text(&answer["job"]["id"])
    }

    pub async fn job(&self, id: &str) -> Result<Value> {
        Ok(self.get(&format!("/v1/customer/jobs/{id}")).await?["job"].take())
    }

    /// Uploads the file of a job as the guide says.
    pub async fn upload(&self, id: &str, bytes: impl Into<reqwest::Body>) -> Result<()> {
        let link = text(&self.job(id).await?["dataSource"]["params"]["tempUrl"])?;
        let put = self.http.put(link).header("Content-Disposition", "attachment").body(bytes);
        let answer = put.send().await?;
        ensure!(answer.status() == 200, "PUT: {} {}", answer.status(), answer.text().await?);
        self.patch(&format!("/v1/customer/jobs/{id}/uploadcompleted"), json!({})).await?;
        Ok(())
    }

    pub async fn run(&self, id: &str) -> Result<()> {
        self.post(&format!("/v1/customer/jobs/{id}/run"), json!({})).await?;
        Ok(())
    }

    /// Makes a job from this order, uploads the text where its source is a file, and starts it.
    pub async fn start(&self, order: Value, upload: Option<&[u8]>) -> Result<String> {
        let id = self.create(order).await?;
        if let Some(bytes) = upload {
            self.upload(&id, bytes.to_vec()).await?;
        }
        self.run(&id).await?;
        Ok(id)
    }

    /// Waits until the job is in this state; fails at once where it has ended in another.
    pub async fn reached(&self, id: &str, state: &str) -> Result<Value> {
        until(&format!("{state} of job {id}"), async || {
            let job = self.job(id).await?;
            if job["stateTimestamps"].get(state).is_some() {
                return Ok(Some(job));
            }
            if job["state"] == COMPLETE || job["state"] == FAILED {
                bail!("the job is {}: {}", job["state"], job["errorMessage"]);
            }
            Ok(None)
        })
        .await
    }

    /// Waits for a failure and gives its message.
    pub async fn failure(&self, id: &str) -> Result<String> {
        text(&self.reached(id, FAILED).await?["errorMessage"])
    }

    /// Listens to a job's events as a browser does; the first bytes have come when this returns.
    pub async fn events(&self, id: &str) -> Result<reqwest::Response> {
        let request = self.request(Method::GET, &format!("/v1/customer/events?jobId={id}"));
        let mut answer = request.header("Accept", "text/event-stream").send().await?;
        ensure!(answer.status() == 200, "events: {}", answer.status());
        answer.chunk().await?.context("a first word")?;
        Ok(answer)
    }

    pub async fn progress(&self, id: &str) -> Result<Value> {
        self.get(&format!("/v1/customer/jobs/{id}/progress")).await
    }

    /// The result files by name, read through their links.
    pub async fn results(&self, id: &str) -> Result<BTreeMap<String, Bytes>> {
        let answer = self.get(&format!("/v1/customer/jobs/{id}/results")).await?;
        let mut files = BTreeMap::new();
        for result in answer["results"].as_array().context("results is a list")? {
            let link = text(&result["link"])?;
            let answer = self.http.get(&link).send().await?.error_for_status()?;
            files.insert(text(&result["name"])?, answer.bytes().await?);
        }
        Ok(files)
    }

    pub async fn balance(&self) -> Result<Balance> {
        let bytes = self.call(Method::GET, "/v1/wallet/balance", None).await?;
        let raw: RawBalance = serde_json::from_slice(&bytes)?;
        Ok(Balance {
            total: raw.total_balance.get().parse()?,
            available: raw.available_balance.get().parse()?,
        })
    }

    /// The wallet's lines, the newest first.
    pub async fn lines(&self) -> Result<Vec<Line>> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<RawLine>,
        }
        let bytes = self.call(Method::GET, "/v1/wallet/transactions", None).await?;
        let page: Page = serde_json::from_slice(&bytes)?;
        let line = |raw: RawLine| {
            let amount = raw.amount.get();
            let units = amount.trim_start_matches('-').parse::<Credits>()?.units();
            Ok(Line {
                units: if amount.starts_with('-') { -units } else { units },
                balance: raw.balance.get().parse()?,
                description: raw.description,
            })
        };
        page.data.into_iter().map(line).collect()
    }
}

pub fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is no text"))?.to_owned())
}
