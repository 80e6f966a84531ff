//! The metrics, for Prometheus to scrape.

use common::digest::Digest;
use warp::Reply as _;
use warp::http::Method;
use warp::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, raw};
use crate::error::{Error, Result};

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::GET, "Server_GetMetrics", "/metrics", "text/plain", metrics)
            .summary("Gives the metrics for Prometheus: to this machine, or with the metrics token")
            .fails(&[
                (401, "The metrics token is missing, or is another one"),
                (404, "Only this machine may read them: no metrics token is set"),
            ])
            .open(),
    ]
}

async fn metrics(call: Call) -> Result<Answer> {
    match admit(call.is_local(), brought(&call), call.app().settings.metrics_token) {
        Err(Error::Unauthenticated) => {
            call.stranger()?;
            return Err(Error::Unauthenticated);
        }
        admitted => admitted?,
    }
    call.authenticated();
    let is_ready = call.state().readiness.away(call.app()).await.is_none();
    let mut answer = call.app().metrics.render(is_ready).into_response();
    let content_type = HeaderValue::from_static(instruments::CONTENT_TYPE);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(answer)
}

/// Lets in what comes straight from this machine, and what brings the token. Without a token that
/// could be brought there is nothing here for others.
fn admit(is_local: bool, brought: Option<&str>, token: Option<Digest>) -> Result<()> {
    match (is_local, token) {
        (true, _) => Ok(()),
        (false, None) => Err(Error::NotFound("path".to_owned())),
        (false, Some(token)) => {
            let fits = brought.is_some_and(|brought| Digest::of(brought.as_bytes()) == token);
            fits.then_some(()).ok_or(Error::Unauthenticated)
        }
    }
}

fn brought(call: &Call) -> Option<&str> {
    let (scheme, token) = call.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::testing::TestServer;

    /// The status and the text of a scrape that brings this. The test comes through a proxy.
    async fn scrape(server: &TestServer, authorization: Option<&str>) -> (u16, String) {
        let mut request = server.client.get(format!("{}/metrics", server.url));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn metrics_are_given_to_others_with_the_metrics_token_only() {
        let server = TestServer::open().await;
        let (own_key, bearer_key) = (server.key.clone(), format!("Bearer {}", server.key));
        for (given, expected) in [
            (None, 401),
            (Some(""), 401),
            (Some("scrape"), 401),
            (Some("Bearer scrap"), 401),
            (Some(own_key.as_str()), 401),
            (Some(bearer_key.as_str()), 401),
            (Some("Bearer scrape"), 200),
            (Some("bearer scrape"), 200),
        ] {
            let (status, text) = scrape(&server, given).await;

            assert_eq!(status, expected, "{given:?}: {text}");
            assert_eq!(text.contains("fanfold_build_info"), expected == 200, "{text}");
        }
    }

    #[test]
    fn metrics_without_a_token_set_are_for_this_machine_only() {
        let token = Some(Digest::of(b"scrape"));

        assert!(admit(true, None, None).is_ok() && admit(true, Some("x"), token).is_ok());
        for brought in [None, Some(""), Some("scrape")] {
            assert!(matches!(admit(false, brought, None), Err(Error::NotFound(_))), "{brought:?}");
        }
    }

    #[tokio::test]
    async fn labels_of_hostile_requests_are_those_of_the_table_of_routes() {
        let server = TestServer::open().await;
        let client = &server.client;
        for n in 0..50 {
            for path in [
                format!("/x{n}"),
                format!("/v1/jobs/{n}/y"),
                format!("/v1/customer/jobs/job-{n}"),
                format!("/v1/customer/jobs/%22%0a{n}"),
                format!("/metrics/{n}?a={n}"),
            ] {
                client.get(format!("{}{path}", server.url)).send().await.unwrap();
            }
            let method = Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
            client.request(method, format!("{}/v1/jobs", server.url)).send().await.unwrap();
        }

        let text = scrape(&server, Some("Bearer scrape")).await.1;

        let counted: BTreeSet<&str> =
            text.lines().filter(|line| line.starts_with("fanfold_http_requests_total")).collect();
        let labels: Vec<&str> =
            counted.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let of = |method: &str, route: &str, status: &str| {
            format!(
                "fanfold_http_requests_total{{method=\"{method}\",route=\"{route}\",\
                 status=\"{status}\"}}"
            )
        };
        assert_eq!(labels.len(), 3, "{labels:#?}");
        for expected in [
            of("GET", "unknown", "4xx"),
            of("GET", "/v1/customer/jobs/{jobId}", "4xx"),
            of("other", "/v1/jobs", "4xx"),
        ] {
            assert!(labels.contains(&expected.as_str()), "{expected}: {labels:#?}");
        }
    }
}
