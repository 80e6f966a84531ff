//! The doors: the HTTP API of customers and developers, translated into our own words.
//!
//! One file per resource: its routes, its handlers, and the shapes that go in and out. `route` is
//! the table that they fill; `router` and `openapi` read it.

mod auth;
mod call;
mod datasource;
mod described;
mod docs;
mod draft;
mod error;
mod events;
mod follow;
mod idempotency;
mod images;
mod info;
mod job_list;
mod job_out;
mod jobs;
mod keys;
mod limits;
mod logs;
mod nodes;
mod openapi;
mod package_out;
mod packages;
mod page;
mod plan;
mod quote;
mod reply;
mod route;
mod router;
mod run;
mod secrets;
mod selection;
mod shape;
mod sign_in;
mod storage;
mod templates;
#[cfg(test)]
pub mod testing;
mod token;
mod view;
mod wallet;

use std::sync::Arc;
use std::time::Duration;

use common::credits::Credits;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::http::Method;

use crate::coordinator::Coordinator;
use crate::data::Data;
use crate::secrets::Secrets;
use crate::store::Db;
use call::call;
use limits::Limits;
use router::{Api, Router};

type Answer = warp::reply::Response;

/// How long requests may go on after the stop.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Archives that are read into memory at the same time.
const PUSHES_MAX: usize = 2;
/// Event streams at the same time.
const STREAMS_MAX: usize = 256;
const CODES_MAX: u32 = 10;
const CODES_REFILL: Duration = Duration::from_secs(30);
const WRONG_KEYS_MAX: u32 = 100;
const WRONG_KEYS_REFILL: Duration = Duration::from_millis(100);

/// What the doors open to; clones share it.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub data: Data,
    pub coordinator: Coordinator,
    pub secrets: Secrets,
    pub settings: Settings,
}

#[derive(Clone)]
pub struct Settings {
    /// Signs access tokens; 32 random bytes that the server keeps on its disk.
    pub token_key: [u8; 32],
    /// Signing up takes one of these; where there is none, nobody can.
    pub access_codes: Vec<String>,
    /// What a new workspace is given.
    pub welcome: Credits,
}

/// The app, and what all requests share beside it.
struct Doors {
    app: App,
    stop: CancellationToken,
    pushes: Semaphore,
    streams: Arc<Semaphore>,
    /// Codes sent to an address, and codes tried for it.
    codes: Limits,
    /// Wrong keys, of all callers together: right ones always pass.
    wrong_keys: Limits,
}

/// Serves the API until `stop`, then lets what is under way end within a few seconds.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) {
    let server = warp::serve(filter(app, stop.clone()))
        .incoming(listener)
        .graceful(stop.clone().cancelled_owned())
        .run();
    let cap = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        () = server => {}
        () = cap => tracing::warn!("requests were still under way at the stop"),
    }
}

/// Every request goes through here: warp takes it apart, the table of routes answers it.
fn filter(
    app: App,
    stop: CancellationToken,
) -> impl warp::Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    let doors = Arc::new(Doors {
        app,
        stop,
        pushes: Semaphore::new(PUSHES_MAX),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        codes: Limits::new(CODES_MAX, CODES_REFILL),
        wrong_keys: Limits::new(WRONG_KEYS_MAX, WRONG_KEYS_REFILL),
    });
    let router = Arc::new(Router::new(docs::with_documents(apis())));
    warp::method().and(call(&doors)).then(move |method: Method, call| {
        let router = router.clone();
        async move { router.answer(&method, call).await }
    })
}

