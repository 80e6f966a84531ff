//! The HTTP client behind object_store, and what has to be put right between the two: object_store
//! normalises the keys that a store lists, and takes parts under one status only.

use futures::future::BoxFuture;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::list::{PaginatedListOptions, PaginatedListResult};
use object_store::{ClientOptions, ObjectMeta};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, RANGE};

use super::xml;

/// Makes object_store use a client of ours.
#[derive(Debug)]
pub struct Connector(pub reqwest::Client);

#[derive(Debug)]
struct Service(reqwest::Client);

/// Asks for a listing whose keys are numbers, beside the keys themselves.
#[derive(Debug, Clone)]
struct WantsKeys;

#[derive(Debug, Clone)]
struct Keys(Vec<String>);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.clone())))
    }
}

impl HttpService for Service {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let wants_keys = request.extensions().get::<WantsKeys>().is_some();
            let wants_part = request.headers().contains_key(RANGE);
            let mut response = self.0.call(request).await?;
            if response.status() != StatusCode::OK {
                return Ok(response);
            }
            // Some stores (rclone) give the part that was asked for as if it were the whole.
            // Which part it is, is checked behind this.
            if wants_part && response.headers().contains_key(CONTENT_RANGE) {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
            if wants_keys { number_keys(response).await } else { Ok(response) }
        })
    }
}

/// The options of a request for a page of a listing whose keys are wanted as they are.
pub fn with_keys(page_token: Option<String>) -> PaginatedListOptions {
    let mut options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
    options.extensions.insert(WantsKeys);
    options
}

/// The objects of a page that was asked for so, each with its very key; `None` where they do not
/// fit each other.
pub fn keyed(page: &mut PaginatedListResult) -> Option<Vec<(String, ObjectMeta)>> {
    let Keys(keys) = page.result.extensions.remove::<Keys>()?;
    let mut objects = Vec::with_capacity(page.result.objects.len());
    for meta in page.result.objects.drain(..) {
        let n: usize = meta.location.as_ref().parse().ok()?;
        let key = keys.get(n)?;
        (stand_in(n, key) == meta.location.as_ref()).then_some(())?;
        objects.push((key.clone(), meta));
    }
    Some(objects)
}

async fn number_keys(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (mut parts, body) = response.into_parts();
    let mut whole = Vec::new();
    let mut pieces = body.bytes_stream();
    while let Some(piece) = futures::TryStreamExt::try_next(&mut pieces).await? {
        whole.extend_from_slice(&piece);
        if whole.len() > LISTING_BYTES_MAX {
            let large = std::io::Error::other("a page of the listing is too large");
            return Err(HttpError::new(HttpErrorKind::Decode, large));
        }
    }
    let read = String::from_utf8(whole).map_err(|e| HttpError::new(HttpErrorKind::Decode, e))?;
    let mut keys = Vec::new();
    let numbered = xml::replace_keys(&read, |key| {
        let name = stand_in(keys.len(), &key);
        keys.push(key);
        name
    });
    parts.extensions.insert(Keys(keys));
    // What cannot be read stays as it is, and does not fit the keys.
    let body = HttpResponseBody::from(numbered.unwrap_or(read));
    Ok(HttpResponse::from_parts(parts, body))
}

/// The longest page that is read. Stores give a thousand keys, or five thousand of Azure.
const LISTING_BYTES_MAX: usize = 64 << 20;

/// What stands for a key. It is longer than the key, because object_store drops names that are
/// no longer than their prefix.
fn stand_in(n: usize, key: &str) -> String {
    format!("{n:0width$}", width = key.len() + 8)
}
