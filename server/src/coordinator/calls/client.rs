//! Makes one request and reads its answer, within its limits.

use std::error::Error as StdError;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use common::call::{Answer, CallTask, Report};
use common::error_chain::chain;
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::Instant;

use super::Attempt;
use super::request::{self, Unsendable};
use crate::clock;
use crate::data::ssrf_guard::{self, Guard};
use crate::expressions::Evaluator;
use crate::secrets::Secrets;

/// The headers of an answer that are kept.
const HEADERS_MAX: usize = 64;
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Errors of this machine, whatever the receiver does: too many open files or ports, no memory.
const OWN_FAULTS: [i32; 5] = [12, 23, 24, 99, 105];

/// Makes requests behind the guard, without cookies, proxies and redirects.
pub(super) struct Client {
    guard: Guard,
    secrets: Secrets,
    evaluator: Evaluator,
    // It reads the machine's certificates, which a server that makes no calls may lack.
    http: OnceLock<reqwest::Client>,
}

impl Client {
    pub fn new(guard: Guard, secrets: Secrets, evaluator: Evaluator) -> Self {
        Self { guard: guard.for_calls(), secrets, evaluator, http: OnceLock::new() }
    }

    /// Makes an attempt.
    pub async fn make(&self, attempt: &Attempt) -> Report {
        let Some(work) = attempt.work() else {
            return Report::Lost("the plan has no such call".to_owned());
        };
        let http = match self.http() {
            Ok(http) => http,
            Err(error) => return lost(&error),
        };
        let began = Instant::now();
        let request = match request::whole(&self.evaluator, &self.secrets, attempt, work).await {
            Ok(call) => request::build(http, &self.guard, &self.secrets, attempt, &call).await,
            Err(unsendable) => Err(unsendable),
        };
        let request = match request {
            Ok(request) => request,
            Err(Unsendable::Refused(why)) => return Report::Ended(Answer::none(why, 0)),
            Err(Unsendable::Invalid(why)) => return Report::Invalid(why),
            Err(Unsendable::Server(error)) => return lost(&error),
        };
        let limit = Duration::from_secs(work.call.timeout_secs.into());
        let exchange = exchange(http, request, work);
        let ended = tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            let secs = work.call.timeout_secs;
            Ok(Answer::none(format!("no complete answer came within {secs} s"), 0))
        });
        match ended {
            Ok(answer) => {
                let took_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
                Report::Ended(Answer { took_ms, ..answer })
            }
            Err(error) => lost(&error),
        }
    }

    fn http(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = self.guard.caller()?;
        Ok(self.http.get_or_init(|| http))
    }
}

fn lost(error: &(dyn StdError + 'static)) -> Report {
    tracing::error!(error = %chain(error), "the server cannot make a call");
    Report::Lost("the server could not make this request".to_owned())
}

/// Sends a request and reads the answer.
///
/// # Errors
/// The server's own.
async fn exchange(
    http: &reqwest::Client,
    request: reqwest::Request,
    work: &CallTask,
) -> Result<Answer, reqwest::Error> {
    let response = match http.execute(request).await {
        Ok(response) => response,
        Err(error) if is_own_fault(&error) => return Err(error),
        Err(error) => return Ok(Answer::none(told(&error), 0)),
    };
    let answer = Answer {
        status: Some(response.status().as_u16()),
        headers: kept_headers(response.headers()),
        retry_after_secs: retry_after(response.headers()),
        ..Answer::default()
    };
    Ok(read_body(response, answer, work.call.keep_bytes as usize).await)
}

/// Reads as much of a body as is kept, and no more.
async fn read_body(mut response: Response, mut answer: Answer, keep: usize) -> Answer {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = keep - answer.body.len();
                answer.body.extend_from_slice(&chunk[..room.min(chunk.len())]);
                if chunk.len() > room {
                    answer.truncated = true;
                    return answer;
                }
            }
            Ok(None) => return answer,
            Err(error) => {
                answer.error = Some(format!("the answer broke off: {}", told(&error)));
                return answer;
            }
        }
    }
}

/// Why there is no answer, for the customer.
fn told(error: &reqwest::Error) -> String {
    match ssrf_guard::refusal(error) {
        Some(refused) => refused.to_string(),
        None if error.is_timeout() => "the receiver did not take the connection in time".to_owned(),
        None => ssrf_guard::cause(error),
    }
}

fn is_own_fault(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if io.is_some_and(|code| OWN_FAULTS.contains(&code)) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut bytes = 0;
    let texts = headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let fits = |(name, value): &(String, String)| {
        bytes += name.len() + value.len();
        bytes <= HEADERS_BYTES_MAX
    };
    texts.take(HEADERS_MAX).take_while(fits).collect()
}

/// How long the receiver asks to be left alone: in seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u64>() {
        return Some(u32::try_from(secs).unwrap_or(u32::MAX));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    let secs = (at.to_utc() - clock::now()).num_seconds().max(0);
    Some(u32::try_from(secs).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };

        assert_eq!(of("120"), Some(120));
        assert_eq!(of("99999999999999"), Some(u32::MAX));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(0));
        let in_an_hour = clock::now() + chrono::TimeDelta::seconds(3_600);
        let date = in_an_hour.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert!((3_590..=3_600).contains(&of(&date).unwrap()), "{date}");
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn headers_of_an_answer_are_bounded() {
        let mut headers = HeaderMap::new();
        for n in 0..100 {
            let name: reqwest::header::HeaderName = format!("x-{n}").parse().unwrap();
            headers.insert(name, "y".repeat(500).parse().unwrap());
        }

        let kept = kept_headers(&headers);

        assert!(kept.len() <= HEADERS_MAX);
        let bytes: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes <= HEADERS_BYTES_MAX && !kept.is_empty());
    }
}
