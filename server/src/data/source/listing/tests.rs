use std::fmt::Write as _;

use common::data::location::{Cloud, Provider};

use super::*;
use crate::data::ssrf_guard::Guard;
use crate::data::testing::{S3Server, WebServer, answer, customer, pace};

const LIMITS: Limits = Limits { objects: 100, pages: 10 };

fn open(endpoint: &str, keys: bool) -> CloudBucket {
    let provider = Provider::Aws { region: "us-east-1".into() };
    let endpoint = Some(endpoint.to_owned());
    let cloud = Cloud { provider, name: "main".into(), endpoint, secret: None };
    let guard = Guard::new(true);
    let keys = keys.then(S3Server::keys);
    CloudBucket::open(&cloud, keys.as_ref(), guard, guard.client().unwrap()).unwrap()
}

async fn chosen(bucket: &CloudBucket, paths: &[&str]) -> Vec<String> {
    let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
    let chosen = choose(bucket, &paths, LIMITS, &pace()).await.unwrap();
    assert!(!chosen.more);
    chosen.objects.iter().map(|object| object.shown().to_owned()).collect()
}

/// A page of a listing: keys and ETags, and whether it is the last.
fn page(objects: &[(&str, &str)], next: Option<&str>) -> Vec<u8> {
    let mut xml = "<?xml version=\"1.0\"?><ListBucketResult>".to_owned();
    for (key, etag) in objects {
        let size = if key.ends_with('/') { 0 } else { 5 };
        write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>{etag}</ETag><Size>{size}</Size></Contents>"
        )
        .unwrap();
    }
    if let Some(next) = next {
        write!(xml, "<NextContinuationToken>{next}</NextContinuationToken>").unwrap();
    }
    xml += "</ListBucketResult>";
    answer("200 OK", &[], xml.as_bytes())
}

#[tokio::test]
async fn keys_folders_and_patterns_select_objects_in_the_order_of_their_keys() {
    let server = S3Server::start().await;
    for key in
        ["in/b.csv", "in/a.csv", "in/c.txt", "in/deep/d.csv", "in-2/e.csv", "f*.csv", "fg.csv"]
    {
        server.write(key, b"x");
    }
    let bucket = open(&server.endpoint, true);

    let folder = ["in/a.csv", "in/b.csv", "in/c.txt", "in/deep/d.csv"];
    assert_eq!(chosen(&bucket, &["/in/"]).await, folder);
    assert_eq!(chosen(&bucket, &["in/*.csv"]).await, ["in/a.csv", "in/b.csv"]);
    let all = ["in-2/e.csv", "in/a.csv", "in/b.csv", "in/deep/d.csv"];
    assert_eq!(chosen(&bucket, &["in*/**/*.csv"]).await, all);
    assert_eq!(chosen(&bucket, &["in/c.txt", "in/b.csv", "in/*.csv"]).await, folder[..3]);
    assert_eq!(chosen(&bucket, &["f*.csv"]).await, ["f*.csv"], "an object of this very key");
    assert_eq!(chosen(&bucket, &["f?.csv"]).await, ["f*.csv", "fg.csv"]);
    let missing = choose(&bucket, &["in/".into(), "gone".into()], LIMITS, &pace()).await;
    assert!(customer(missing).contains("\"gone\""));
}

#[tokio::test]
async fn listing_pins_versions_and_skips_folder_markers() {
    let server = WebServer::start(|head| {
        if head.starts_with("HEAD") {
            return answer("404 Not Found", &[], b"");
        }
        if head.contains("continuation-token=two") {
            return page(&[("in/sub/b", "\"v2\""), ("in/z", "v3")], None);
        }
        page(&[("in/", "\"m\""), ("in/a", "\"v1\""), ("in/sub/", "\"m\"")], Some("two"))
    })
    .await;

    let listed =
        choose(&open(&server.url, false), &["in/**".into()], LIMITS, &pace()).await.unwrap();

    let seen: Vec<_> = listed.objects.iter().map(|o| (o.name, o.version.unwrap())).collect();
    let quoted = |name: &str, v: &str| (name.to_owned(), format!("\"{v}\""));
    assert_eq!(seen, [quoted("a", "v1"), quoted("b", "v2"), quoted("z", "v3")]);
}

#[tokio::test]
async fn listing_out_of_order_is_sorted() {
    let server = WebServer::start(|_| {
        page(&[("in/b", "x"), ("in/c", "x"), ("in/a", "x"), ("in/b", "x")], None)
    })
    .await;

    assert_eq!(chosen(&open(&server.url, false), &["in/"]).await, ["in/a", "in/b", "in/c"]);
}

#[tokio::test]
async fn listing_without_end_is_abandoned_after_a_number_of_pages() {
    let empty = WebServer::start(|_| page(&[], Some("again"))).await;
    let full =
        WebServer::start(|_| page(&[("in/a", "x"), ("in/b", "x"), ("in/c", "x")], Some("again")))
            .await;

    for (server, objects) in [(&empty, 0), (&full, 2)] {
        let limits = Limits { objects: 2, pages: 10 };
        let chosen =
            choose(&open(&server.url, false), &["in/".into()], limits, &pace()).await.unwrap();

        assert!(chosen.more);
        assert_eq!(chosen.objects.len(), objects);
        assert!(server.seen.lock().unwrap().len() <= 10);
    }
}

