use super::*;

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

fn cloud(provider: Provider, endpoint: Option<&str>) -> Cloud {
    let endpoint = endpoint.map(ToOwned::to_owned);
    Cloud { provider, name: "bucket".to_owned(), endpoint, secret: None }
}

fn azure(account: Option<&str>, endpoint: Option<&str>) -> Cloud {
    cloud(Provider::Azure { account: account.map(ToOwned::to_owned) }, endpoint)
}

#[test]
fn secret_kind_limits_its_places() {
    let region = || "r".to_owned();
    let (aws, gcp, storj) = (
        cloud(Provider::Aws { region: region() }, None),
        cloud(Provider::Gcp { region: region() }, None),
        cloud(Provider::Storj { region: region() }, None),
    );
    let azure = azure(Some("acc"), None);
    let targets = [
        ("aws", Target::Bucket(&aws)),
        ("gcp", Target::Bucket(&gcp)),
        ("storj", Target::Bucket(&storj)),
        ("azure", Target::Bucket(&azure)),
        ("url", Target::Url("https://host.example/file")),
        ("registry", Target::Registry("registry.example")),
        ("container", Target::Container),
    ];
    let url = Purpose::Url { origin: origin("https://host.example") };
    let registry = Purpose::Registry { host: "registry.example".to_owned() };
    for (purpose, allowed) in [
        (Purpose::Aws, ["aws", "container"].as_slice()),
        (Purpose::Gcp, &["gcp", "container"]),
        (Purpose::Storj, &["storj", "container"]),
        (Purpose::Azure { endpoint: None }, &["azure", "container"]),
        (url, &["url"]),
        (registry, &["registry"]),
        (Purpose::Other, &["container"]),
    ] {
        for (name, target) in &targets {
            let checked = purpose.check("acc", target);

            assert_eq!(checked.is_ok(), allowed.contains(name), "{purpose:?} to {name}");
        }
    }
}

#[test]
fn password_goes_to_its_own_origin_only() {
    let purpose = Purpose::Url { origin: origin("https://host.example:8443") };
    for (url, allowed) in [
        ("https://host.example:8443/a/b?c", true),
        ("https://HOST.example:8443/", true),
        ("http://host.example:8443/", false),
        ("https://host.example/", false),
        ("https://host.example:8443.evil.example/", false),
        ("https://host.example:8443@evil.example/", false),
        ("https://sub.host.example:8443/", false),
        ("not an address", false),
    ] {
        let checked = purpose.check("user", &Target::Url(url));

        assert_eq!(checked.is_ok(), allowed, "{url}");
    }
}

#[test]
fn azure_keys_go_to_their_account_and_store_only() {
    let usual = Purpose::Azure { endpoint: None };
    let bound = Purpose::Azure { endpoint: Some(origin("http://127.0.0.1:10000")) };
    for (purpose, bucket, allowed) in [
        (&usual, azure(None, None), true),
        (&usual, azure(Some("acc"), None), true),
        (&usual, azure(Some("acc"), Some("https://acc.blob.core.windows.net/")), true),
        (&usual, azure(Some("evil"), None), false),
        (&usual, azure(None, Some("https://evil.example")), false),
        (&usual, azure(None, Some("http://acc.blob.core.windows.net")), false),
        (&usual, azure(None, Some("https://acc.blob.core.windows.net.evil.example")), false),
        (&bound, azure(Some("acc"), Some("http://127.0.0.1:10000/acc")), true),
        (&bound, azure(Some("acc"), Some("http://127.0.0.1:10001/acc")), false),
        (&bound, azure(Some("acc"), None), false),
        (&bound, azure(Some("evil"), Some("http://127.0.0.1:10000/evil")), false),
    ] {
        let checked = purpose.check("acc", &Target::Bucket(&bucket));

        assert_eq!(checked.is_ok(), allowed, "{purpose:?} to {bucket:?}");
    }
}

#[test]
fn purpose_is_read_back_from_its_stored_form() {
    for purpose in [
        Purpose::Aws,
        Purpose::Gcp,
        Purpose::Storj,
        Purpose::Azure { endpoint: None },
        Purpose::Azure { endpoint: Some(origin("https://store.example")) },
        Purpose::Url { origin: origin("https://host.example") },
        Purpose::Registry { host: "registry.example:5000".to_owned() },
        Purpose::Other,
    ] {
        let kind = SecretKind::stored(purpose.kind().name()).unwrap();

        assert_eq!(Purpose::read(kind, purpose.bound_to()), Ok(purpose));
    }
}

#[test]
fn purpose_is_bound_exactly_where_it_must_be() {
    assert_eq!(Purpose::read(SecretKind::Url, None), Err(Unbound::Missing(SecretKind::Url)));
    assert!(Purpose::read(SecretKind::Url, Some("https://host/path")).is_err());
    assert!(Purpose::read(SecretKind::Url, Some("ftp://host")).is_err());
    assert_eq!(
        Purpose::read(SecretKind::Other, Some("https://host")),
        Err(Unbound::Needless(SecretKind::Other))
    );
}

#[test]
fn secret_kinds_are_read_as_members_write_them() {
    assert_eq!("registry".parse(), Ok(SecretKind::Registry));
    assert_eq!("S3".parse(), Ok(SecretKind::Aws));
    assert_eq!("Url".parse(), Ok(SecretKind::Url));
    assert_eq!("login".parse::<SecretKind>(), Err(NotAKind));
}

#[test]
fn login_is_bound_to_the_registry_that_images_name() {
    let bound = |host: &str| Purpose::read(SecretKind::Registry, Some(host));
    for (host, expected) in [
        ("ghcr.io", "ghcr.io"),
        ("registry.example:5000", "registry.example:5000"),
        ("localhost:5000", "localhost:5000"),
        ("docker.io", "registry-1.docker.io"),
        ("registry-1.docker.io", "registry-1.docker.io"),
    ] {
        assert_eq!(bound(host), Ok(Purpose::Registry { host: expected.to_owned() }));
    }
    for host in ["", "ghcr", "ghcr.io/me", "https://ghcr.io", "a b.io", "user@ghcr.io", "ghcr.io/"]
    {
        assert_eq!(bound(host), Err(Unbound::Registry), "{host}");
    }
}
