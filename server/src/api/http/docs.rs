//! The OpenAPI documents and the page to try them on.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use common::access::Scope;
use serde_json::json;
use utoipa_swagger_ui::Config;
use warp::Reply as _;
use warp::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION};
use warp::http::{Method, Response, StatusCode};

mod glossary;
mod openapi;

use super::call::{Call, Segment};
use super::problem_json::ERRORS;
use super::route::{AnswerShape, Route, raw};
use super::router::Api;
use crate::api::Answer;
use crate::error::{Error, Result};

/// The document of all APIs.
pub const WHOLE: &str = "/docs/openapi.json";

/// What the page may do: run its own scripts and ask this server. Swagger UI sets styles on its
/// elements and carries its pictures in itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// What the page is called.
const TITLE: &str = "Fanfold API";
/// What makes the page show the documents.
const SCRIPT: &str = "swagger-initializer.js";

/// Adds the documents and the pages to the table: `docs/swagger.json` and `docs/` of each API, and
/// of all together. They do not document themselves.
pub fn with_documents(table: fn() -> Vec<Api>) -> Vec<Api> {
    let mut apis = table();
    let mut documents: Vec<Document> = apis
        .iter()
        .enumerate()
        .filter(|(_, api)| api.prefixes != [""])
        .flat_map(|(at, api)| {
            let title = api.title;
            let json =
                later(move || openapi::json(title, table().get(at..=at).unwrap_or_default()));
            let of = |prefix: &&str| Document {
                title: format!("{title} ({prefix})"),
                path: format!("{prefix}/docs/swagger.json"),
                page: format!("{prefix}/docs/"),
                json: json.clone(),
            };
            api.prefixes.iter().map(of).collect::<Vec<_>>()
        })
        .collect();
    documents.insert(0, whole(table));
    let endless = endless(&apis);
    let routes =
        documents.iter().flat_map(|document| routes(document, &documents, &endless)).collect();
    apis.push(Api {
        name: "docs",
        title: "",
        prefixes: &[""],
        errors: &ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes,
    });
    apis
}

struct Document {
    title: String,
    path: String,
    page: String,
    json: Later,
}

/// The text of a document. It is made when it is first asked for: all of them together take longer
/// than the rest of a start.
type Later = Arc<LazyLock<String, Box<dyn FnOnce() -> String + Send>>>;

fn later(make: impl FnOnce() -> String + Send + 'static) -> Later {
    Arc::new(LazyLock::new(Box::new(make)))
}

fn whole(table: fn() -> Vec<Api>) -> Document {
    let json = later(move || openapi::json(TITLE, &table()));
    Document { title: TITLE.to_owned(), path: WHOLE.to_owned(), page: "/docs/".to_owned(), json }
}

/// The paths whose answers do not end: a page could wait for them for ever.
fn endless(apis: &[Api]) -> Vec<String> {
    let is = |route: &&Route| matches!(route.answer, AnswerShape::Endless(_));
    let all = apis.iter().flat_map(|api| api.routes.iter());
    let paths: BTreeSet<_> = all.filter(is).map(|route| route.path.to_string()).collect();
    paths.into_iter().collect()
}

/// The script of a page: this document first, then the others.
fn script(document: &Document, all: &[Document], endless: &[String]) -> String {
    let documents: Vec<_> = std::iter::once(document)
        .chain(all.iter().filter(|other| other.path != document.path))
        .map(|document| json!({"name": document.title, "url": document.path}))
        .collect();
    include_str!("docs/page.js")
        .replace("DOCUMENTS", &json!(documents).to_string())
        .replace("ENDLESS", &json!(endless).to_string())
}

fn routes(document: &Document, all: &[Document], endless: &[String]) -> [Route; 4] {
    let json = document.json.clone();
    let script = Arc::<str>::from(script(document, all, endless));
    let home = document.page.clone();
    [
        raw(Method::GET, "Docs_GetDocument", document.path.clone(), "application/json", {
            move |_: Call| {
                std::future::ready(Ok(text("application/json", json.as_bytes().to_vec())))
            }
        })
        .open()
        .any_query(),
        raw(Method::GET, "Docs_GetPage", document.page.clone(), "text/html", {
            let script = script.clone();
            move |_: Call| std::future::ready(file("", &script))
        })
        .open()
        .any_query(),
        raw(Method::GET, "Docs_GetFile", format!("{}{{file}}", document.page), "text/html", {
            move |name: Segment, _: Call| std::future::ready(file(&name.0, &script))
        })
        .open()
        .any_query(),
        raw(Method::GET, "Docs_GoToPage", home.trim_end_matches('/').to_owned(), "text/html", {
            move |_: Call| std::future::ready(go_to(&home, StatusCode::PERMANENT_REDIRECT))
        })
        .open()
        .any_query(),
    ]
}

/// A file of the page; the empty name is the page itself.
fn file(name: &str, script: &str) -> Result<Answer> {
    let missing = || Error::NotFound("page".to_owned());
    let config = Arc::new(Config::new([""; 0]));
    let file = utoipa_swagger_ui::serve(name, config).ok().flatten().ok_or_else(missing)?;
    let bytes = match name {
        SCRIPT => script.as_bytes().to_vec(),
        "" | "index.html" => titled(&file.bytes),
        _ => file.bytes.into_owned(),
    };
    let mut answer = text(&file.content_type, bytes);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    Ok(answer)
}

fn titled(page: &[u8]) -> Vec<u8> {
    let page = String::from_utf8_lossy(page);
    page.replace("<title>Swagger UI</title>", &format!("<title>{TITLE}</title>")).into_bytes()
}

fn text(media: &str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(body).into_response();
    if let Ok(media) = HeaderValue::from_str(media) {
        answer.headers_mut().insert(CONTENT_TYPE, media);
    }
    answer
}

/// Leads to another page of this server.
pub fn go_to(page: &str, how: StatusCode) -> Result<Answer> {
    let mut answer = how.into_response();
    let page = HeaderValue::from_str(page).map_err(|error| Error::Internal(Box::new(error)))?;
    answer.headers_mut().insert(LOCATION, page);
    Ok(answer)
}

#[cfg(test)]
mod tests;
