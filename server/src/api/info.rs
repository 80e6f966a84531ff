//! What the server says about itself.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::error::Result;
use crate::api::http::route::{Route, get};

#[derive(Serialize, ToSchema)]
struct Info {
    version: Version,
    messages: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Version {
    major: u32,
    minor: u32,
    tag: &'static str,
}

pub fn routes(api: &str) -> Vec<Route> {
    vec![get(format!("{api}_GetInfo"), "/info", info).summary("Shows the server's version").open()]
}

pub fn health() -> Vec<Route> {
    vec![
        get("Server_GetHealth", "/health", healthy)
            .summary("Answers as soon as the server serves; for load balancers and scripts")
            .open(),
        get("Server_GetLiveness", "/healthz", healthy)
            .summary("The same under the name that orchestrators expect")
            .open(),
    ]
}

#[derive(Serialize, ToSchema)]
struct Health {
    ok: bool,
}

async fn healthy(_: Call) -> Result<Health> {
    std::future::ready(Ok(Health { ok: true })).await
}

async fn info(_: Call) -> Result<Info> {
    let part = |text: &str| text.parse().unwrap_or(0);
    let version = Version {
        major: part(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: part(env!("CARGO_PKG_VERSION_MINOR")),
        tag: env!("CARGO_PKG_VERSION"),
    };
    std::future::ready(Ok(Info { version, messages: Vec::new() })).await
}
