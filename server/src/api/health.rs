//! Whether the server is alive and ready, for orchestrators, load balancers and scripts.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::Call;
use crate::api::http::route::{Route, get};
use crate::error::{Error, Result};

pub fn routes() -> Vec<Route> {
    vec![
        get("Server_GetLiveness", "/healthz", alive)
            .summary("Answers 200 as long as the server serves, whatever else is away")
            .open(),
        get("Server_GetReadiness", "/readyz", ready)
            .summary("Answers 200 while the database and the bucket answer, and 503 otherwise")
            .open(),
    ]
}

#[derive(Serialize, ToSchema)]
struct Alive {
    /// Always true.
    ok: bool,
}

/// Asks nothing of the database or the bucket: a restart would not bring them back.
async fn alive(_: Call) -> Result<Alive> {
    std::future::ready(Ok(Alive { ok: true })).await
}

#[derive(Serialize, ToSchema)]
struct Ready {
    ready: bool,
}

async fn ready(call: Call) -> Result<Ready> {
    match call.state().readiness.away(call.app()).await {
        None => Ok(Ready { ready: true }),
        Some(part) => Err(Error::Away(part)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn readiness_distinguishes_an_unreachable_database_from_a_stopped_server() {
        let server = TestServer::open().await;
        assert_eq!(server.get("/readyz").await.0, 200);

        server.app.db.close().await.unwrap();

        let asked = Instant::now();
        let jobs = format!("{}/v1/customer/jobs", server.url);
        let answer =
            server.client.get(jobs).header("authorization", &server.key).send().await.unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()["retry-after"]),
            (503.try_into().unwrap(), &"5".try_into().unwrap())
        );
        // Its last answer counts for a second.
        let away = async {
            loop {
                let (status, body) = server.get("/readyz").await;
                if status == 503 {
                    return body.to_string();
                }
                tokio::task::yield_now().await;
            }
        };
        assert!(away.await.contains("cannot reach its database"));
        assert!(asked.elapsed().as_secs() < 30, "{:?}", asked.elapsed());
        assert_eq!(server.get("/healthz").await.0, 200);
        assert_eq!(server.get("/health").await.0, 404, "one way only");
    }

    #[tokio::test]
    async fn readiness_fails_without_the_bucket() {
        let server = TestServer::open().await;
        tokio::fs::remove_dir_all(server.bucket()).await.unwrap();
        tokio::fs::write(server.bucket(), b"no folder").await.unwrap();

        let (status, body) = server.get("/readyz").await;

        assert_eq!(status, 503, "{body}");
        assert!(body.to_string().contains("bucket"), "{body}");
    }
}
