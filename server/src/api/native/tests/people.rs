//! Members, keys and secrets.

use super::*;

#[tokio::test]
async fn member_is_invited_changed_and_removed() {
    let server = TestServer::open().await;
    let (member, _) = server.member(Role::User).await;

    let body = json!({"email": "Ada@Example.com", "role": "developer"});
    let (status, invited) = server.post("/v1/members", body).await;
    let path = format!("/v1/members/{member}");
    let (_, changed) = server.patch(&path, json!({"role": "admin"})).await;

    assert_eq!((status, &invited["is_invitation"]), (200, &json!(true)), "{invited}");
    assert_eq!(changed, json!({"id": member, "role": "admin"}));
    let listed = read(&server, "/v1/members").await;
    let members = listed["members"].as_array().unwrap();
    let found = members.iter().find(|one| one["id"] == json!(member)).unwrap();
    assert_eq!((&found["role"], &found["is_invitation"]), (&json!("admin"), &json!(false)));
    assert_eq!(members.last(), Some(&invited));
    for (body, field) in [
        (json!({"role": "user"}), "email"),
        (json!({"email": "x", "role": "user"}), "email"),
        (json!({"email": "a@b.c", "role": "ROLE_USER"}), "role"),
    ] {
        let (status, refused) = server.post("/v1/members", body).await;
        assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", field)), "{refused}");
    }
    assert_eq!(server.call(Method::DELETE, &path, None).await, (200, json!({"id": member})));
    assert_eq!(server.call(Method::DELETE, &path, None).await.0, 404);
}

#[tokio::test]
async fn denial_names_the_role_in_words_of_this_api() {
    let server = TestServer::open().await;
    let (_, key) = server.member(Role::User).await;

    let (status, refused) = server.call_as(&key, Method::GET, "/v1/members", None).await;

    assert_eq!((status, problem(&refused).0), (403, "FORBIDDEN"));
    assert!(refused["detail"].as_str().unwrap().contains("the role admin"), "{refused}");
}

#[tokio::test]
async fn key_is_shown_once_limited_to_its_scopes_and_revoked() {
    let server = TestServer::open().await;
    let body = json!({"name": "ci", "scopes": ["jobs:read"], "life_secs": 3600});

    let (status, made) = server.post_named("k", "/v1/keys", &body).await;
    let (again, refused) = server.post_named("k", "/v1/keys", &body).await;

    assert_eq!((status, &made["key"]["scopes"]), (200, &json!(["jobs:read"])), "{made}");
    assert_eq!((again, problem(&refused).0), (400, "SHOWN_ALREADY"));
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(server.call_as(secret, Method::GET, "/v1/jobs", None).await.0, 200);
    assert_eq!(server.call_as(secret, Method::GET, "/v1/balance", None).await.0, 403);
    let listed = read(&server, "/v1/keys").await;
    assert_eq!(listed["keys"][0]["id"], made["key"]["id"]);
    assert!(!listed.to_string().contains(secret));
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": "x", "scopes": ["root"]}), "scopes[0]"),
        (json!({"name": "x", "life_secs": 0}), "life_secs"),
    ] {
        let (status, refused) = server.post("/v1/keys", body).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
    let path = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(server.call(Method::DELETE, &path, None).await.0, 200);
    assert_eq!(server.call_as(secret, Method::GET, "/v1/jobs", None).await.0, 401);
}