/// A store with these objects, each of which has its very key as content.
async fn odd_store(keys: &'static [&'static str]) -> WebServer {
    WebServer::start(move |head| {
        let target = head.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if query.contains("list-type") {
            let prefix = url::form_urlencoded::parse(query.as_bytes())
                .find_map(|(name, value)| (name == "prefix").then(|| value.into_owned()))
                .unwrap_or_default();
            let escaped: Vec<_> = keys
                .iter()
                .filter(|key| key.starts_with(&prefix))
                .map(|key| key.replace('&', "&amp;").replace('\t', "&#x9;"))
                .collect();
            let objects: Vec<_> = escaped.iter().map(|key| (key.as_str(), "\"v\"")).collect();
            return page(&objects, None);
        }
        let key = percent_encoding::percent_decode_str(path.strip_prefix("/main/").unwrap());
        let key = key.decode_utf8().unwrap();
        let etag = ("etag", "\"v\"".to_owned());
        let dated = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
        if !keys.contains(&&*key) {
            return answer("404 Not Found", &[], b"");
        }
        let body: &[u8] = if key.ends_with('/') { b"" } else { b"12345" };
        answer("200 OK", &[etag, dated], body)
    })
    .await
}

#[tokio::test]
async fn listing_keys_are_used_unchanged() {
    let keys = ["/in/a", "/in/b/", "in/", "in//b", "in/a", "in/c&d ~%2F", "in/sub/", "in/sub/e"];
    let server = odd_store(Box::leak(Box::new(keys))).await;
    let bucket = open(&server.url, false);

    assert_eq!(chosen(&bucket, &["in/"]).await, ["in//b", "in/a", "in/c&d ~%2F", "in/sub/e"]);
    assert_eq!(chosen(&bucket, &["in/*"]).await, ["in/a", "in/c&d ~%2F"]);
    // Under the very key where there is one, else without the slash.
    assert_eq!(chosen(&bucket, &["/in/a"]).await, ["/in/a"]);
    assert_eq!(chosen(&bucket, &["/in/"]).await, ["/in/a"]);
    assert_eq!(chosen(&bucket, &["/in/sub/e"]).await, ["in/sub/e"]);
    assert_eq!(chosen(&bucket, &["/in/sub/"]).await, ["in/sub/e"]);
    assert_eq!(chosen(&bucket, &["/in/[c]*"]).await, ["in/c&d ~%2F"]);
    for key in ["in//b", "/in/a", "in/c&d ~%2F"] {
        assert_eq!(chosen(&bucket, &[key]).await, [key]);
        let link = bucket.link(key, std::time::Duration::from_secs(60)).await.unwrap().unwrap();
        let answer =
            crate::data::ssrf_guard::own_client().unwrap().get(&link).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{link}");
    }
}

#[tokio::test]
async fn folders_of_markers_only_are_empty() {
    let server = odd_store(&["in/", "in/sub/"]).await;

    let text = customer(choose(&open(&server.url, false), &["in/".into()], LIMITS, &pace()).await);

    assert!(text.contains("only empty objects that mark folders"), "{text}");
}

#[tokio::test]
async fn keys_that_no_request_can_name_are_named() {
    for (key, shown, why) in [
        ("in/../x", "in/../x", ". or .."),
        ("in/./x", "in/./x", ". or .."),
        ("in/a\tb", "in/a\\tb", "control characters"),
    ] {
        let server = odd_store(Box::leak(Box::new([key, "other/x"]))).await;
        let bucket = open(&server.url, false);

        let text = customer(choose(&bucket, &["in/".into()], LIMITS, &pace()).await);

        assert!(text.contains(shown) && text.contains(why), "{text}");
        // Beside others it does no harm.
        assert_eq!(chosen(&bucket, &["other/"]).await, ["other/x"]);
    }
}

#[tokio::test]
async fn signed_links_and_reads_of_unusual_keys_match_these_keys() {
    let server = S3Server::start().await;
    for keys in [true, false] {
        let bucket = open(&server.endpoint, keys);
        for (key, path) in
            [("/in/a", "/main//in/a"), ("in//b/", "/main/in//b/"), ("a?#%", "/main/a%3F%23%25")]
        {
            let link = bucket.link(key, std::time::Duration::from_secs(60)).await.unwrap().unwrap();

            let link: url::Url = link.parse().unwrap();
            assert_eq!(link.path(), path);
            assert_eq!(link.query().is_some(), keys);
        }
    }
}

#[tokio::test]
async fn listing_that_cannot_be_read_is_named() {
    let server = WebServer::start(|_| page(&[("in/a&nope;b", "x")], None)).await;

    let text = choose(&open(&server.url, false), &["in/".into()], LIMITS, &pace()).await;

    assert!(matches!(text, Err(Error::Customer(_) | Error::Elsewhere(_))), "{text:?}");
}
