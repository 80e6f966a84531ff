//! The OpenAPI documents, made from the table of routes.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Deprecated, HttpMethod, InfoBuilder, OpenApi,
    OpenApiBuilder, Ref, RefOr, Required,
};
use warp::http::Method;

use super::glossary;
use crate::api::http::idempotency;
use crate::api::http::problem::ErrorShape;
use crate::api::http::route::{Access, AnswerShape, Body, Route};
use crate::api::http::router::Api;
use crate::api::http::shape::{self, Kind};

const SECURITY: &str = "Authorization";
const ABOUT: &str = "Keys of bodies are read in any spelling (`jobId`, `job_id`), and whole \
    numbers also as texts. The `Authorization` header carries an \
    access token or an API key, alone or after `Bearer`.";

/// A document with its paths in the order of their use.
#[derive(Serialize)]
struct Document {
    openapi: Value,
    info: Value,
    tags: Vec<Value>,
    #[serde(serialize_with = "in_order")]
    paths: Vec<(String, Value)>,
    components: Value,
}

fn in_order<S: Serializer>(paths: &[(String, Value)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(paths.iter().map(|(path, item)| (path, item)))
}

/// The document of these APIs, one of them or all, as JSON: paths stand as in the table of routes,
/// and those that are only there for old clients behind all others.
pub fn json(title: &str, apis: &[Api]) -> String {
    let mut whole = serde_json::to_value(document(title, apis)).expect("a document is JSON");
    glossary::describe(&mut whole);
    let mut order = Vec::<(bool, String)>::new();
    for api in apis {
        let prefix = api.prefixes.first().copied().unwrap_or_default();
        for route in &api.routes {
            let path = format!("{prefix}{}", route.path);
            match order.iter_mut().find(|(_, known)| *known == path) {
                Some((deprecated, _)) => *deprecated &= route.deprecated,
                None => order.push((route.deprecated, path)),
            }
        }
    }
    order.sort_by_key(|(deprecated, _)| *deprecated);
    let mut part = |name: &str| whole[name].take();
    let mut paths = part("paths");
    let document = Document {
        openapi: part("openapi"),
        info: part("info"),
        tags: apis.iter().map(|api| json!({"name": api.name, "description": api.title})).collect(),
        paths: order.into_iter().map(|(_, path)| (path.clone(), paths[&path].take())).collect(),
        components: part("components"),
    };
    serde_json::to_string(&document).expect("a document is JSON")
}

fn document<'a>(title: &str, apis: impl IntoIterator<Item = &'a Api>) -> OpenApi {
    let mut paths = Paths::new();
    let mut schemas = BTreeMap::new();
    for api in apis {
        let mut found = vec![(api.errors.name.to_owned(), (api.errors.schema)())];
        (api.errors.parts)(&mut found);
        for schema in found {
            keep(&mut schemas, schema);
        }
        let prefix = api.prefixes.first().copied().unwrap_or_default();
        for route in &api.routes {
            let path = format!("{prefix}{}", route.path);
            paths.add_path_operation(path, vec![method(&route.method)], operation(api, route));
            for found in parts(route) {
                keep(&mut schemas, found);
            }
        }
    }
    let key = ApiKeyValue::with_description("Authorization", "An access token or an API key");
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(SECURITY, SecurityScheme::ApiKey(ApiKey::Header(key)));
    let info =
        InfoBuilder::new().title(title).version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

/// Keeps a schema under its name.
///
/// # Panics
///
/// Where another one has that name already; the tests make every document.
fn keep(schemas: &mut BTreeMap<String, RefOr<Schema>>, (name, schema): (String, RefOr<Schema>)) {
    if let Some(other) = schemas.insert(name.clone(), schema.clone()) {
        assert!(other == schema, "two schemas are called {name}");
    }
}

/// The schemas that a route needs beside itself.
fn parts(route: &Route) -> Vec<(String, RefOr<Schema>)> {
    let mut found = Vec::new();
    match &route.answer {
        AnswerShape::Json(json) => (json.parts)(&mut found),
        AnswerShape::Endless(event) => shape::named(event, &mut found),
        AnswerShape::Raw(_) => {}
    }
    if let Body::Json(fields) = &route.body {
        shape::named(fields, &mut found);
    }
    found
}

fn operation(api: &Api, route: &Route) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .tag(api.name)
        .operation_id(Some(route.operation.clone()))
        .summary(Some(route.summary))
        .request_body(body(&route.body))
        .response(route.success.to_string(), success(&route.answer, route.also));
    let access = api.access(route);
    for (status, why) in failures(route, access) {
        operation = operation.response(status.to_string(), failure(api.errors, why));
    }
    for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')) {
        let name = name.trim_end_matches('}').trim_start_matches('*');
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(Kind::Text.schema()));
        operation = operation.parameter(parameter);
    }
    for field in route.query.iter() {
        let parameter = ParameterBuilder::new()
            .name(field.name)
            .parameter_in(ParameterIn::Query)
            .required(if field.required { Required::True } else { Required::False })
            .description(Some(field.about))
            .schema(Some(field.kind.schema()));
        operation = operation.parameter(parameter);
    }
    if route.creates {
        let parameter = ParameterBuilder::new()
            .name(idempotency::HEADER)
            .parameter_in(ParameterIn::Header)
            .description(Some(idempotency::ABOUT))
            .schema(Some(Kind::Text.schema()));
        operation = operation.parameter(parameter);
    }
    if access != Access::Open {
        let nothing: [&str; 0] = [];
        operation = operation.security(SecurityRequirement::new(SECURITY, nothing));
    }
    if let Access::Scope(scope) = access {
        let role = scope.least_role();
        operation = operation.description(Some(format!("Needs the scope `{scope}` ({role}).")));
    }
    if route.deprecated {
        operation = operation.deprecated(Some(Deprecated::True));
    }
    operation
}

