//! Requests to the server, and what its refusals mean.

pub(super) mod credentials;
pub(super) mod failure;
pub(super) mod hint;
pub(super) mod output;
pub(super) mod session;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::credentials::Login;
use crate::client::failure::Failure;

/// An answer that is not a download.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A server, spoken to with an API key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    api_key: String,
}

/// A JSON answer as the server wrote it: amounts of money keep their digits.
#[derive(Debug, Clone)]
pub struct Answer {
    pub text: String,
}

impl Answer {
    /// The part of the answer that a command needs.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| Failure::Refused {
            message: format!("the server's answer cannot be understood: {error}"),
        })
    }
}

impl Client {
    pub fn new(login: Login) -> Result<Self, Failure> {
        let base = Url::parse(&login.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Failure::Usage(format!(
                    "{:?} is not a server's address; it looks like http://127.0.0.1:8700",
                    login.url
                ))
            })?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| Failure::local("cannot set up HTTP", chain(&error)))?;
        Ok(Self { http, base, api_key: login.api_key })
    }

    /// The server's own address.
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The address of a resource: a fixed path, then names that may hold any character.
    pub fn url(&self, path: &str, names: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.set_query(None);
        url.path_segments_mut()
            .expect("an http address has a path")
            .pop_if_empty()
            .extend(path.split('/').filter(|part| !part.is_empty()))
            .extend(names);
        url
    }

    /// A link of the server's; one without a host is the server's own.
    pub fn link(&self, link: &str) -> Result<Url, Failure> {
        let url = self.base.join(link).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.ok_or_else(|| Failure::Refused {
            message: format!("the server gave a link that is not one: {link:?}"),
        })
    }

    pub async fn get(&self, url: Url) -> Result<Answer, Failure> {
        self.ask(self.http.get(url)).await
    }

    pub async fn delete(&self, url: Url) -> Result<Answer, Failure> {
        self.ask(self.http.delete(url)).await
    }

    /// Sends a JSON body.
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        body: &(impl Serialize + Sync),
    ) -> Result<Answer, Failure> {
        self.ask(self.http.request(method, url).json(body)).await
    }

    pub async fn post(&self, url: Url, body: &(impl Serialize + Sync)) -> Result<Answer, Failure> {
        self.send(Method::POST, url, body).await
    }

    /// Sends a stream of known length to the API; takes as long as it takes.
    pub async fn post_stream(
        &self,
        url: Url,
        size: u64,
        bytes: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<Answer, Failure> {
        let request = self.http.post(url).header(AUTHORIZATION, &self.api_key);
        answer(exchange(stream_body(request, size, bytes)).await?).await
    }

    /// Puts a stream of known length at a signed link, which carries its own right.
    pub async fn put_at_link(
        &self,
        link: Url,
        size: u64,
        bytes: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), Failure> {
        let request = self.http.put(link).header("content-disposition", "attachment");
        refuse_errors(exchange(stream_body(request, size, bytes)).await?).await?;
        Ok(())
    }

    /// Opens a resource in this form for reading; takes as long as it takes.
    pub async fn open(&self, url: Url, media: &str) -> Result<Response, Failure> {
        let request = self.http.get(url).header(AUTHORIZATION, &self.api_key);
        refuse_errors(exchange(request.header(ACCEPT, media)).await?).await
    }

    /// Opens a signed link for reading.
    pub async fn open_link(&self, link: Url) -> Result<Response, Failure> {
        refuse_errors(exchange(self.http.get(link)).await?).await
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = request.header(AUTHORIZATION, &self.api_key).timeout(ANSWER_TIMEOUT);
        answer(exchange(request).await?).await
    }
}

fn stream_body(
    request: RequestBuilder,
    size: u64,
    bytes: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> RequestBuilder {
    request
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, size)
        .body(reqwest::Body::wrap_stream(bytes))
}

