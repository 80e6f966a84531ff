//! Files behind a customer's URL: what the server there says of them, and their bytes.

mod answer;
mod gunzip;
mod version;

use std::ops::Range;

use common::data::object_list::Object;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{ACCEPT_ENCODING, LOCATION, RANGE, TRANSFER_ENCODING};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::clock;
use crate::data::bucket::download;
use crate::data::ssrf_guard;
use crate::data::ssrf_guard::{Guard, Refused};
use crate::data::{ByteStream, Error};
use answer::{Part, coding, is_part, is_redirect, length, part, says_nothing_of_ranges};
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
    /// It gives ranges of a file of this size. An empty file has no version.
    Ranges { size: u64, version: Option<String> },
    /// It gives the file as a whole only, or does not tell its version: this is the file.
    Whole(Whole),
}

/// All of a file, unpacked.
pub struct Whole {
    /// Its size, where that was told.
    pub size: Option<u64>,
    /// Whether an answer that breaks off can be told from one that is complete.
    pub end_is_told: bool,
    pub bytes: ByteStream,
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

    /// Asks for the first byte and for the last. Where the two answers do not fit each other, or
    /// say nothing by which a later version could be told, the server's ranges are of no use, and
    /// it is asked for the whole file.
    pub async fn probe(&self) -> Result<Probe, Error> {
        let first = self.request(Some(&(0..1))).await?;
        let size = match (is_part(&first), first.status()) {
            (true, _) => match part(first.headers()) {
                Some(Part { range: Some(Range { start: 0, end: 1 }), size: size @ 1.. }) => size,
                Some(_) | None => return self.whole().await,
            },
            // An empty file has no first byte.
            (false, StatusCode::RANGE_NOT_SATISFIABLE) => match part(first.headers()) {
                Some(Part { range: None, size: 0 }) => {
                    return Ok(Probe::Ranges { size: 0, version: None });
                }
                Some(_) | None => return self.whole().await,
            },
            (false, StatusCode::OK) => return self.body(first).map(Probe::Whole),
            // It may be the range that it does not like.
            (false, status) if !says_nothing_of_ranges(status) => return self.whole().await,
            (false, status) => return Err(self.refused(status)),
        };
        let version = Version::of(first.headers(), clock::now());
        if !version.is_firm(clock::now()) {
            return self.whole().await;
        }
        let range = size - 1..size;
        let last = self.request(Some(&range)).await?;
        let fits = is_part(&last)
            && part(last.headers()) == Some(Part { range: Some(range), size })
            && version.allows(&Version::of(last.headers(), clock::now()));
        if fits { Ok(Probe::Ranges { size, version: version.text() }) } else { self.whole().await }
    }

    /// Asks for the whole file, in the plainest way there is.
    async fn whole(&self) -> Result<Probe, Error> {
        let answer = self.request(None).await?;
        let has_all = match (is_part(&answer), answer.status()) {
            // Nobody has asked for a part; some say so of the whole all the same.
            (true, _) => part(answer.headers())
                .is_some_and(|part| part.range.is_some_and(|range| range == (0..part.size))),
            (false, StatusCode::OK) => true,
            (false, StatusCode::RANGE_NOT_SATISFIABLE) => false,
            (false, status) => return Err(self.refused(status)),
        };
        if has_all { self.body(answer).map(Probe::Whole) } else { Err(self.odd()) }
    }

    /// The file in an answer that has all of it.
    fn body(&self, answer: Response) -> Result<Whole, Error> {
        let size = length(answer.headers());
        let end_is_told = size.is_some() || answer.headers().contains_key(TRANSFER_ENCODING);
        let coding = coding(answer.headers());
        let bytes = self.bytes(answer, size);
        match coding {
            None => Ok(Whole { size, end_is_told, bytes }),
            Some(coding) if matches!(coding.as_str(), "gzip" | "x-gzip") => {
                let shown = self.shown();
                let damaged = move || {
                    Error::Customer(format!(
                        "url: the server of {shown} says that the file is packed with gzip, and \
                         it is not, or is damaged"
                    ))
                };
                let bytes = gunzip::gunzip(bytes, damaged);
                // The packed file says itself where it ends.
                Ok(Whole { size: None, end_is_told: true, bytes })
            }
            Some(coding) => Err(Error::Customer(format!(
                "url: the server of {} sends the file packed (Content-Encoding: {coding:?}), which \
                 it was asked not to do, and only gzip can be unpacked here; upload the file \
                 instead",
                self.shown()
            ))),
        }
    }

    /// The bytes of an answer, which must be this many where that is known. What fails in the middle
    /// of it is the fault of the server that sends it.
    fn bytes(&self, answer: Response, size: Option<u64>) -> ByteStream {
        let without_url = |error: reqwest::Error| std::io::Error::other(error.without_url());
        let bytes = answer.bytes_stream().map_err(without_url).map_err(Error::Io).boxed();
        let bytes = match size {
            Some(size) => download::exactly(size, bytes),
            None => bytes,
        };
        let shown = self.shown();
        bytes.map_err(move |error| error.map_broken(|error| broken(&shown, &error))).boxed()
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
        Ok(match (is_part(&answer), answer.status()) {
            (true, _) => {
                let now = Version::of(answer.headers(), clock::now());
                let then = probed.version.as_deref().map(Version::read).unwrap_or_default();
                match part(answer.headers()) {
                    Some(part) if part.size != probed.size => Err(OddRead::Changed),
                    Some(part) if part.range.as_ref() != Some(range) => Err(OddRead::Wrong),
                    None => Err(OddRead::Wrong),
                    Some(_) if !then.allows(&now) => Err(OddRead::Changed),
                    Some(_) => Ok(self.bytes(answer, Some(range.end - range.start))),
                }
            }
            (false, StatusCode::RANGE_NOT_SATISFIABLE) => Err(OddRead::Changed),
            (false, StatusCode::OK) => Err(OddRead::Whole),
            (false, status) => return Err(self.refused(status)),
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
        request.send().await.map_err(|error| match ssrf_guard::refusal(&error) {
            Some(refused) => self.unreachable(refused),
            None => broken(&self.shown(), &error.without_url()),
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

    /// Two answers have another length each, and none says where it should end.
    pub fn of_two_lengths(&self, first: u64, second: u64) -> Error {
        Error::Customer(format!(
            "url: the server of {} does not say how long the file is, and gave {first} bytes of it \
             once and {second} the next time: it breaks off, or is generated for each request; upload the \
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

/// A connection that failed. The URL stays out of it: it may carry a signature.
fn broken(shown: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    if let Some(why) = ssrf_guard::distrust(error) {
        return Error::Customer(format!("url: the server of {shown} cannot be trusted: {why}"));
    }
    let why = ssrf_guard::cause(error);
    Error::Elsewhere(format!("url: {shown} cannot be reached, or breaks off: {why}"))
}

#[cfg(test)]
mod tests;
