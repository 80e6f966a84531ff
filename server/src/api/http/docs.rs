//! The OpenAPI documents and the page to try them on.

use std::sync::Arc;

use common::rights::Scope;
use utoipa_swagger_ui::Config;
use warp::Reply as _;
use warp::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION};
use warp::http::{Method, Response, StatusCode};

use super::call::{Call, Segment};
use super::error::{Error, Result};
use super::openapi::document;
use super::route::{Route, raw};
use super::router::Api;
use crate::api::Answer;

/// The document of all APIs.
const WHOLE: &str = "/docs/openapi.json";

/// What the page may do: run its own scripts and ask this server. Swagger UI sets styles on its
/// elements and carries its pictures in itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// Adds the documents and the pages to the table: `docs/swagger.json` and `docs/` of each API, and
/// of all together. They do not document themselves.
pub fn with_documents(mut apis: Vec<Api>) -> Vec<Api> {
    let mut documents: Vec<Document> = apis
        .iter()
        .filter(|api| api.prefixes != [""])
        .flat_map(|api| {
            let json = json(api.title, std::slice::from_ref(api));
            let of = |prefix: &&str| Document {
                path: format!("{prefix}/docs/swagger.json"),
                page: format!("{prefix}/docs/"),
                json: json.clone(),
            };
            api.prefixes.iter().map(of).collect::<Vec<_>>()
        })
        .collect();
    documents.insert(0, whole(&apis));
    let routes = documents.iter().flat_map(|document| routes(document, &documents)).collect();
    apis.push(Api {
        name: "docs",
        title: "",
        prefixes: &[""],
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes,
    });
    apis
}

struct Document {
    path: String,
    page: String,
    json: Arc<str>,
}

fn whole(apis: &[Api]) -> Document {
    let json = json("Fanfold", apis);
    Document { path: WHOLE.to_owned(), page: "/docs/".to_owned(), json }
}

fn json(title: &str, apis: &[Api]) -> Arc<str> {
    document(title, apis).to_json().expect("a document is JSON").into()
}

fn routes(document: &Document, all: &[Document]) -> [Route; 4] {
    let json = document.json.clone();
    let urls = std::iter::once(document)
        .chain(all.iter().filter(|other| other.path != document.path))
        .map(|document| utoipa_swagger_ui::Url::from(document.path.clone()))
        .collect::<Vec<_>>();
    let page = Arc::new(Config::new(urls).try_it_out_enabled(true).persist_authorization(false));
    let home = document.page.clone();
    [
        raw(Method::GET, "Docs_GetDocument", document.path.clone(), "application/json", {
            move |_: Call| std::future::ready(Ok(text("application/json", json.to_string().into())))
        })
        .open(),
        raw(Method::GET, "Docs_GetPage", document.page.clone(), "text/html", {
            let page = page.clone();
            move |_: Call| std::future::ready(file("", &page))
        })
        .open(),
        raw(Method::GET, "Docs_GetFile", format!("{}{{file}}", document.page), "text/html", {
            move |name: Segment, _: Call| std::future::ready(file(&name.0, &page))
        })
        .open(),
        raw(Method::GET, "Docs_GoToPage", home.trim_end_matches('/').to_owned(), "text/html", {
            move |_: Call| std::future::ready(go_to(&home))
        })
        .open(),
    ]
}

/// A file of the page; the empty name is the page itself.
fn file(name: &str, page: &Arc<Config<'static>>) -> Result<Answer> {
    let missing = || Error::NotFound("page".to_owned());
    let file = utoipa_swagger_ui::serve(name, page.clone()).ok().flatten().ok_or_else(missing)?;
    let mut answer = text(&file.content_type, file.bytes.into_owned());
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    Ok(answer)
}

fn text(media: &str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(body).into_response();
    if let Ok(media) = HeaderValue::from_str(media) {
        answer.headers_mut().insert(CONTENT_TYPE, media);
    }
    answer
}

fn go_to(page: &str) -> Result<Answer> {
    let mut answer = StatusCode::PERMANENT_REDIRECT.into_response();
    let page = HeaderValue::from_str(page).map_err(|error| Error::Internal(Box::new(error)))?;
    answer.headers_mut().insert(LOCATION, page);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reqwest::Method;

    use crate::api::testing::Door;

    #[tokio::test]
    async fn every_documented_operation_is_routed_and_every_route_documented() {
        let door = Door::open().await;
        let (status, document) = door.get("/docs/openapi.json").await;
        assert_eq!(status, 200);
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.insert((path.clone(), method.to_uppercase()));
            }
        }
        let routed: BTreeSet<_> = crate::api::apis()
            .iter()
            .flat_map(|api| api.routes.iter().map(move |route| (api, route)))
            .map(|(api, route)| {
                (format!("{}{}", api.prefixes[0], route.path), route.method.to_string())
            })
            .collect();

        assert_eq!(documented, routed);
        // A wrong key is refused by the route itself, and not by there being none.
        for (path, method) in documented {
            let method: Method = method.parse().unwrap();
            let path = path.replace(['{', '}'], "");
            let (status, body) = door.call_as("ff_wrong", method, &path, None).await;

            assert!(status != 405 && body["message"] != "path not found", "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn each_api_has_its_document_and_a_page_to_try_it_on() {
        let door = Door::open().await;
        for api in ["/v1/customer", "/v1/computing", "/v1/auth", "/v1/dev", "/v1/wallet"] {
            let (status, document) = door.get(&format!("{api}/docs/swagger.json")).await;
            let (page_status, page) = door.get(&format!("{api}/docs/")).await;
            let (_, start) = door.get(&format!("{api}/docs/swagger-initializer.js")).await;

            assert_eq!((status, page_status), (200, 200));
            assert!(document["openapi"].as_str().unwrap().starts_with("3."));
            assert!(page.as_str().unwrap().contains("swagger-ui"));
            assert!(start.as_str().unwrap().contains(&format!("{api}/docs/swagger.json")));
        }
        assert_eq!(door.get("/v1/customer/docs/nothing.js").await.0, 404);
        assert_eq!(door.get("/v1/customer/docs").await.0, 200);
    }

    #[tokio::test]
    async fn what_the_page_begins_with_works_as_it_is() {
        let door = Door::open().await;
        let (_, document) = door.get("/docs/openapi.json").await;
        // Some use what those before them have made.
        for path in [
            "/v1/customer/jobs/filter",
            "/v1/customer/datasource/test",
            "/v1/dev/templates",
            "/v1/customer/jobs",
            "/v1/auth/api_key",
            "/v1/auth/secrets",
            "/v1/auth/members",
            "/v1/wallet/coupons",
            "/v1/wallet/redeem_coupon",
            "/v1/wallet/top_up",
            "/v1/wallet/transactions/filter",
        ] {
            let content = &document["paths"][path]["post"]["requestBody"]["content"];
            let example = content["application/json"]["example"].clone();

            let (status, body) = door.post(path, example.clone()).await;

            assert_eq!(status, 200, "{path}: {example}: {body}");
        }
    }

    #[tokio::test]
    async fn operations_have_names_of_their_own_and_words() {
        let mut seen = BTreeSet::new();
        for api in crate::api::apis() {
            for route in &api.routes {
                assert!(seen.insert(route.operation.clone()), "{}", route.operation);
                assert!(!route.summary.is_empty(), "{}", route.operation);
            }
        }
    }
}
