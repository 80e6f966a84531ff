//! The HTTP APIs. Each reads requests, calls one use case, and shapes what it gives.
//!
//! A folder for each API, in it a file for each resource: its routes, its handlers, and the shapes
//! that go in and out. `table` puts the routes together; `http` is what all of them are made of.
//! What belongs to no product (`storage`, `health`, `metrics`, `info`) has no folder of an API.

pub mod bytenite;
mod daestro;
mod ejjy;
mod health;
#[cfg(test)]
mod hostile;
mod http;
mod info;
#[cfg(test)]
mod log_tests;
mod metrics;
mod native;
mod quedup;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod snapshots;
mod storage;
mod table;
#[cfg(test)]
pub mod testing;
mod tork;

use std::sync::Arc;

use common::ids::WorkspaceId;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::http::Method;

use crate::app::App;
use crate::limits::concurrency::KeyedSemaphore;
use crate::limits::rate::Limits;
use crate::readiness::Readiness;
use http::call::call;
use http::docs;
use http::permits::RequestLimits;
use http::router::Router;
use http::serving::{self, Options, Pace};
use table::apis;

type Answer = warp::reply::Response;

/// Answers that grow with what a workspace has, made at the same time: for one, and in all.
const ANSWERS_MAX: (usize, usize) = (2, 12);

/// The app, and what all requests share beside it.
pub struct State {
    app: App,
    stop: CancellationToken,
    permits: RequestLimits,
    /// How slow bodies and answers may be.
    limits: serving::Limits,
    /// For lists and logs: each can take several MiB.
    answers: KeyedSemaphore<WorkspaceId>,
    /// Requests of each workspace.
    requests: Limits,
    /// Requests from each address without a right key.
    strangers: Limits,
    /// Tests of data sources by each workspace.
    source_tests: Limits,
    readiness: Readiness,
}

impl State {
    /// The pace of a body that begins to arrive.
    fn pace(&self) -> Pace {
        self.limits.pace()
    }
}

/// Serves the API until `stop`, then lets what is under way end within a few seconds.
pub fn serve(
    app: App,
    listener: TcpListener,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let settings = &app.settings;
    let proxies = settings.trusted_proxies.clone();
    let options = Options::new(&settings.http, proxies, app.metrics.clone());
    // The table of routes is put together here and not in the task, where nobody would notice that
    // it cannot be.
    let routes = filter(app, stop.clone());
    serving::serve(routes, listener, options, stop)
}