fn success(answer: &AnswerShape, also: Option<&str>) -> ResponseBuilder {
    let (media, schema) = match answer {
        AnswerShape::Json(json) => ("application/json", (json.schema)()),
        AnswerShape::Raw(media) => (*media, Kind::Text.schema()),
        AnswerShape::Endless(event) => ("text/event-stream", RefOr::T(shape::object(event))),
    };
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut done = ResponseBuilder::new().description("Done").content(media, content);
    if let Some(media) = also {
        let text = ContentBuilder::new().schema(Some(Kind::Text.schema())).build();
        done = done.content(media, text);
    }
    done
}

/// The failures that every caller must reckon with.
fn failures(route: &Route, access: Access) -> Vec<(u16, &'static str)> {
    let mut failures = vec![
        (400, "The request cannot be used, or not now; the message names the field"),
        (404, "There is no such thing in the caller's workspace"),
        (
            429,
            "Too often, or too many at the same time: the header Retry-After says when to come back",
        ),
        (500, "An error on the server"),
        (503, "The server is busy or stopping"),
    ];
    if access != Access::Open {
        failures.push((401, "No valid token or key"));
        failures.push((403, "The caller's role or the key's scope does not allow it"));
    }
    if !matches!(route.body, Body::Nothing) {
        failures.push((408, "The body arrived too slowly"));
        failures.push((413, "The body is too large"));
    }
    failures.extend(route.failures);
    failures
}

fn failure(errors: &ErrorShape, why: &str) -> ResponseBuilder {
    let schema = Ref::from_schema_name(errors.name);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(why).content(errors.media, content)
}

fn body(body: &Body) -> Option<RequestBody> {
    let mut example = None;
    let (media, schema, about) = match body {
        Body::Nothing => return None,
        Body::Json(fields) => {
            example = shape::example(fields);
            ("application/json", shape::object(fields), "")
        }
        Body::Text(about) => {
            let text = ObjectBuilder::new().schema_type(Type::String);
            ("application/json", Schema::Object(text.build()), *about)
        }
        Body::Bytes(about) => {
            let text = ObjectBuilder::new().schema_type(Type::String);
            ("application/octet-stream", Schema::Object(text.build()), *about)
        }
    };
    let content = ContentBuilder::new().schema(Some(schema)).example(example).build();
    let about = Some(about).filter(|about| !about.is_empty());
    Some(RequestBodyBuilder::new().description(about).content(media, content).build())
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        Method::HEAD => HttpMethod::Head,
        _ => HttpMethod::Get,
    }
}