#[tokio::test]
async fn secret_is_listed_without_its_value_and_deleted() {
    let server = TestServer::open().await;
    let secret = json!({"id": "keys", "type": "aws", "access_key": "AK", "value": "TOPSECRET",
                        "params": {"a": "b"}, "name": "n"});

    let (status, kept) = server.post("/v1/secrets", secret.clone()).await;
    let listed = read(&server, "/v1/secrets?type=aws").await;

    assert_eq!((status, &listed["secrets"]), (200, &json!([kept])), "{kept}");
    assert_eq!((&kept["type"], &kept["params"]), (&json!("aws"), &json!({"a": "b"})));
    assert!(!listed.to_string().contains("TOPSECRET"));
    assert_eq!(read(&server, "/v1/secrets?type=url").await["secrets"], json!([]));
    for (change, field) in [
        (json!({"value": ""}), "value"),
        (json!({"type": "registry"}), "endpoint"),
        (json!({"access_key": ""}), "access_key"),
        (json!({"id": "a/b"}), "id"),
        (json!({"type": "url"}), "endpoint"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"expires_at": "soon"}), "expires_at"),
        (json!({"params": {"a": 1}}), "params.a"),
    ] {
        let mut body = secret.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, refused) = server.post("/v1/secrets", body).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
    let path = "/v1/secrets/aws/keys";
    assert_eq!(server.call(Method::DELETE, path, None).await, (200, json!({"id": "keys"})));
    assert_eq!(server.call(Method::DELETE, path, None).await.0, 404);
    assert_eq!(server.call(Method::DELETE, "/v1/secrets/nothing/keys", None).await.0, 404);
}

#[tokio::test]
async fn workspace_shares_containers_among_its_runs_where_its_admin_says_so() {
    let server = TestServer::open().await;
    let containers = async |body| {
        let (status, changed) = server.patch("/v1/workspace", body).await;
        assert_eq!(status, 200, "{changed}");
        assert_eq!(read(&server, "/v1/workspace").await, changed);
        (changed["containers"].clone(), changed["log_days"].clone())
    };

    let before = read(&server, "/v1/workspace").await["containers"].clone();
    let shared = containers(json!({"containers": "workspace"})).await;
    let beside = containers(json!({"log_days": 7})).await;
    let both = containers(json!({"log_days": 8, "containers": "run"})).await;

    assert_eq!(before, "run");
    assert_eq!(shared, (json!("workspace"), json!(30)));
    assert_eq!(beside, (json!("workspace"), json!(7)));
    assert_eq!(both, (json!("run"), json!(8)));
    for word in [json!("node"), json!("Workspace"), json!(1)] {
        let (status, refused) = server.patch("/v1/workspace", json!({"containers": word})).await;
        let expected = (400, ("INVALID_ARGUMENT", "containers"));
        assert_eq!((status, problem(&refused)), expected, "{refused}");
    }
    let wrong = json!({"containers": "workspace", "log_days": 31});
    assert_eq!(server.patch("/v1/workspace", wrong).await.0, 400);
    assert_eq!(read(&server, "/v1/workspace").await["containers"], "run", "all or nothing");
}

#[tokio::test]
async fn workspace_keeps_its_logs_for_as_long_as_its_admin_says() {
    let server = TestServer::open().await;
    let (_, key) = server.member(Role::User).await;

    let before = read(&server, "/v1/workspace").await;
    let (status, changed) = server.patch("/v1/workspace", json!({"log_days": 7})).await;
    let after = read(&server, "/v1/workspace").await;
    let (_, unset) = server.patch("/v1/workspace", json!({"log_days": null})).await;

    assert_eq!((&before["log_days"], &before["name"]), (&json!(30), &json!("default")));
    assert_eq!((status, &changed["log_days"]), (200, &json!(7)), "{changed}");
    assert_eq!((&after, &unset), (&changed, &before));
    for body in
        [json!({}), json!({"log_days": 0}), json!({"log_days": 31}), json!({"log_days": "x"})]
    {
        let (status, refused) = server.patch("/v1/workspace", body).await;
        assert_eq!(
            (status, problem(&refused)),
            (400, ("INVALID_ARGUMENT", "log_days")),
            "{refused}"
        );
    }
    let body = Some(json!({"log_days": 7, "containers": "workspace"}));
    assert_eq!(server.call_as(&key, Method::GET, "/v1/workspace", None).await.0, 200);
    assert_eq!(server.call_as(&key, Method::PATCH, "/v1/workspace", body).await.0, 403);
}
