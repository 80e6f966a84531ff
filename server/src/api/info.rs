//! What the server says about itself.

use serde::Serialize;
use utoipa::ToSchema;
use warp::Reply as _;
use warp::http::header::{ACCEPT, HeaderValue, VARY};
use warp::http::{Method, StatusCode};

use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::docs;
use crate::api::http::route::{Route, get, raw};
use crate::error::Result;

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

pub fn start_page() -> Vec<Route> {
    vec![
        raw(Method::GET, "Server_GetStart", "/", "application/json", start)
            .summary("Leads browsers to /docs/, and tells programs where things are")
            .gives::<Start>()
            .any_query()
            .open(),
    ]
}

#[derive(Serialize, ToSchema)]
struct Start {
    docs: &'static str,
    openapi: &'static str,
    health: &'static str,
}

/// Where everything begins.
async fn start(call: Call) -> Result<Answer> {
    let accept = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let mut answer = if accept.is_some_and(|accept| accept.contains("text/html")) {
        docs::go_to("/docs/", StatusCode::TEMPORARY_REDIRECT)?
    } else {
        let start = Start { docs: "/docs/", openapi: docs::WHOLE, health: "/healthz" };
        warp::reply::json(&start).into_response()
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    std::future::ready(Ok(answer)).await
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
