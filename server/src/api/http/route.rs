//! The table of routes. One entry says where it is, what may be asked there, and who answers: the
//! router and the OpenAPI documents are both made from it, so that neither knows more.

use std::borrow::Cow;
use std::pin::Pin;

use common::access::Scope;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};
use warp::http::Method;

use super::call::{Call, Segment};
use super::reply;
use super::shape::Field;
use crate::api::Answer;
use crate::error::Result;

type Answering = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

pub type Fields = Cow<'static, [Field]>;

pub struct Route {
    pub method: Method,
    /// Below its API's prefix, as `/jobs/{jobId}/run`.
    pub path: Cow<'static, str>,
    /// As `Customer_RunJob`; unique in its document.
    pub operation: Cow<'static, str>,
    pub summary: &'static str,
    /// What the API asks for where the route says nothing.
    pub access: Option<Access>,
    pub query: Fields,
    /// Passes over what else the query holds.
    pub any_query: bool,
    /// Takes an `Idempotency-Key`.
    pub creates: bool,
    pub body: Body,
    pub answer: AnswerShape,
    /// A media type that the answer also has, for who accepts it.
    pub also: Option<&'static str>,
    /// Statuses beside those that every route has, and why.
    pub failures: &'static [(u16, &'static str)],
    /// The status of an answer that is no failure.
    pub success: u16,
    /// Kept for old clients only.
    pub deprecated: bool,
    handler: Box<dyn Fn(Call) -> Answering + Send + Sync>,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Every member, whatever their role and the scopes of their key.
    AnyRole,
    /// Who may do this.
    Scope(Scope),
}

/// What a request carries.
pub enum Body {
    Nothing,
    /// An object of these fields.
    Json(Fields),
    /// A bare JSON string.
    Text(&'static str),
    /// Bytes, of any type.
    Bytes(&'static str),
}

/// What a successful answer carries.
pub enum AnswerShape {
    Json(JsonShape),
    /// Something else than one JSON document: its media type.
    Raw(&'static str),
    /// Events of these fields, for as long as the caller listens.
    Endless(&'static [Field]),
}

/// The schema of an answer, and those it refers to.
pub struct JsonShape {
    pub schema: fn() -> RefOr<Schema>,
    pub parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

/// A function that answers: of the request, and of the path's segments before it.
pub trait Handler<Arguments>: Send + Sync + 'static {
    type Out;

    fn run(&self, call: Call) -> impl Future<Output = Result<Self::Out>> + Send + 'static;
}

impl<F, R, T> Handler<(Call,)> for F
where
    F: Fn(Call) -> R + Send + Sync + 'static,
    R: Future<Output = Result<T>> + Send + 'static,
{
    type Out = T;

    fn run(&self, call: Call) -> impl Future<Output = Result<T>> + Send + 'static {
        self(call)
    }
}

impl<F, R, T> Handler<(Segment, Call)> for F
where
    F: Fn(Segment, Call) -> R + Send + Sync + 'static,
    R: Future<Output = Result<T>> + Send + 'static,
{
    type Out = T;

    fn run(&self, mut call: Call) -> impl Future<Output = Result<T>> + Send + 'static {
        self(call.segment(), call)
    }
}

impl<F, R, T> Handler<(Segment, Segment, Call)> for F
where
    F: Fn(Segment, Segment, Call) -> R + Send + Sync + 'static,
    R: Future<Output = Result<T>> + Send + 'static,
{
    type Out = T;

    fn run(&self, mut call: Call) -> impl Future<Output = Result<T>> + Send + 'static {
        self(call.segment(), call.segment(), call)
    }
}

/// A route whose answer is one JSON document.
fn json<A, H>(
    method: Method,
    operation: impl Into<Cow<'static, str>>,
    path: impl Into<Cow<'static, str>>,
    handler: H,
) -> Route
where
    H: Handler<A>,
    H::Out: Serialize + ToSchema + 'static,
{
    let shape = JsonShape { schema: H::Out::schema, parts: H::Out::schemas };
    let answer = AnswerShape::Json(shape);
    Route::new(method, operation.into(), path.into(), answer, move |call| {
        let answering = handler.run(call);
        Box::pin(async move { reply::json(&answering.await?) })
    })
}

macro_rules! methods {
    ($($name:ident $method:ident),*) => {$(
        pub fn $name<A, H>(
            operation: impl Into<Cow<'static, str>>,
            path: impl Into<Cow<'static, str>>,
            handler: H,
        ) -> Route
        where
            H: Handler<A>,
            H::Out: Serialize + ToSchema + 'static,
        {
            json(Method::$method, operation, path, handler)
        }
    )*};
}

methods!(get GET, post POST, put PUT, patch PATCH, delete DELETE);

/// A route that answers with bytes of this media type.
pub fn raw<A, H>(
    method: Method,
    operation: impl Into<Cow<'static, str>>,
    path: impl Into<Cow<'static, str>>,
    media: &'static str,
    handler: H,
) -> Route
where
    H: Handler<A, Out = Answer>,
{
    let answer = AnswerShape::Raw(media);
    Route::new(method, operation.into(), path.into(), answer, move |call| {
        Box::pin(handler.run(call))
    })
}

impl Route {
    fn new(
        method: Method,
        operation: Cow<'static, str>,
        path: Cow<'static, str>,
        answer: AnswerShape,
        handler: impl Fn(Call) -> Answering + Send + Sync + 'static,
    ) -> Self {
        Self {
            method,
            path,
            operation,
            summary: "",
            access: None,
            query: Cow::Borrowed(&[]),
            any_query: false,
            creates: false,
            body: Body::Nothing,
            answer,
            also: None,
            failures: &[],
            success: 200,
            deprecated: false,
            handler: Box::new(handler),
        }
    }

