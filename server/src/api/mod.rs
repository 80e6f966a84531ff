//! The doors: the HTTP API of customers and developers, translated into our own words.
//!
//! One file per resource: its routes, its handlers, and the shapes that go in and out. Who calls
//! is asked in the handler and not in a filter, so that a wrong token is a 401 of that route and
//! never falls through to another.

mod auth;
mod call;
mod datasource;
mod described;
mod draft;
mod error;
mod events;
mod follow;
mod images;
mod info;
mod job_list;
mod job_out;
mod jobs;
mod keys;
mod limits;
mod logs;
mod nodes;
mod package_out;
mod packages;
mod page;
mod plan;
mod quote;
mod reply;
mod run;
mod secrets;
mod selection;
mod sign_in;
mod storage;
mod templates;
#[cfg(test)]
pub mod testing;
mod token;
mod view;
mod wallet;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::credits::Credits;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue,
};
use warp::{Filter as _, Reply as _};

use crate::coordinator::Coordinator;
use crate::data::Data;
use crate::secrets::Secrets;
use crate::store::Db;
use limits::Limits;

type Answer = warp::reply::Response;
type Route = BoxedFilter<(Answer,)>;

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
    let server = warp::serve(routes(app, stop.clone()))
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

/// All routes, with every failure in the documented shape.
fn routes(
    app: App,
    stop: CancellationToken,
) -> impl warp::Filter<Extract = (Answer,), Error = Infallible> + Clone {
    let doors = Arc::new(Doors {
        app,
        stop,
        pushes: Semaphore::new(PUSHES_MAX),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        codes: Limits::new(CODES_MAX, CODES_REFILL),
        wrong_keys: Limits::new(WRONG_KEYS_MAX, WRONG_KEYS_REFILL),
    });
    let customer = warp::path("customer").or(warp::path("computing")).unify().and(any_of([
        // Before the jobs: `jobs/templates` is no job.
        view::routes(&doors),
        job_list::routes(&doors),
        jobs::routes(&doors),
        follow::routes(&doors),
        quote::routes(&doors),
        datasource::routes(&doors),
        wallet::old_routes(&doors),
        draft::routes(&doors),
        run::routes(&doors),
        logs::routes(&doors),
        events::routes(&doors),
        info::routes(),
    ]));
    let auth = warp::path("auth").and(any_of([
        auth::routes(&doors),
        sign_in::routes(&doors),
        keys::routes(&doors),
        secrets::routes(&doors),
        info::routes(),
    ]));
    let dev = warp::path("dev").and(any_of([
        packages::routes(&doors),
        templates::routes(&doors),
        images::routes(&doors),
        nodes::routes(&doors),
        info::routes(),
    ]));
    let wallet = warp::path("wallet").and(any_of([wallet::routes(&doors), info::routes()]));
    let storage = warp::path("storage").and(storage::routes(&doors));
    let v1 = warp::path("v1").and(any_of([
        customer.boxed(),
        auth.boxed(),
        dev.boxed(),
        wallet.boxed(),
        storage.boxed(),
    ]));
    any_of([preflight(), info::health(), v1.boxed()])
        .recover(reply::recover)
        .unify()
        .map(allow_any_origin)
}

/// The first of the routes that takes the request.
fn any_of<const N: usize>(routes: [Route; N]) -> Route {
    routes
        .into_iter()
        .reduce(|first, next| first.or(next).unify().boxed())
        .expect("every list of routes has one")
}

/// Browsers ask before they send a header of their own; tokens travel in headers and never in
/// cookies, so any page may ask.
fn preflight() -> Route {
    // Not `warp::options()`: its refusal would turn every unknown path into a 405.
    warp::method()
        .and_then(|method| async move {
            if method == warp::http::Method::OPTIONS { Ok(()) } else { Err(warp::reject()) }
        })
        .untuple_one()
        .map(|| {
            let mut answer = warp::http::StatusCode::NO_CONTENT.into_response();
            let headers = answer.headers_mut();
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
            );
            headers.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(
                    "authorization, content-type, content-disposition, range, idempotency-key",
                ),
            );
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
            answer
        })
        .boxed()
}

