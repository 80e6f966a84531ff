//! Against registries that answer as a test wants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

use common::secret::Purpose;

use super::*;
use crate::api::testing::TestServer;
use crate::data::testing::{WebServer, answer};
use crate::store::secrets::Secret;

const DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000ff";

fn login() -> SecretId {
    SecretId::of_image("app", "a", "1.0")
}

/// Stores a login to the registry of this host.
async fn keep(server: &TestServer, host: &str, username: &str, token: &str) {
    let secret = Secret {
        id: login(),
        purpose: Purpose::Registry { host: host.to_owned() },
        name: String::new(),
        access_key: username.to_owned(),
        params: BTreeMap::new(),
        expires_at: None,
    };
    server.app.secrets.keep(server.workspace, &secret, token).await.unwrap();
}

/// A registry with an image `team/app` for `me` with `TOKEN`, and how often it made a token.
async fn registry() -> WebServer {
    WebServer::start(|head| {
        let line = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
        };
        let (authorization, host) = (line("authorization: "), line("host: "));
        let basic = format!("Basic {}", STANDARD.encode("me:TOKEN"));
        let ask = format!(r#"Bearer realm="http://{host}/token",service="test""#);
        let scope = "/token?service=test&scope=repository%3Ateam%2Fapp%3Apull ";
        let path = head.split_once(' ').map_or("", |(_, path)| path);
        if path.starts_with(scope) && authorization == basic {
            answer("200 OK", &[], br#"{"token":"pull-only","expires_in":300}"#)
        } else if path.starts_with("/v2/team/app/manifests/1 ")
            && authorization == "Bearer pull-only"
        {
            answer("200 OK", &[("docker-content-digest", DIGEST.to_owned())], b"")
        } else if authorization == "Bearer pull-only" {
            answer("404 Not Found", &[], b"")
        } else {
            answer("401 Unauthorized", &[("www-authenticate", ask)], b"")
        }
    })
    .await
}

fn host(remote: &WebServer) -> &str {
    remote.url.strip_prefix("http://").unwrap()
}

#[tokio::test]
async fn login_becomes_a_token_for_one_image_made_once() {
    let (server, remote) = (TestServer::open().await, registry().await);
    keep(&server, host(&remote), "me", "TOKEN").await;
    let (registries, image) = (&server.app.registries, format!("{}/team/app", host(&remote)));

    let pinned =
        registries.pin(server.workspace, Some(&login()), &format!("{image}:1")).await.unwrap();
    let token = registries.pull_token(server.workspace, Some(&login()), &pinned).await.unwrap();

    assert_eq!(pinned.to_string(), format!("{image}@{DIGEST}"));
    assert_eq!(token, Some(Hidden("pull-only".to_owned())));
    let seen = remote.seen.lock().unwrap().clone();
    let with_login: Vec<_> = seen.iter().filter(|head| head.contains("Basic ")).collect();
    assert_eq!(with_login.len(), 1, "the login goes to the token service only, and once");
    assert!(with_login[0].starts_with("GET /token"));
    let missing = registries.pin(server.workspace, Some(&login()), &format!("{image}:2")).await;
    assert!(matches!(missing, Err(Error::NoImage { .. })), "{missing:?}");
}

/// A registry whose token service asks for nobody's name, with an image `team/app`.
async fn public_registry(made: &'static [u8]) -> WebServer {
    WebServer::start(move |head| {
        let line = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let ask = format!(
            r#"Bearer realm="http://{}/token",service="test""#,
            line("host: ").unwrap_or_default()
        );
        if head.starts_with("GET /token?") {
            answer("200 OK", &[], made)
        } else if line("authorization: ") != Some("Bearer anybody") {
            answer("401 Unauthorized", &[("www-authenticate", ask)], b"INTRANET-SECRET")
        } else if head.contains("/v2/team/app/manifests/1 ") {
            answer("200 OK", &[("docker-content-digest", DIGEST.to_owned())], b"")
        } else {
            answer("404 Not Found", &[], b"INTRANET-SECRET")
        }
    })
    .await
}

#[tokio::test]
async fn public_image_is_pinned_without_a_login() {
    let server = TestServer::open().await;
    for made in [
        &br#"{"token":"anybody"}"#[..],
        br#"{"access_token":"anybody"}"#,
        br#"{"token":"anybody","access_token":"anybody","expires_in":60}"#,
    ] {
        let remote = public_registry(made).await;
        let (registries, image) = (&server.app.registries, format!("{}/team/app", host(&remote)));

        let pinned = registries.pin(server.workspace, None, &format!("{image}:1")).await.unwrap();
        let token = registries.pull_token(server.workspace, None, &pinned).await.unwrap();

        assert_eq!(pinned.to_string(), format!("{image}@{DIGEST}"));
        assert_eq!(token, Some(Hidden("anybody".to_owned())));
        assert!(!remote.seen.lock().unwrap().iter().any(|head| head.contains("Basic")));
        let missing = format!("{image}:2");
        let missing = registries.pin(server.workspace, None, &missing).await.unwrap_err();
        assert!(matches!(missing, Error::NoImage { .. }), "{missing:?}");
        let text = missing.to_string();
        assert!(text.contains("team/app:2") && !text.contains("SECRET"), "{text}");
    }
}

#[tokio::test]
async fn image_that_requires_a_login_has_that_error() {
    let (server, remote) = (TestServer::open().await, registry().await);

    let image = format!("{}/team/app:1", host(&remote));
    let refused = server.app.registries.pin(server.workspace, None, &image).await.unwrap_err();

    assert!(matches!(refused, Error::NotPublic { .. }), "{refused:?}");
    assert!(refused.to_string().contains("private_image"), "{refused}");
}

#[tokio::test]
async fn wrong_login_and_another_workspace_get_nothing() {
    let (server, remote) = (TestServer::open().await, registry().await);
    keep(&server, host(&remote), "me", "GUESSED").await;
    let image = format!("{}/team/app:1", host(&remote));
    let stranger = WorkspaceId::new(uuid::Uuid::now_v7());

    let wrong = server.app.registries.pin(server.workspace, Some(&login()), &image).await;
    let pinned = format!("{}/team/app@{DIGEST}", host(&remote)).parse().unwrap();
    let theirs = server.app.registries.pull_token(stranger, Some(&login()), &pinned).await;

    assert!(matches!(wrong, Err(Error::Login(_))), "{wrong:?}");
    assert!(matches!(theirs, Err(Error::Secret(secrets::Error::NotFound(_)))), "{theirs:?}");
}

#[tokio::test]
async fn registry_with_basic_authentication_is_refused_with_a_remedy() {
    let server = TestServer::open().await;
    let remote = WebServer::start(|_| {
        let ask = ("www-authenticate", r#"Basic realm="x""#.to_owned());
        answer("401 Unauthorized", &[ask], b"")
    })
    .await;
    keep(&server, host(&remote), "me", "TOKEN").await;

    let image = format!("{}/team/app:1", host(&remote));
    let refused =
        server.app.registries.pin(server.workspace, Some(&login()), &image).await.unwrap_err();

    assert!(refused.to_string().contains("fanfold image push"), "{refused}");
    assert!(remote.seen.lock().unwrap().iter().all(|head| !head.contains("authorization")));
}

#[tokio::test]
async fn registry_and_token_service_on_private_addresses_are_refused() {
    let (server, remote) = (TestServer::open().await, registry().await);
    let closed = Registries::new(server.app.secrets.clone(), Guard::new(false));
    for host in [host(&remote), "10.0.0.1", "169.254.169.254", "localhost:1", "1.1.1.1:22"] {
        keep(&server, host, "me", "TOKEN").await;
        for secret in [Some(&login()), None] {
            let refused = closed.pin(server.workspace, secret, &format!("{host}/team/app:1")).await;
            assert!(matches!(refused, Err(Error::Address { .. })), "{host}: {refused:?}");
        }
    }
    assert!(remote.seen.lock().unwrap().is_empty());
    let image = "registry.example/team/app:1".parse().unwrap();
    let realm = |realm: &str| {
        let challenge = Challenge { realm: realm.to_owned(), service: None };
        closed.inner.realm(&image, &challenge)
    };
    assert!(matches!(realm("https://10.0.0.1/token"), Err(Error::Address { .. })));
    for plain in ["http://auth.example/token", "http://10.0.0.1/", "file:///etc/passwd", "x"] {
        assert!(matches!(realm(plain), Err(Error::Odd { .. })), "{plain}");
    }
    assert!(realm("https://auth.example/token").is_ok());
}

#[tokio::test]
async fn login_follows_no_redirect() {
    let server = TestServer::open().await;
    let trap = WebServer::start(|_| answer("200 OK", &[], br#"{"token":"x"}"#)).await;
    let to = trap.url.clone();
    let remote = WebServer::start(move |head| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let ask = format!(r#"Bearer realm="http://{host}/token""#);
        if head.starts_with("GET /token") {
            answer("302 Found", &[("location", to.clone())], b"")
        } else {
            answer("401 Unauthorized", &[("www-authenticate", ask)], b"")
        }
    })
    .await;
    keep(&server, host(&remote), "me", "TOKEN").await;

    let image = format!("{}/team/app:1", host(&remote));
    let refused = server.app.registries.pin(server.workspace, Some(&login()), &image).await;

    assert!(matches!(refused, Err(Error::Odd { .. })), "{refused:?}");
    assert!(trap.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn login_is_sent_to_its_own_registry_only() {
    let (server, remote) = (TestServer::open().await, registry().await);
    keep(&server, "registry.example", "me", "TOKEN").await;
    let image = format!("{}/team/app:1", host(&remote));

    let pinned = server.app.registries.pin(server.workspace, Some(&login()), &image).await;
    let at = format!("{}/team/app@{DIGEST}", host(&remote)).parse().unwrap();
    let token = server.app.registries.pull_token(server.workspace, Some(&login()), &at).await;

    for refused in [pinned.map(drop), token.map(drop)] {
        assert!(
            matches!(refused, Err(Error::Secret(secrets::Error::Misuse { .. }))),
            "{refused:?}"
        );
    }
    assert!(remote.seen.lock().unwrap().is_empty());
}
