//! Files behind a customer's URL: what the server there says of them, and their bytes.

mod gunzip;
mod version;

use std::ops::Range;

use common::objects::Object;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, RANGE,
};
use reqwest::{Response, StatusCode};
use url::Url;

use super::address::{self, Guard, Refused};
use super::{ByteStream, Error, download};
use crate::clock;
use version::Version;

const REDIRECTS_MAX: usize = 5;
/// Times that a range is asked for where the answers are not of the file that was probed.
const READS_MAX: usize = 5;

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
    /// It gives the file as a whole only; this is the file, unpacked, and its size if it was told.
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

    /// Asks for the first byte and for the last. Where the two answers do not fit each other, the
    /// server's ranges are of no use, and it is asked for the whole file.
    pub async fn probe(&self) -> Result<Probe, Error> {
        let first = self.request(Some(&(0..1))).await?;
        let size = match first.status() {
            StatusCode::PARTIAL_CONTENT => match part(first.headers()) {
                Some(Part { range: Some(Range { start: 0, end: 1 }), size: size @ 1.. }) => size,
                Some(_) | None => return self.whole().await,
            },
            // An empty file has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE => match part(first.headers()) {
                Some(Part { range: None, size: 0 }) => {
                    return Ok(Probe::Ranges { size: 0, version: None });
                }
                Some(_) | None => return self.whole().await,
            },
            StatusCode::OK => return self.body(first),
            status => return Err(self.refused(status)),
        };
        let version = Version::of(first.headers(), clock::now());
        let range = size - 1..size;
        let last = self.request(Some(&range)).await?;
        let fits = last.status() == StatusCode::PARTIAL_CONTENT
            && part(last.headers()) == Some(Part { range: Some(range), size })
            && version.allows(&Version::of(last.headers(), clock::now()));
        if fits { Ok(Probe::Ranges { size, version: version.text() }) } else { self.whole().await }
    }

    /// Asks for the whole file, in the plainest way there is.
    async fn whole(&self) -> Result<Probe, Error> {
        let answer = self.request(None).await?;
        match answer.status() {
            StatusCode::OK => self.body(answer),
            // Nobody has asked for a part; some say so of the whole all the same.
            StatusCode::PARTIAL_CONTENT => match part(answer.headers()) {
                Some(Part { range: Some(range), size }) if range == (0..size) => self.body(answer),
                Some(_) | None => Err(self.odd()),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => Err(self.odd()),
            status => Err(self.refused(status)),
        }
    }

    /// The file in an answer that has all of it.
    fn body(&self, answer: Response) -> Result<Probe, Error> {
        let size = length(answer.headers());
        let coding = coding(answer.headers());
        let bytes = answer.bytes_stream().map_err(broken).boxed();
        let bytes = match size {
            Some(size) => download::exactly(size, bytes),
            None => bytes,
        };
        match coding {
            None => Ok(Probe::Whole { size, bytes }),
            Some(coding) if matches!(coding.as_str(), "gzip" | "x-gzip") => {
                let shown = self.shown();
                let damaged = move || {
                    Error::Customer(format!(
                        "url: the server of {shown} says that the file is packed with gzip, and \
                         it is not, or is damaged"
                    ))
                };
                Ok(Probe::Whole { size: None, bytes: gunzip::gunzip(bytes, damaged) })
            }
            Some(coding) => Err(Error::Customer(format!(
                "url: the server of {} sends the file packed (Content-Encoding: {coding:?}), which \
                 it was asked not to do, and only gzip can be unpacked here; upload the file \
                 instead",
                self.shown()
            ))),
        }
    }

    /// The bytes of a range, which must not be empty, of the file as it was when it was probed.
    ///
    /// A server that stands for several with different files or ways may give the right one when
    /// it is asked again.
    pub async fn read(&self, range: Range<u64>, probed: &Object) -> Result<ByteStream, Error> {
        let mut answer = self.read_once(&range, probed).await?;
        for _ in 1..READS_MAX {
            if answer.is_ok() {
                break;
            }
            answer = self.read_once(&range, probed).await?;
        }
        answer.map_err(|odd| match odd {
            OddRead::Changed => Error::Customer(format!(
                "url: the file at {} has changed since the run started; run the job again",
                self.shown()
            )),
            OddRead::Whole => Error::Customer(format!(
                "url: the server of {} gave ranges of the file before and no longer does; run \
                 the job again, or upload the file",
                self.shown()
            )),
            OddRead::Wrong => self.odd(),
        })
    }

    async fn read_once(
        &self,
        range: &Range<u64>,
        probed: &Object,
    ) -> Result<Result<ByteStream, OddRead>, Error> {
        let answer = self.request(Some(range)).await?;
        Ok(match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let now = Version::of(answer.headers(), clock::now());
                let then = probed.version.as_deref().map(Version::read).unwrap_or_default();
                match part(answer.headers()) {
                    Some(part) if part.size != probed.size => Err(OddRead::Changed),
                    Some(part) if part.range.as_ref() != Some(range) => Err(OddRead::Wrong),
                    None => Err(OddRead::Wrong),
                    Some(_) if !then.allows(&now) => Err(OddRead::Changed),
                    Some(_) => {
                        let bytes = answer.bytes_stream().map_err(broken).boxed();
                        Ok(download::exactly(range.end - range.start, bytes))
                    }
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(OddRead::Changed),
            StatusCode::OK => Err(OddRead::Whole),
            status => return Err(self.refused(status)),
        })
    }

    /// Asks for a range or for all, and follows redirects.
    async fn request(&self, range: Option<&Range<u64>>) -> Result<Response, Error> {
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

    async fn request_once(&self, url: &Url, range: Option<&Range<u64>>) -> Result<Response, Error> {
        // The client's resolver sees names only: the port, and a host written as a number, are
        // checked here.
        self.guard.check(url).map_err(|refused| self.unreachable(&refused))?;
        let mut request = self
            .client
            .get(url.clone())
            // Ranges of a packed file would be of no use.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
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
            408 | 425 | 429 | 500.. => Error::Elsewhere(format!("url: {shown} answers {status}")),
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

/// Why an answer to a request for a range is not that range.
enum OddRead {
    /// It is of another file.
    Changed,
    /// It is no range.
    Whole,
    /// It says that it is another range, or nothing that can be read.
    Wrong,
}

/// Which part of a file an answer has: `bytes 0-0/123`, or none as in `bytes */0`.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    range: Option<Range<u64>>,
    size: u64,
}

/// The part that an answer has; a part of the packed file is no part of the file.
fn part(headers: &HeaderMap) -> Option<Part> {
    if coding(headers).is_some() {
        return None;
    }
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let size = size.trim().parse().ok()?;
    let range = match range.trim() {
        "*" => None,
        range => {
            let (first, last) = range.split_once('-')?;
            let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            Some(first..last.checked_add(1)?)
        }
    };
    Some(Part { range, size })
}

/// How the bytes of an answer are packed, if they are.
fn coding(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(CONTENT_ENCODING).iter();
    let all = all.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let packed: Vec<_> = all
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !matches!(coding.as_str(), "" | "identity"))
        .collect();
    (!packed.is_empty()).then(|| packed.join(", "))
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
