//! Files behind a customer's URL: what the server there says of them, and their bytes.

use std::ops::Range;

use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::address::{self, Guard};
use super::{ByteStream, Error, download};

/// A file behind a URL.
#[derive(Clone)]
pub struct WebFile {
    client: reqwest::Client,
    guard: Guard,
    url: Url,
    /// User name and password.
    basic: Option<(String, String)>,
}

/// What the server said when it was asked for the first byte.
pub enum Probe {
    /// It gives ranges of a file of this size.
    Ranges { size: u64 },
    /// It gives the file as a whole only; this is the file, and its size if it was told.
    Whole { size: Option<u64>, bytes: ByteStream },
}

impl WebFile {
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
                if start == Some(0) { Ok(Probe::Ranges { size }) } else { Err(self.odd()) }
            }
            // An empty file has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE => match content_range(answer.headers()) {
                Some((None, 0)) => Ok(Probe::Ranges { size: 0 }),
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

    /// The bytes of a range, which must not be empty, of a file that had `size` bytes.
    pub async fn read(&self, range: Range<u64>, size: u64) -> Result<ByteStream, Error> {
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
                if total != size {
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

    async fn request(&self, range: &Range<u64>) -> Result<Response, Error> {
        // The client's resolver sees names only: a host written as a number is checked here.
        self.guard
            .check(&self.url)
            .map_err(|refused| Error::Customer(format!("url: {refused}")))?;
        let mut request = self
            .client
            .get(self.url.clone())
            .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            // Ranges of a packed file would be of no use.
            .header(ACCEPT_ENCODING, "identity");
        if let Some((user, password)) = &self.basic {
            request = request.basic_auth(user, Some(password));
        }
        request.send().await.map_err(|error| match address::refusal(&error) {
            Some(refused) => Error::Customer(format!("url: {}: {refused}", self.shown())),
            None => broken(error),
        })
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

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A connection that failed. The URL stays out of it: it may carry a signature.
fn broken(error: reqwest::Error) -> Error {
    Error::Io(std::io::Error::other(error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{WebServer, answer, customer, text};

    fn file(url: &str, guard: Guard) -> Result<WebFile, Error> {
        WebFile::new(guard.web_client().unwrap(), guard, url, None)
    }

    fn open(url: &str) -> WebFile {
        file(url, Guard::new(true)).unwrap()
    }

    #[tokio::test]
    async fn a_server_with_ranges_is_read_by_ranges() {
        let server = WebServer::with_ranges(b"hello".to_vec()).await;
        let file = open(&server.url);

        assert!(matches!(file.probe().await, Ok(Probe::Ranges { size: 5 })));
        assert_eq!(text(file.read(1..4, 5).await.unwrap()).await.unwrap(), b"ell");
        assert!(customer(file.read(0..2, 6).await).contains("has changed"));
        assert!(customer(file.read(7..9, 9).await).contains("has changed"));
    }

    #[tokio::test]
    async fn an_empty_file_has_no_bytes() {
        let server = WebServer::with_ranges(Vec::new()).await;

        assert!(matches!(open(&server.url).probe().await, Ok(Probe::Ranges { size: 0 })));
    }

    #[tokio::test]
    async fn a_server_that_stops_giving_ranges_is_noticed() {
        let server = WebServer::start(|_| answer("200 OK", &[], b"hello")).await;

        assert!(customer(open(&server.url).read(0..2, 5).await).contains("no longer"));
    }

    #[tokio::test]
    async fn odd_answers_are_not_taken_for_bytes() {
        for header in ["bytes 1-1/5", "bytes */5", "bytes 0-0/*", "lines 0-0/5", "x", "bytes -/"] {
            let header = ("content-range", header.to_owned());
            let server = WebServer::start(move |_| {
                answer("206 Partial Content", std::slice::from_ref(&header), b"h")
            })
            .await;

            assert!(customer(open(&server.url).probe().await).contains("wrongly"));
            assert!(file_read_fails(&server).await);
        }
    }

    async fn file_read_fails(server: &WebServer) -> bool {
        matches!(open(&server.url).read(0..1, 5).await, Err(Error::Customer(_)))
    }

    #[tokio::test]
    async fn short_and_long_answers_fail() {
        for body in [&b"he"[..], b"hello world"] {
            let server = WebServer::start(move |_| {
                let header = ("content-range", "bytes 0-4/5".to_owned());
                answer("206 Partial Content", &[header], body)
            })
            .await;

            let read = open(&server.url).read(0..5, 5).await.unwrap();
            assert!(text(read).await.is_err());
        }
        // The connection ends before what was announced.
        let server = WebServer::start(|_| {
            b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-4/5\r\n\
              content-length: 5\r\n\r\nhel"
                .to_vec()
        })
        .await;
        let read = open(&server.url).read(0..5, 5).await.unwrap();
        assert!(matches!(text(read).await, Err(Error::Io(_))));
    }

    #[tokio::test]
    async fn huge_headers_and_noise_end_the_request() {
        let huge = answer("200 OK", &[("x", "y".repeat(8 << 20))], b"hello");
        let many = answer("200 OK", &vec![("x", "y".to_owned()); 10_000], b"hello");
        for bytes in [huge, many, b"\0\0\0\0\r\n\r\n".to_vec(), Vec::new()] {
            let server = WebServer::start(move |_| bytes.clone()).await;

            assert!(matches!(open(&server.url).probe().await, Err(Error::Io(_))));
        }
    }

    #[tokio::test]
    async fn refusals_say_who_must_act_and_keep_secrets() {
        for (status, is_customers, words) in [
            ("401 Unauthorized", true, "user name and password"),
            ("403 Forbidden", true, "user name and password"),
            ("404 Not Found", true, "there is nothing at"),
            ("418 I'm a teapot", true, "instead of the file"),
            ("429 Too Many Requests", false, "429"),
            ("503 Service Unavailable", false, "503"),
        ] {
            let server = WebServer::start(move |_| answer(status, &[], b"")).await;
            let url = server.url.replace("//", "//user:hidden@") + "/a?signature=hidden#hidden";

            let Err(error) = open(&url).probe().await else { panic!("{status}") };

            assert_eq!(matches!(error, Error::Customer(_)), is_customers, "{status}");
            let text = format!("{error:?}");
            assert!(text.contains(words), "{text}");
            assert!(!text.contains("hidden"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_password_is_sent_and_not_taken_to_another_host() {
        let other = WebServer::with_ranges(b"hello".to_vec()).await;
        let target = other.url.replace("127.0.0.1", "localhost");
        let server =
            WebServer::start(move |_| answer("302 Found", &[("location", target.clone())], b""))
                .await;
        let basic = Some(("ann".to_owned(), "secret".to_owned()));
        let guard = Guard::new(true);
        let client = guard.web_client().unwrap();
        let file = WebFile::new(client, guard, &server.url, basic).unwrap();

        assert!(matches!(file.probe().await, Ok(Probe::Ranges { size: 5 })));

        let first = server.seen.lock().unwrap().concat();
        assert!(first.contains("authorization: Basic YW5uOnNlY3JldA=="), "{first}");
        let second = other.seen.lock().unwrap().concat();
        assert!(!second.contains("authorization"), "{second}");
    }

    #[tokio::test]
    async fn private_addresses_are_refused_in_every_spelling() {
        let server = WebServer::with_ranges(b"hello".to_vec()).await;
        let port = server.url.rsplit(':').next().unwrap().to_owned();
        for host in ["127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let url = format!("http://{host}:{port}/x");
            assert!(customer(file(&url, Guard::new(false)).map(drop)).contains("private address"));
        }
        let named = file(&format!("http://localhost:{port}/x"), Guard::new(false)).unwrap();
        assert!(customer(named.probe().await.map(drop)).contains("private address"));
        assert!(server.seen.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn each_hop_of_a_redirect_is_checked() {
        let inside = WebServer::with_ranges(b"inside".to_vec()).await;
        for target in [
            inside.url.clone(),
            inside.url.replace("127.0.0.1", "localhost"),
            "http://169.254.169.254/latest/meta-data".to_owned(),
            "file:///etc/passwd".to_owned(),
        ] {
            // The first hop may be private: what is checked here is the second one, by a client
            // whose guard is strict, asked through a file whose guard is not.
            let server = WebServer::start(move |_| {
                answer("302 Found", &[("location", target.clone())], b"")
            })
            .await;
            let strict = Guard::new(false).web_client().unwrap();
            let file = WebFile::new(strict, Guard::new(true), &server.url, None).unwrap();

            assert!(matches!(file.probe().await, Err(Error::Customer(_))));
            assert_eq!(server.seen.lock().unwrap().len(), 1);
        }
        assert!(inside.seen.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_circle_of_redirects_ends() {
        let server =
            WebServer::start(|_| answer("302 Found", &[("location", "/again".into())], b"")).await;

        assert!(customer(open(&server.url).probe().await).contains("redirects more than"));
        assert_eq!(server.seen.lock().unwrap().len(), 6);
    }

    #[tokio::test]
    async fn what_is_not_a_web_address_is_refused() {
        for url in ["", "x", "/etc/passwd", "file:///etc/passwd", "ftp://h/x", "http://"] {
            assert!(customer(file(url, Guard::new(true)).map(drop)).starts_with("url: "), "{url}");
        }
    }
}
