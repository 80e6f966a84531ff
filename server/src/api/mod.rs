//! The doors: the HTTP API of customers and developers, translated into our own words.
//!
//! One file per resource: its routes, its handlers, and the shapes that go in and out. Who calls
//! is asked in the handler and not in a filter, so that a wrong token is a 401 of that route and
//! never falls through to another.

mod auth;
mod call;
mod error;
mod events;
mod images;
mod info;
mod job_out;
mod jobs;
mod nodes;
mod packages;
mod page;
mod plan;
mod reply;
mod run;
mod secrets;
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

type Answer = warp::reply::Response;
type Route = BoxedFilter<(Answer,)>;

/// How long requests may go on after the stop.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Archives that are read into memory at the same time.
const PUSHES_MAX: usize = 2;
/// Event streams at the same time.
const STREAMS_MAX: usize = 256;

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
}

/// The app, and what all requests share beside it.
struct Doors {
    app: App,
    stop: CancellationToken,
    pushes: Semaphore,
    streams: Arc<Semaphore>,
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
    });
    let customer = warp::path("customer").or(warp::path("computing")).unify().and(any_of([
        // Before the jobs: `jobs/templates` is no job.
        view::routes(&doors),
        jobs::routes(&doors),
        run::routes(&doors),
        events::routes(&doors),
        info::routes(),
    ]));
    let auth = warp::path("auth").and(any_of([
        auth::routes(&doors),
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
    warp::options()
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
