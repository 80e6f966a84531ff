//! Finds the route of a request: by its path, then by its method.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::access::Scope;
use warp::Reply as _;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderValue,
};
use warp::http::{Method, StatusCode};

use super::call::{Call, Segment};
use super::problem::{ErrorShape, Problem, Rejected};
use super::problem_json;
use super::route::{Access, Body, Fields, Route};
use crate::api::Answer;
use crate::error::Error;

/// Routes that belong together, under one or more prefixes.
pub struct Api {
    /// As `customer`.
    pub name: &'static str,
    pub title: &'static str,
    /// The first is the one that documents show.
    pub prefixes: &'static [&'static str],
    pub errors: &'static ErrorShape,
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

/// A route, who may call it, and how its API writes failures.
#[derive(Clone)]
struct Entry {
    route: Arc<Route>,
    access: Access,
    errors: &'static ErrorShape,
}

/// A path, and the routes that it has.
struct Place {
    /// As `/v1/jobs/{job}`.
    pattern: Arc<str>,
    routes: Vec<Entry>,
}

/// The pattern of the route that gave an answer, which its guard reads.
#[derive(Debug, Clone)]
pub struct Pattern(pub Arc<str>);

/// All routes of the server.
pub struct Router {
    paths: matchit::Router<Place>,
    /// The longest prefixes first.
    prefixes: Vec<(&'static str, &'static ErrorShape)>,
}

impl Router {
    /// # Panics
    ///
    /// Where two routes claim the same path and method; the tests open every one.
    pub fn new(apis: impl IntoIterator<Item = Api>) -> Self {
        let mut paths = BTreeMap::<String, Vec<Entry>>::new();
        let mut prefixes = Vec::new();
        for api in apis {
            prefixes.extend(api.prefixes.iter().map(|prefix| (*prefix, api.errors)));
            let accesses: Vec<_> = api.routes.iter().map(|route| api.access(route)).collect();
            for (route, access) in api.routes.into_iter().zip(accesses) {
                let route = Arc::new(route);
                for prefix in api.prefixes {
                    let path = format!("{prefix}{}", route.path);
                    let entry = Entry { route: route.clone(), access, errors: api.errors };
                    paths.entry(path).or_default().push(entry);
                }
            }
        }
        let mut router = matchit::Router::new();
        for (path, routes) in paths {
            let place = Place { pattern: path.as_str().into(), routes };
            router.insert(path, place).expect("no two routes have the same path");
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { paths: router, prefixes }
    }

    /// The answer of the route that takes this call.
    pub async fn answer(&self, method: &Method, call: Call) -> Answer {
        let found = self.paths.at(call.path.as_str());
        let pattern = found.as_ref().ok().map(|found| Pattern(Arc::clone(&found.value.pattern)));
        if *method == Method::OPTIONS {
            return of_route(allow_any_origin(preflight()), pattern);
        }
        let answer = allow_any_origin(match found {
            Ok(found) => match pick(&found.value.routes, method) {
                Some(entry) => {
                    let segments = found.params.iter().map(|(_, text)| text.parse::<Segment>());
                    let answer = match segments.collect::<Result<Vec<_>, _>>() {
                        Ok(segments) => self.enter(entry, segments, call).await,
                        Err(()) => Err(Rejected::Path.into()),
                    };
                    answer.unwrap_or_else(|problem| entry.errors.answer(&problem))
                }
                None => wrong_method(&found.value.routes),
            },
            Err(_) => self.errors(call.path.as_str()).answer(&Rejected::Path.into()),
        });
        of_route(answer, pattern)
    }

    async fn enter(
        &self,
        Entry { route, access, .. }: &Entry,
        segments: Vec<Segment>,
        mut call: Call,
    ) -> Result<Answer, Problem> {
        let known = (!route.any_query).then(|| route.query.clone());
        let fields = match &route.body {
            Body::Json(fields) => fields.clone(),
            Body::Nothing | Body::Text(_) | Body::Bytes(_) => Fields::Borrowed(&[]),
        };
        if let Err(refused) = call.enter(*access, segments, known, fields) {
            return Err(self.with_filter(&call, refused).into());
        }
        Ok(route.answer(call).await?)
    }

    /// How failures are written at a path that no route has: as the API that it lies below does.
    fn errors(&self, path: &str) -> &'static ErrorShape {
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = self.prefixes.iter().find(|(prefix, _)| below(prefix));
        found.map_or(&problem_json::ERRORS, |(_, errors)| errors)
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

/// The answer with the pattern of its route.
fn of_route(mut answer: Answer, pattern: Option<Pattern>) -> Answer {
    if let Some(pattern) = pattern {
        answer.extensions_mut().insert(pattern);
    }
    answer
}

/// The route of this method; what answers a GET also answers a HEAD.
fn pick<'a>(routes: &'a [Entry], method: &Method) -> Option<&'a Entry> {
    let of = |method: &Method| routes.iter().find(|entry| entry.route.method == *method);
    of(method).or_else(|| if *method == Method::HEAD { of(&Method::GET) } else { None })
}

fn wrong_method(routes: &[Entry]) -> Answer {
    let errors = routes.first().map_or(&problem_json::ERRORS, |entry| entry.errors);
    let mut answer = errors.answer(&Rejected::Method.into());
    let methods: Vec<_> = routes.iter().map(|entry| entry.route.method.as_str()).collect();
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
