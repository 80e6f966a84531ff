//! Finds the route of a request: by its path, then by its method.

use std::sync::Arc;

use common::access::Scope;
use warp::Reply as _;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderValue,
};
use warp::http::{Method, StatusCode};

use super::call::{Call, Segment};
use super::error::Error;
use super::reply::refusal;
use super::route::{Access, Body, Fields, Route};
use crate::api::Answer;

/// Routes that belong together, under one or more prefixes.
pub struct Api {
    /// As `customer`.
    pub name: &'static str,
    pub title: &'static str,
    /// The first is the one that documents show.
    pub prefixes: &'static [&'static str],
    /// What routes that read need, and those that do more, unless they say otherwise.
    pub reads: Scope,
    pub writes: Scope,
    pub routes: Vec<Route>,
}

impl Api {
    /// Who may call one of its routes.
    pub fn access(&self, route: &Route) -> Access {
        let usual = if route.method == Method::GET { self.reads } else { self.writes };
        route.access.unwrap_or(Access::Scope(usual))
    }
}

/// A route with who may call it.
type Entry = (Arc<Route>, Access);

/// All routes of the server.
pub struct Router {
    paths: matchit::Router<Vec<Entry>>,
}

impl Router {
    /// # Panics
    ///
    /// Where two routes claim the same path and method; the tests open every one.
    pub fn new(apis: impl IntoIterator<Item = Api>) -> Self {
        let mut paths = std::collections::BTreeMap::<String, Vec<Entry>>::new();
        for api in apis {
            let accesses: Vec<_> = api.routes.iter().map(|route| api.access(route)).collect();
            for (route, access) in api.routes.into_iter().zip(accesses) {
                let route = Arc::new(route);
                for prefix in api.prefixes {
                    let path = format!("{prefix}{}", route.path);
                    paths.entry(path).or_default().push((route.clone(), access));
                }
            }
        }
        let mut router = matchit::Router::new();
        for (path, routes) in paths {
            router.insert(path, routes).expect("no two routes have the same path");
        }
        Self { paths: router }
    }

    /// The answer of the route that takes this call.
    pub async fn answer(&self, method: &Method, mut call: Call) -> Answer {
        if *method == Method::OPTIONS {
            return allow_any_origin(preflight());
        }
        let Ok(found) = self.paths.at(call.path.as_str()) else {
            return allow_any_origin(refusal(&Error::NotFound("path".to_owned())));
        };
        let Some((route, access)) = pick(found.value, method) else {
            return allow_any_origin(wrong_method(found.value));
        };
        let segments = found.params.iter().map(|(_, text)| text.parse::<Segment>());
        let Ok(segments) = segments.collect::<Result<Vec<_>, _>>() else {
            return allow_any_origin(refusal(&Error::NotFound("path".to_owned())));
        };
        let known = (!route.any_query).then(|| route.query.clone());
        let fields = match &route.body {
            Body::Json(fields) => fields.clone(),
            Body::Nothing | Body::Text(_) | Body::Bytes(_) => Fields::Borrowed(&[]),
        };
        if let Err(refused) = call.enter(*access, segments, known, fields) {
            return allow_any_origin(refusal(&self.with_filter(&call, refused)));
        }
        allow_any_origin(route.answer(call).await)
    }
}

impl Router {
    /// A refusal of a list's query that also says where the list can be filtered.
    fn with_filter(&self, call: &Call, refused: Error) -> Error {
        let path = format!("{}/filter", call.path.as_str().trim_end_matches('/'));
        let Error::Field(invalid) = refused else { return refused };
        if self.paths.at(&path).is_ok_and(|found| found.params.is_empty()) {
            return Error::field(
                invalid.field,
                format!("{}; POST {path} filters", invalid.problem),
            );
        }
        Error::Field(invalid)
    }
}

/// The route of this method; what answers a GET also answers a HEAD.
fn pick<'a>(routes: &'a [Entry], method: &Method) -> Option<&'a Entry> {
    let of = |method: &Method| routes.iter().find(|(route, _)| route.method == *method);
    of(method).or_else(|| if *method == Method::HEAD { of(&Method::GET) } else { None })
}

fn wrong_method(routes: &[Entry]) -> Answer {
    let mut answer = refusal(&Error::Method);
    let methods: Vec<_> = routes.iter().map(|(route, _)| route.method.as_str()).collect();
    if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
        answer.headers_mut().insert(ALLOW, methods);
    }
    answer
}

/// Browsers ask before they send a header of their own; tokens travel in headers and never in
/// cookies, so any page may ask.
fn preflight() -> Answer {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    let headers = answer.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, content-disposition, range, idempotency-key, \
             last-event-id",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

fn allow_any_origin(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("content-disposition, content-range, accept-ranges, retry-after"),
    );
    answer
}