fn allow_any_origin(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("content-disposition, content-range, accept-ranges"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

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
            assert!(body["message"].is_string() && body["details"].is_array());
        }
        let (status, body) = door.post("/v1/customer/jobs", json!([1])).await;
        assert_eq!((status, body["code"].as_i64()), (400, Some(3)));
    }

    #[tokio::test]
    async fn no_route_is_open_to_strangers() {
        let door = Door::open().await;
        let id = "00000000-0000-0000-0000-000000000000";
        for (method, path) in [
            (Method::GET, "/v1/auth/user".to_owned()),
            (Method::PATCH, "/v1/auth/user".to_owned()),
            (Method::POST, "/v1/auth/signout".to_owned()),
            (Method::GET, "/v1/auth/api_keys".to_owned()),
            (Method::POST, "/v1/auth/api_key".to_owned()),
            (Method::POST, format!("/v1/auth/api_keys/{id}/revoke")),
            (Method::GET, "/v1/auth/secrets".to_owned()),
            (Method::POST, "/v1/auth/secrets".to_owned()),
            (Method::DELETE, "/v1/auth/secrets/aws/x".to_owned()),
            (Method::GET, "/v1/customer/jobs".to_owned()),
            (Method::POST, "/v1/computing/jobs".to_owned()),
            (Method::POST, "/v1/customer/jobs/filter".to_owned()),
            (Method::POST, "/v1/wallet/transactions/filter".to_owned()),
            (Method::GET, format!("/v1/customer/jobs/{id}")),
            (Method::DELETE, format!("/v1/customer/jobs/{id}")),
            (Method::PATCH, format!("/v1/customer/jobs/{id}/datasource")),
            (Method::PATCH, format!("/v1/customer/jobs/{id}/params")),
            (Method::PATCH, format!("/v1/customer/jobs/{id}/jobname")),
            (Method::PATCH, format!("/v1/customer/jobs/{id}/configs")),
            (Method::PATCH, format!("/v1/customer/jobs/{id}/uploadcompleted")),
            (Method::POST, format!("/v1/customer/jobs/{id}/run")),
            (Method::POST, format!("/v1/customer/jobs/{id}/abort")),
            (Method::GET, format!("/v1/customer/jobs/{id}/results")),
            (Method::GET, format!("/v1/customer/jobs/{id}/progress")),
            (Method::GET, format!("/v1/customer/jobs/{id}/explain")),
            (Method::GET, format!("/v1/customer/jobs/{id}/quote")),
            (Method::POST, format!("/v1/customer/jobs/{id}/clone")),
            (Method::GET, format!("/v1/customer/jobs/estimation/{id}")),
            (Method::POST, format!("/v1/customer/jobs/run/{id}")),
            (Method::POST, format!("/v1/customer/jobs/params/{id}")),
            (Method::POST, format!("/v1/customer/jobs/datasource/{id}")),
            (Method::POST, "/v1/customer/datasource/test".to_owned()),
            (Method::GET, "/v1/customer/wallet/balance".to_owned()),
            (Method::GET, format!("/v1/customer/jobs/{id}/tasks")),
            (Method::GET, "/v1/customer/jobs/templates".to_owned()),
            (Method::POST, "/v1/customer/jobs/runningTasks".to_owned()),
            (Method::POST, "/v1/customer/logs".to_owned()),
            (Method::GET, "/v1/customer/events".to_owned()),
            (Method::GET, "/v1/dev/apps".to_owned()),
            (Method::POST, "/v1/dev/engines".to_owned()),
            (Method::GET, "/v1/dev/templates".to_owned()),
            (Method::POST, "/v1/dev/images?reference=a".to_owned()),
            (Method::POST, "/v1/dev/nodes/tokens".to_owned()),
            (Method::GET, "/v1/wallet/balance".to_owned()),
            (Method::GET, "/v1/wallet/transactions".to_owned()),
            (Method::GET, "/v1/wallet/transactions/csv".to_owned()),
            (Method::DELETE, "/v1/dev/apps/a@0.1".to_owned()),
            (Method::DELETE, "/v1/dev/templates/t".to_owned()),
        ] {
            for key in ["", "ff_wrong", "Bearer nonsense", "a.b.c"] {
                let (status, body) = door.call_as(key, method.clone(), &path, None).await;

                assert_eq!((status, body["code"].as_i64()), (401, Some(16)), "{method} {path}");
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