    /// What it does, in one line.
    pub fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Needs no token.
    pub fn open(self) -> Self {
        Self { access: Some(Access::Open), ..self }
    }

    /// Needs a valid token or key and nothing more.
    pub fn any_role(self) -> Self {
        Self { access: Some(Access::AnyRole), ..self }
    }

    /// Needs this scope instead of what its API asks for.
    pub fn needs(self, scope: Scope) -> Self {
        Self { access: Some(Access::Scope(scope)), ..self }
    }

    pub fn query(self, fields: impl Into<Fields>) -> Self {
        Self { query: fields.into(), ..self }
    }

    /// Takes any query: it is read elsewhere, or by pages of others.
    pub fn any_query(self) -> Self {
        Self { any_query: true, ..self }
    }

    /// Gives this document to programs, beside what it answers to others.
    pub fn gives<T: ToSchema + 'static>(self) -> Self {
        let shape = JsonShape { schema: T::schema, parts: T::schemas };
        Self { answer: AnswerShape::Json(shape), ..self }
    }

    /// Gives its answer as this media type, too, to who accepts it.
    pub fn also(self, media: &'static str) -> Self {
        Self { also: Some(media), ..self }
    }

    /// Answers with events of these fields, for as long as the caller listens.
    pub fn endless(self, event: &'static [Field]) -> Self {
        Self { answer: AnswerShape::Endless(event), ..self }
    }

    /// Makes something, and one thing only where an `Idempotency-Key` names the request.
    pub fn creates(self) -> Self {
        Self { creates: true, ..self }
    }

    /// Takes a JSON object of these fields.
    pub fn body(self, fields: impl Into<Fields>) -> Self {
        Self { body: Body::Json(fields.into()), ..self }
    }

    pub fn takes(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// Has failures beside those that every route has.
    pub fn fails(self, failures: &'static [(u16, &'static str)]) -> Self {
        Self { failures, ..self }
    }

    /// Success has this status instead of 200.
    pub fn succeeds_with(self, success: u16) -> Self {
        Self { success, ..self }
    }

    pub fn deprecated(self) -> Self {
        Self { deprecated: true, ..self }
    }

    pub fn answer(&self, call: Call) -> Answering {
        (self.handler)(call)
    }
}