async fn exchange(request: RequestBuilder) -> Result<Response, Failure> {
    request.send().await.map_err(|error| unreachable(&error))
}

async fn answer(response: Response) -> Result<Answer, Failure> {
    let response = refuse_errors(response).await?;
    let bytes = body(response, ANSWER_BYTES_MAX).await?;
    let text = String::from_utf8(bytes.into()).map_err(|_| Failure::Refused {
        message: "the server's answer is not text; is this a Fanfold server?".to_owned(),
    })?;
    Ok(Answer { text })
}

/// Passes a success on; turns a refusal into the failure it means.
async fn refuse_errors(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = body(response, 64 << 10).await.unwrap_or_default();
    Err(refusal(status, &String::from_utf8_lossy(&text)))
}

fn refusal(status: StatusCode, body: &str) -> Failure {
    /// An error of an API, or a problem (RFC 9457) of what belongs to none.
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "detail")]
        message: String,
    }
    let message = match serde_json::from_str::<Body>(body) {
        Ok(body) => body.message,
        Err(_) if body.trim().is_empty() => format!("the server answered {status}"),
        Err(_) => {
            format!("the server answered {status}: {}", body.chars().take(300).collect::<String>())
        }
    };
    match status {
        StatusCode::UNAUTHORIZED => Failure::Unauthorised(format!(
            "{message}; check the API key (--credentials, FANFOLD_API_KEY)"
        )),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Failure::Unreachable { url: "the server".to_owned(), why: message }
        }
        _ => Failure::Refused { message },
    }
}

async fn body(mut response: Response, bytes_max: usize) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + bytes.len() > bytes_max {
            return Err(Failure::Refused { message: "the server's answer is too long".to_owned() });
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body.freeze())
}

/// A request that got no answer. Links are signed, so their query is not shown.
pub fn unreachable(error: &reqwest::Error) -> Failure {
    let url = error.url().map_or_else(
        || "the server".to_owned(),
        |url| {
            let mut url = url.clone();
            url.set_query(None);
            url.to_string()
        },
    );
    Failure::Unreachable { url, why: chain(error) }
}

/// The innermost reason, which is the one that says something.
fn chain(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(Login { url: url.to_owned(), api_key: "ff_k".to_owned() })
    }

    #[test]
    fn path_segment_cannot_leave_its_place() {
        let client = client("http://127.0.0.1:1/base/").unwrap();

        let url = client.url("/v1/dev/apps", &["a/../b@1.0?x", "activate"]);

        assert_eq!(url.as_str(), "http://127.0.0.1:1/base/v1/dev/apps/a%2F..%2Fb@1.0%3Fx/activate");
    }

    #[test]
    fn invalid_address_is_a_usage_error() {
        for url in ["127.0.0.1:8700", "file:///etc/passwd", "", "mailto:a@b"] {
            assert!(matches!(client(url), Err(Failure::Usage(_))), "{url}");
        }
    }

    #[test]
    fn server_refusal_keeps_its_message() {
        for body in [
            r#"{"code":9,"message":"params.app.case: unknown","details":[]}"#,
            r#"{"status":400,"title":"Bad Request","detail":"params.app.case: unknown","code":"X"}"#,
        ] {
            assert!(matches!(
                refusal(StatusCode::BAD_REQUEST, body),
                Failure::Refused { message } if message == "params.app.case: unknown"
            ));
        }
        assert!(matches!(refusal(StatusCode::UNAUTHORIZED, "{}"), Failure::Unauthorised(_)));
        assert!(matches!(refusal(StatusCode::BAD_GATEWAY, ""), Failure::Unreachable { .. }));
    }

    #[tokio::test]
    async fn closed_port_is_unreachable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let client = client(&format!("http://{address}")).unwrap();

        let failure = client.get(client.url("/v1/wallet/balance", &[])).await.unwrap_err();

        assert!(matches!(failure, Failure::Unreachable { .. }), "{failure:?}");
    }
}