/// Every request goes through here: warp takes it apart, the table of routes answers it.
fn filter(
    app: App,
    stop: CancellationToken,
) -> impl warp::Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    let (limits, http) = (app.settings.limits, app.settings.http);
    let state = Arc::new(State {
        app,
        stop,
        permits: RequestLimits::new(),
        limits: serving::Limits::new(&http),
        answers: KeyedSemaphore::new(ANSWERS_MAX.0, ANSWERS_MAX.1),
        requests: Limits::per_minute(limits.requests_per_minute),
        strangers: Limits::per_minute(limits.stranger_requests_per_minute),
        source_tests: Limits::per_minute(limits.source_tests_per_minute),
        readiness: Readiness::default(),
    });
    let router = Arc::new(Router::new(docs::with_documents(apis)));
    warp::method().and(call(&state)).then(move |method: Method, call| {
        let router = router.clone();
        async move { router.answer(&method, call).await }
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use common::access::Role;
    use reqwest::Method;
    use serde_json::json;

    use super::http::route::Access;
    use super::testing::TestServer;
    use crate::mail::Mail;

    #[tokio::test]
    async fn failures_have_the_documented_shape() {
        let server = TestServer::open().await;
        for (method, path, status, code) in [
            (Method::GET, "/v1/customer/nowhere", 404, 5),
            (Method::DELETE, "/v1/wallet/balance", 405, 12),
            (Method::GET, "/v1/auth/access_token", 405, 12),
            (Method::GET, "/v1/customer/jobs/not-an-id", 404, 5),
        ] {
            let (got, body) = server.call(method, path, None).await;

            assert_eq!((got, body["code"].as_i64()), (status, Some(code)), "{path}: {body}");
            assert!(body["message"].is_string() && body["details"][0]["reason"].is_string());
        }
        for (method, path, status, code) in [
            (Method::GET, "/nowhere", 404, "NOT_FOUND"),
            (Method::GET, "/v1/nowhere", 404, "NOT_FOUND"),
            (Method::PUT, "/v1/jobs", 405, "METHOD_NOT_ALLOWED"),
            (Method::GET, "/v1/runs/not-an-id", 404, "NOT_FOUND"),
            (Method::POST, "/healthz", 405, "METHOD_NOT_ALLOWED"),
            (Method::GET, "/healthz?x=1", 400, "INVALID_ARGUMENT"),
            (Method::GET, "/v1/storage/x", 403, "FORBIDDEN"),
        ] {
            let (got, body) = server.call(method, path, None).await;

            assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{path}: {body}");
            assert!(body["detail"].is_string() && body["status"] == status, "{path}: {body}");
        }
        let named = server.post("/v1/customer/jobs", json!({"templateId": 7})).await.1;
        assert_eq!(named["details"][0]["reason"], "INVALID_ARGUMENT");
        assert_eq!(named["details"][0]["metadata"]["field"], "templateId");
        let (status, body) = server.post("/v1/customer/jobs", json!([1])).await;
        assert_eq!((status, body["code"].as_i64()), (400, Some(3)));
    }

    #[tokio::test]
    async fn routes_refuse_callers_without_credentials() {
        let server = TestServer::open().await;
        for api in super::apis() {
            for route in api.routes.iter().filter(|route| api.access(route) != Access::Open) {
                for (prefix, key) in api.prefixes.iter().zip(["ff_wrong", "Bearer a.b.c"]) {
                    let path = format!("{prefix}{}", route.path).replace(['{', '}'], "");

                    let (status, body) =
                        server.call_as(key, route.method.clone(), &path, None).await;

                    let refusals = [json!(16), json!("UNAUTHENTICATED"), json!("unauthorized")];
                    let code = body["error"].get("code").unwrap_or(&body["code"]);
                    let is_refused = refusals.contains(code)
                        || body["status"] == "error"
                        || body["ok"] == false
                        || body["message"] == "Unauthorized";
                    assert!(status == 401 && is_refused, "{path}: {body}");
                }
            }
        }
    }

    #[tokio::test]
    async fn routes_allow_exactly_the_roles_of_their_scope() {
        let server = TestServer::open().await;
        for role in Role::ALL {
            let (_, key) = server.member(role).await;
            for api in super::apis() {
                for route in &api.routes {
                    let Access::Scope(scope) = api.access(route) else { continue };
                    let path = format!("{}{}", api.prefixes[0], route.path).replace(['{', '}'], "");
                    let url = format!("{}{path}", server.url);

                    let request = server.client.request(route.method.clone(), url);
                    let answer = request.header("authorization", &key).send().await.unwrap();

                    let refused = answer.status() == 403;
                    assert_eq!(refused, !role.scopes().has(scope), "{role} {path}");
                }
            }
        }
    }

    #[tokio::test]
    async fn routes_for_any_role_are_those_of_the_callers_identity() {
        let mut any_role = Vec::new();
        for api in super::apis() {
            let all = api.routes.iter().filter(|route| api.access(route) == Access::AnyRole);
            any_role.extend(all.map(|route| route.operation.clone()));
        }

        any_role.sort();
        assert_eq!(any_role, ["Auth_GetUser", "Auth_ListWorkspaces", "Auth_SignOut"]);
    }

    #[tokio::test]
    async fn rate_limit_applies_per_key() {
        let five = NonZeroU32::new(5).unwrap();
        let server = TestServer::open_with(Mail::to_log(), five).await;
        let ask = async |key: &str| server.call_as(key, Method::GET, "/v1/auth/user", None).await.0;
        let five_times = async |key: &str| {
            let mut answers = Vec::new();
            for _ in 0..6 {
                answers.push(ask(key).await);
            }
            answers
        };

        assert_eq!(five_times("ff_wrong").await, [401, 401, 401, 401, 401, 429]);
        assert_eq!(five_times(&server.key).await, [200, 200, 200, 200, 200, 429]);
        assert_eq!(ask(&server.stranger().await).await, 200);
        let body = json!({"apiKey": server.key});
        let path = "/v1/auth/access_token";
        assert_eq!(server.call_as("", Method::POST, path, Some(body)).await.0, 200);
    }

    #[tokio::test]
    async fn body_size_is_limited() {
        let server = TestServer::open().await;
        let huge = json!({"templateId": "x".repeat(2 << 20)});

        let (status, body) = server.post("/v1/customer/jobs", huge).await;

        assert_eq!((status, body["code"].as_i64()), (413, Some(8)));
    }

    #[tokio::test]
    async fn cors_allows_any_origin() {
        let server = TestServer::open().await;
        let url = format!("{}/v1/customer/jobs", server.url);

        let asked = server.client.request(Method::OPTIONS, &url).header("origin", "https://a.b");
        let asked = asked.send().await.unwrap();
        let got = server.client.get(&url).header("origin", "https://a.b").send().await.unwrap();

        assert_eq!(asked.status(), 204);
        assert!(asked.headers()["access-control-allow-headers"].to_str().unwrap().contains("auth"));
        assert_eq!(got.status(), 401);
        assert_eq!(got.headers()["access-control-allow-origin"], "*");
    }

    #[tokio::test]
    async fn root_leads_browsers_to_the_docs_and_programs_to_the_document() {
        let server = TestServer::open().await;

        let (status, start) = server.get("/").await;
        let browser =
            server.client.get(format!("{}/?utm=x", server.url)).header("accept", "text/html");
        let browser = browser.send().await.unwrap();

        assert_eq!((status, &start["openapi"]), (200, &json!("/docs/openapi.json")), "{start}");
        assert!(browser.url().path() == "/docs/" && browser.status() == 200, "{browser:?}");
        assert_eq!(server.get("/docs/openapi.json").await.0, 200);
    }

    #[tokio::test]
    async fn query_field_unknown_to_a_route_is_refused() {
        let server = TestServer::open().await;

        let (status, refused) = server.get("/v1/customer/jobs?template=t").await;

        assert_eq!(
            (status, &refused["details"][0]["metadata"]["field"]),
            (400, &json!("template"))
        );
        let message = refused["message"].as_str().unwrap();
        for part in ["pagination.limit", "orderBy", "/v1/customer/jobs/filter"] {
            assert!(message.contains(part), "{message}");
        }
        for path in [
            "/v1/dev/apps?name=x",
            "/v1/auth/user?x=1",
            "/v1/wallet/balance?currency=USD",
            "/v1/customer/jobs/not-an-id?wait=1&stat=x",
        ] {
            assert_eq!(server.get(path).await.0, 400, "{path}");
        }
        let run = "/v1/customer/jobs/not-an-id/run?dry_runs=true";
        assert_eq!(server.post(run, json!({})).await.0, 400);
        for path in ["/v1/customer/jobs?limit=1&order_by=name", "/v1/dev/apps?is_public=true"] {
            assert_eq!(server.get(path).await.0, 200, "{path}");
        }
    }

    #[tokio::test]
    async fn health_and_info_are_answered() {
        let server = TestServer::open().await;

        assert_eq!(server.get("/healthz").await.0, 200);
        for base in ["customer", "computing", "auth", "dev", "wallet"] {
            let (status, body) = server.get(&format!("/v1/{base}/info")).await;

            assert_eq!(status, 200);
            assert!(body["version"]["tag"].is_string());
        }
    }
}
