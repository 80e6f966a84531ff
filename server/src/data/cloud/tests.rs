use common::data::location::{Cloud, Provider};

use super::*;
use crate::data::ssrf_guard::Guard;
use crate::data::testing::customer as text_of;
use crate::secrets::KeyPair;

fn aws(region: &str) -> Cloud {
    let provider = Provider::Aws { region: region.into() };
    Cloud { provider, name: "my-bucket".into(), endpoint: None, secret: None }
}

fn azure(account: Option<&str>) -> Cloud {
    let provider = Provider::Azure { account: account.map(str::to_owned) };
    Cloud { provider, name: "data".into(), endpoint: None, secret: None }
}

fn open(cloud: &Cloud) -> Result<CloudBucket, Error> {
    open_with(cloud, None)
}

fn open_with(cloud: &Cloud, keys: Option<&KeyPair>) -> Result<CloudBucket, Error> {
    let guard = Guard::new(false);
    CloudBucket::open(cloud, keys, guard, guard.client().unwrap())
}

async fn link(cloud: &Cloud, keys: Option<&KeyPair>) -> Option<String> {
    let bucket = open_with(cloud, keys).unwrap();
    bucket.link("in/a b?.txt", Duration::from_secs(60)).await.unwrap()
}

#[tokio::test]
async fn public_object_is_linked_without_keys() {
    let region = || "eu-west-1".to_owned();
    for (provider, address) in [
        (Provider::Aws { region: region() }, "https://s3.eu-west-1.amazonaws.com/my-bucket"),
        (Provider::Gcp { region: region() }, "https://storage.googleapis.com/my-bucket"),
        (Provider::Storj { region: region() }, "https://gateway.storjshare.io/my-bucket"),
        (
            Provider::Azure { account: Some("acc1".into()) },
            "https://acc1.blob.core.windows.net/my-bucket",
        ),
    ] {
        let cloud = Cloud { provider, ..aws("x") };

        assert_eq!(link(&cloud, None).await, Some(format!("{address}/in/a%20b%3F.txt")));
    }
}

#[tokio::test]
async fn unusual_regions_are_signed_for() {
    let keys = KeyPair { access_key: "GOOG1E".into(), secret_key: "s".into() };
    for provider in [
        Provider::Gcp { region: "us-west2-b".into() },
        Provider::Storj { region: "global".into() },
        Provider::Storj { region: "us1".into() },
    ] {
        let cloud = Cloud { provider, ..aws("x") };

        let link = link(&cloud, Some(&keys)).await.unwrap();

        assert!(link.contains("X-Amz-Expires=60") && link.contains("X-Amz-Signature="), "{link}");
    }
}

#[tokio::test]
async fn azure_link_reads_one_object_and_a_given_signature_is_not_disclosed() {
    let keys = |secret: &str| KeyPair { access_key: "acc1".into(), secret_key: secret.into() };

    let bucket = open_with(&azure(None), Some(&keys("c2VjcmV0"))).unwrap();
    let signed = bucket.link("in/a.txt", Duration::from_secs(60)).await.unwrap().unwrap();
    let shared = link(&azure(None), Some(&keys("?sv=2022-11-02&sp=racwdl&sig=abc%3D"))).await;

    assert!(signed.starts_with("https://acc1.blob.core.windows.net/data/in/a.txt?"));
    assert!(signed.contains("sp=r&") && signed.contains("sr=b&"), "{signed}");
    assert_eq!(shared, None);
    let text = text_of(open_with(&azure(None), Some(&keys("not base64"))));
    assert!(text.starts_with("secret: ") && !text.contains("not base64"), "{text}");
}

#[test]
fn object_names_that_would_change_the_address_are_refused() {
    for bucket in ["", "a", "a/b", "b?c", "..", "a..b", "evil.com#", "a b", "ü-bucket"] {
        let opened = open(&Cloud { name: bucket.into(), ..aws("eu-west-1") });
        assert!(text_of(opened).starts_with("bucket: "), "{bucket}");
    }
    for region in ["", "evil.com/", "x@y", "a b", "a.b"] {
        assert!(text_of(open(&aws(region))).starts_with("region: "), "{region}");
    }
    for account in ["", "x.evil.com/", "a-b", "a@b", "ab"] {
        let text = text_of(open(&azure(Some(account))));
        assert!(text.starts_with("account: "), "{account}");
    }
    assert!(
        text_of(open(&Cloud { name: "$a$".into(), ..azure(Some("acc1")) })).starts_with("bucket: ")
    );
    assert!(open(&Cloud { name: "$web".into(), ..azure(Some("acc1")) }).is_ok());
}

#[test]
fn endpoints_with_private_addresses_are_refused() {
    for endpoint in [
        "",
        "minio:9000",
        "file:///etc",
        "http://127.0.0.1:9000",
        "http://[::1]/",
        "http://2130706433",
        "http://169.254.169.254/",
        "https://example.com:22",
        "https://user:pw@example.com",
        "https://example.com?x=y",
        "https://example.com/#x",
    ] {
        let text = text_of(open(&Cloud { endpoint: Some(endpoint.into()), ..aws("us-east-1") }));
        assert!(text.starts_with("endpoint: ") && !text.contains("pw"), "{text}");
    }
}

#[tokio::test]
async fn endpoint_that_resolves_to_a_private_address_is_refused() {
    let endpoint = Some("http://localhost".to_owned());
    let bucket = open(&Cloud { endpoint, ..aws("us-east-1") }).unwrap();

    let error = bucket.head("x").await.unwrap().unwrap_err();

    let text = text_of::<()>(Err(bucket.explain_read(&error, "x")));
    assert!(
        text.starts_with("endpoint: there is no host localhost, or it leads to a private"),
        "{text}"
    );
}