/// The table of routes.
fn apis() -> Vec<Api> {
    vec![
        Api {
            name: "customer",
            title: "Fanfold customer API",
            prefixes: &["/v1/customer", "/v1/computing"],
            routes: [
                info::routes("Customer"),
                jobs::routes(),
                draft::routes(),
                run::routes(),
                job_list::routes(),
                follow::routes(),
                view::routes(),
                quote::routes(),
                logs::routes(),
                events::routes(),
                datasource::routes(),
                wallet::old_routes(),
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        Api {
            name: "auth",
            title: "Fanfold auth API",
            prefixes: &["/v1/auth"],
            routes: [
                info::routes("Auth"),
                auth::routes(),
                sign_in::routes(),
                keys::routes(),
                secrets::routes(),
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        Api {
            name: "dev",
            title: "Fanfold developer API",
            prefixes: &["/v1/dev"],
            routes: [
                info::routes("Developer"),
                packages::routes(),
                templates::routes(),
                images::routes(),
                nodes::routes(),
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        Api {
            name: "wallet",
            title: "Fanfold wallet API",
            prefixes: &["/v1/wallet"],
            routes: [info::routes("Wallet"), wallet::routes()].into_iter().flatten().collect(),
        },
        Api {
            name: "server",
            title: "Fanfold server",
            prefixes: &[""],
            routes: [info::health(), storage::routes()].into_iter().flatten().collect(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use super::route::Access;
    use super::testing::Door;

    #[tokio::test]
    async fn every_failure_has_the_documented_shape() {
        let door = Door::open().await;
        for (method, path, status, code) in [
            (Method::GET, "/nowhere", 404, 5),
            (Method::GET, "/v1/customer/nowhere", 404, 5),
            (Method::DELETE, "/v1/wallet/balance", 405, 12),
            (Method::GET, "/v1/auth/access_token", 405, 12),
            (Method::GET, "/v1/customer/jobs/not-an-id", 404, 5),
        ] {
            let (got, body) = door.call(method, path, None).await;

            assert_eq!((got, body["code"].as_i64()), (status, Some(code)), "{path}: {body}");
            assert!(body["message"].is_string() && body["details"][0]["reason"].is_string());
        }
        let named = door.post("/v1/customer/jobs", json!({"templateId": 7})).await.1;
        assert_eq!(named["details"][0]["reason"], "INVALID");
        assert_eq!(named["details"][0]["metadata"]["field"], "templateId");
        let (status, body) = door.post("/v1/customer/jobs", json!([1])).await;
        assert_eq!((status, body["code"].as_i64()), (400, Some(3)));
    }

    #[tokio::test]
    async fn no_route_is_open_to_strangers() {
        let door = Door::open().await;
        for api in super::apis() {
            for route in api.routes.iter().filter(|route| route.access != Access::Open) {
                for (prefix, key) in api.prefixes.iter().zip(["ff_wrong", "Bearer a.b.c"]) {
                    let path = format!("{prefix}{}", route.path).replace(['{', '}'], "");

                    let (status, body) = door.call_as(key, route.method.clone(), &path, None).await;

                    assert_eq!((status, body["code"].as_i64()), (401, Some(16)), "{path}");
                }
            }
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let door = Door::open().await;
        let huge = json!({"templateId": "x".repeat(2 << 20)});

        let (status, body) = door.post("/v1/customer/jobs", huge).await;

        assert_eq!((status, body["code"].as_i64()), (413, Some(8)));
    }

    #[tokio::test]
    async fn browsers_may_ask_from_any_page() {
        let door = Door::open().await;
        let url = format!("{}/v1/customer/jobs", door.url);

        let asked = door.client.request(Method::OPTIONS, &url).header("origin", "https://a.b");
        let asked = asked.send().await.unwrap();
        let got = door.client.get(&url).header("origin", "https://a.b").send().await.unwrap();

        assert_eq!(asked.status(), 204);
        assert!(asked.headers()["access-control-allow-headers"].to_str().unwrap().contains("auth"));
        assert_eq!(got.status(), 401);
        assert_eq!(got.headers()["access-control-allow-origin"], "*");
    }

    #[tokio::test]
    async fn the_server_says_that_it_is_there() {
        let door = Door::open().await;

        assert_eq!(door.get("/health").await.0, 200);
        for base in ["customer", "computing", "auth", "dev", "wallet"] {
            let (status, body) = door.get(&format!("/v1/{base}/info")).await;

            assert_eq!(status, 200);
            assert!(body["version"]["tag"].is_string());
        }
    }
}
