//! Files behind a customer's URL: what the server there says of them, and their bytes.

use std::ops::Range;

use common::objects::Object;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED, LOCATION, RANGE,
};
use reqwest::{Response, StatusCode};
use url::Url;

use super::address::{self, Guard, Refused};
use super::{ByteStream, Error, download};

const REDIRECTS_MAX: usize = 5;

/// A file behind a URL.
#[derive(Clone)]
pub struct WebFile {
    client: reqwest::Client,
    guard: Guard,
    url: Url,
    /// User name and password, which are sent to the URL's own origin only.
    basic: Option<(String, String)>,
}

/// What the server said when it was asked for the first byte.
pub enum Probe {
    /// It gives ranges of a file of this size, and may tell its version.
    Ranges { size: u64, version: Option<String> },
    /// It gives the file as a whole only; this is the file, and its size if it was told.
    Whole { size: Option<u64>, bytes: ByteStream },
}

impl WebFile {
    /// The client must follow no redirects: this does, so that each hop is checked.
    ///
    /// # Errors
    /// `Customer` where the URL cannot be used.
    pub fn new(
        client: reqwest::Client,
        guard: Guard,
        url: &str,
        basic: Option<(String, String)>,
    ) -> Result<Self, Error> {
        let url = parse(url, guard)?;
        Ok(Self { client, guard, url, basic })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Asks for the first byte.
    pub async fn probe(&self) -> Result<Probe, Error> {
        let answer = self.request(&(0..1)).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let (start, size) = content_range(answer.headers()).ok_or_else(|| self.odd())?;
                let version = version(answer.headers());
                if start == Some(0) { Ok(Probe::Ranges { size, version }) } else { Err(self.odd()) }
            }
            // An empty file has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE => match content_range(answer.headers()) {
                Some((None, 0)) => Ok(Probe::Ranges { size: 0, version: None }),
                _ => Err(self.odd()),
            },
            StatusCode::OK => {
                let size = length(answer.headers());
                let bytes = answer.bytes_stream().map_err(broken).boxed();
                let bytes = match size {
                    Some(size) => download::exactly(size, bytes),
                    None => bytes,
                };
                Ok(Probe::Whole { size, bytes })
            }
            status => Err(self.refused(status)),
        }
    }

    /// The bytes of a range, which must not be empty, of the file as it was when it was probed.
    pub async fn read(&self, range: Range<u64>, probed: &Object) -> Result<ByteStream, Error> {
        let answer = self.request(&range).await?;
        let changed = || {
            Error::Customer(format!(
                "url: the file at {} has changed since the run started; run the job again",
                self.shown()
            ))
        };
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let (start, total) = content_range(answer.headers()).ok_or_else(|| self.odd())?;
                let now = version(answer.headers());
                let other = now.is_some() && probed.version.is_some() && now != probed.version;
                if total != probed.size || other {
                    return Err(changed());
                }
                if start != Some(range.start) {
                    return Err(self.odd());
                }
                let bytes = answer.bytes_stream().map_err(broken).boxed();
                Ok(download::exactly(range.end - range.start, bytes))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(changed()),
            StatusCode::OK => Err(Error::Customer(format!(
                "url: the server of {} gave ranges of the file before and no longer does; run \
                 the job again, or upload the file",
                self.shown()
            ))),
            status => Err(self.refused(status)),
        }
    }

    /// Asks for a range, and follows redirects.
    async fn request(&self, range: &Range<u64>) -> Result<Response, Error> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.request_once(&url, range).await?;
            if !is_redirect(answer.status()) {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = location.and_then(|text| url.join(text).ok()).ok_or_else(|| self.odd())?;
        }
        Err(self.unreachable(&Refused::Redirects))
    }

    async fn request_once(&self, url: &Url, range: &Range<u64>) -> Result<Response, Error> {
        // The client's resolver sees names only: the port, and a host written as a number, are
        // checked here.
        self.guard.check(url).map_err(|refused| self.unreachable(&refused))?;
        let mut request = self
            .client
            .get(url.clone())
            .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            // Ranges of a packed file would be of no use.
            .header(ACCEPT_ENCODING, "identity");
        if let Some((user, password)) = &self.basic
            && url.origin() == self.url.origin()
        {
            request = request.basic_auth(user, Some(password));
        }
        request.send().await.map_err(|error| match address::refusal(&error) {
            Some(refused) => self.unreachable(refused),
            None => broken(error),
        })
    }

    fn unreachable(&self, refused: &Refused) -> Error {
        Error::Customer(format!("url: {}: {refused}", self.shown()))
    }

    /// An answer that is neither the file nor a range of it.
    fn refused(&self, status: StatusCode) -> Error {
        let shown = self.shown();
        match status.as_u16() {
            401 | 403 => Error::Customer(format!(
                "url: {shown} answers {status}: check its user name and password, or that the \
                 link has not expired"
            )),
            404 | 410 => Error::Customer(format!("url: there is nothing at {shown} ({status})")),
            // It is the server's word that it is busy or broken: another try may help.
            408 | 425 | 429 | 500.. => {
                Error::Io(std::io::Error::other(format!("{shown} answers {status}")))
            }
            _ => Error::Customer(format!("url: {shown} answers {status} instead of the file")),
        }
    }

    fn odd(&self) -> Error {
        Error::Customer(format!(
            "url: the server of {} answers requests for a part of the file wrongly; upload the \
             file instead",
            self.shown()
        ))
    }

    /// The URL without what may be secret in it.
    fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        // They fail only for URLs that can have neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn parse(text: &str, guard: Guard) -> Result<Url, Error> {
    let url: Url = text.parse().map_err(|_| {
        Error::Customer("url: this is not a URL such as https://host/file".to_owned())
    })?;
    guard.check(&url).map_err(|refused| Error::Customer(format!("url: {refused}")))?;
    Ok(url)
}

/// The start of the range, where there is one, and the size of the whole file:
/// `bytes 0-0/123` or `bytes */0`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, u64)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let start = match range {
        "*" => None,
        range => Some(range.split_once('-')?.0.trim().parse().ok()?),
    };
    Some((start, size.trim().parse().ok()?))
}

/// What the server calls these very bytes: their ETag, else when they last changed.
fn version(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(ETAG).or_else(|| headers.get(LAST_MODIFIED))?;
    value.to_str().ok().map(ToOwned::to_owned)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A connection that failed. The URL stays out of it: it may carry a signature.
fn broken(error: reqwest::Error) -> Error {
    Error::Io(std::io::Error::other(error.without_url()))
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
