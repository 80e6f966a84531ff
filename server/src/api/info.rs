//! What the server says about itself.

use serde::Serialize;
use warp::Filter as _;

use super::{Route, reply};

#[derive(Serialize)]
struct Info {
    version: Version,
    messages: [String; 0],
}

#[derive(Serialize)]
struct Version {
    major: u32,
    minor: u32,
    tag: &'static str,
}

pub fn routes() -> Route {
    warp::path!("info").and(warp::get()).map(|| reply::json_reply(Ok(info()))).boxed()
}

/// Answers as soon as the server serves; for load balancers and scripts.
pub fn health() -> Route {
    warp::path!("health")
        .and(warp::get())
        .map(|| reply::json_reply(Ok(serde_json::json!({"ok": true}))))
        .boxed()
}

fn info() -> Info {
    let part = |text: &str| text.parse().unwrap_or(0);
    let version = Version {
        major: part(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: part(env!("CARGO_PKG_VERSION_MINOR")),
        tag: env!("CARGO_PKG_VERSION"),
    };
    Info { version, messages: [] }
}
