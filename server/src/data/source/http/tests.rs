use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::data::object_list::Place;

use super::*;
use crate::data::testing::{WebServer, answer, customer, range, text};

fn file(url: &str, guard: Guard) -> Result<WebFile, Error> {
    WebFile::new(guard.client().unwrap(), guard, url, None)
}

fn probed(size: u64, version: Option<&str>) -> Object {
    let version = version.map(ToOwned::to_owned);
    Object { name: "x".into(), size, place: Place::Empty, version }
}

fn open(url: &str) -> WebFile {
    file(url, Guard::new(true)).unwrap()
}

#[tokio::test]
async fn server_with_ranges_is_read_by_ranges() {
    let server = WebServer::with_ranges(b"hello".to_vec()).await;
    let file = open(&server.url);

    assert!(matches!(file.probe().await, Ok(Probe::Ranges { size: 5, .. })));
    assert_eq!(text(file.read(1..4, &probed(5, None)).await.unwrap()).await.unwrap(), b"ell");
    assert!(customer(file.read(0..2, &probed(6, None)).await).contains("has changed"));
    assert!(customer(file.read(7..9, &probed(9, None)).await).contains("has changed"));
}

#[tokio::test]
async fn empty_file_has_no_bytes() {
    let server = WebServer::with_ranges(Vec::new()).await;

    assert!(matches!(open(&server.url).probe().await, Ok(Probe::Ranges { size: 0, .. })));
}

#[tokio::test]
async fn server_that_stops_giving_ranges_is_detected() {
    let server = WebServer::start(|_| answer("200 OK", &[], b"hello")).await;

    assert!(customer(open(&server.url).read(0..2, &probed(5, None)).await).contains("no longer"));
}

/// The part of `hello` that a request asks for, with these headers.
fn hello(head: &str, headers: &[(&str, String)]) -> Vec<u8> {
    let Some((from, to)) = range(head) else { return answer("200 OK", headers, b"hello") };
    let part = ("content-range", format!("bytes {from}-{to}/5"));
    let headers: Vec<_> = headers.iter().cloned().chain([part]).collect();
    answer("206 Partial Content", &headers, &b"hello"[from..=to])
}

#[tokio::test]
async fn file_that_changes_and_keeps_its_size_is_detected() {
    let (then, now) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT");
    for (header, then, now) in [("etag", "\"old\"", "\"new\""), ("last-modified", then, now)] {
        let changed = Arc::new(AtomicBool::new(false));
        let server = WebServer::start({
            let changed = changed.clone();
            move |head| {
                let value = if changed.load(Ordering::Relaxed) { now } else { then };
                hello(head, &[(header, value.to_owned())])
            }
        })
        .await;
        let file = open(&server.url);
        let Ok(Probe::Ranges { version: Some(version), .. }) = file.probe().await else { panic!() };
        assert!(file.read(0..2, &probed(5, Some(&version))).await.is_ok());

        changed.store(true, Ordering::Relaxed);

        let read = file.read(0..2, &probed(5, Some(&version))).await;
        assert!(customer(read).contains("has changed"));
    }
}

#[tokio::test]
async fn server_without_versions_is_read_as_a_whole() {
    let just_now = || clock::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let cases: [&(dyn Fn() -> Option<(&'static str, String)> + Sync); 3] = [
        &|| None,
        // It may change again within this second, or says so of each answer.
        &|| Some(("last-modified", just_now())),
        &|| Some(("last-modified", "yesterday".to_owned())),
    ];
    for header in cases {
        let header = header();
        let server = WebServer::start(move |head| hello(head, header.as_slice())).await;

        let Ok(Probe::Whole(whole)) = open(&server.url).probe().await else { panic!() };

        assert_eq!(text(whole.bytes).await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn partial_answer_with_status_200_is_read_as_a_part() {
    let server = WebServer::start(|head| {
        let part = String::from_utf8(hello(head, &[("etag", "\"v\"".to_owned())])).unwrap();
        part.replace("206 Partial Content", "200 OK").into_bytes()
    })
    .await;
    let file = open(&server.url);

    let Ok(Probe::Ranges { size: 5, version }) = file.probe().await else { panic!() };

    let read = file.read(1..3, &probed(5, version.as_deref())).await.unwrap();
    assert_eq!(text(read).await.unwrap(), b"el");
}

#[tokio::test]
async fn url_of_several_servers_is_read_by_the_probed_tag_or_time() {
    let requests = AtomicUsize::new(0);
    let old = || ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    for same_time in [true, false] {
        let server = WebServer::start({
            let n = AtomicUsize::new(0);
            move |head| {
                // Each third answer comes from the other one; the probe meets the first alone.
                let other = n.fetch_add(1, Ordering::Relaxed) % 3 == 2;
                let etag = ("etag", if other { "\"b\"" } else { "\"a\"" }.to_owned());
                let headers = if same_time { vec![etag, old()] } else { vec![etag] };
                hello(head, &headers)
            }
        })
        .await;
        let file = open(&server.url);
        let Ok(Probe::Ranges { version: Some(version), .. }) = file.probe().await else { panic!() };

        for _ in 0..4 {
            let read = file.read(1..3, &probed(5, Some(&version))).await.unwrap();
            assert_eq!(text(read).await.unwrap(), b"el");
        }
        requests.fetch_add(server.seen.lock().unwrap().len(), Ordering::Relaxed);
    }
    // Only where the time says nothing was anything asked for again.
    assert!(requests.into_inner() > 12);
}

#[tokio::test]
async fn server_with_useless_ranges_is_read_as_a_whole() {
    type Answer = fn(&str, (usize, usize), usize) -> Vec<u8>;
    fn ranged(range: &str, body: &[u8]) -> Vec<u8> {
        answer("206 Partial Content", &[("content-range", range.to_owned())], body)
    }
    let cases: [Answer; 13] = [
        |_, _, _| ranged("bytes 0-0/*", b"h"),
        |_, _, _| ranged("bytes 0-0/0", b"h"),
        |_, _, _| answer("206 Partial Content", &[], b"h"),
        |_, _, _| ranged("bytes 0-4/5", b"hello"),
        |_, _, _| answer("416 Range Not Satisfiable", &[], b""),
        |_, _, _| answer("400 Bad Request", &[], b""),
        |_, _, _| answer("403 Forbidden", &[], b""),
        |_, _, _| answer("501 Not Implemented", &[], b""),
        |_, _, _| answer("200 OK", &[("content-range", "bytes 0-0/*".to_owned())], b"h"),
        // It gives the first byte whatever it is asked for.
        |_, _, _| ranged("bytes 0-0/5", b"h"),
        |_, (from, _), _| match from {
            0 => ranged("bytes 0-0/5", b"h"),
            _ => answer("200 OK", &[], b"hello"),
        },
        |head, _, n| hello(head, &[("etag", format!("\"{n}\""))]),
        |head, _, _| hello(head, &[("content-encoding", "br".to_owned())]),
    ];
    for (case, odd) in cases.into_iter().enumerate() {
        let n = AtomicUsize::new(0);
        let server = WebServer::start(move |head| {
            let n = n.fetch_add(1, Ordering::Relaxed);
            match range(head) {
                Some(asked) => odd(head, asked, n),
                None => answer("200 OK", &[], b"hello"),
            }
        })
        .await;

        let Ok(Probe::Whole(whole)) = open(&server.url).probe().await else { panic!("{case}") };

        assert_eq!(text(whole.bytes).await.unwrap(), b"hello", "{case}");
    }
}

#[tokio::test]
async fn packed_answer_is_unpacked_or_refused_by_name() {
    let packed = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"hello").unwrap();
        encoder.finish().unwrap()
    };
    for (coding, good) in [("gzip", true), ("x-gzip", true), ("br", false), ("gzip, gzip", false)] {
        // With a range of the packed bytes, and without.
        for ranges in [true, false] {
            let packed = packed.clone();
            let server = WebServer::start(move |head| {
                let coding = ("content-encoding", coding.to_owned());
                match range(head).filter(|_| ranges) {
                    Some((from, to)) => {
                        let part = format!("bytes {from}-{to}/{}", packed.len());
                        let headers = [coding, ("content-range", part)];
                        answer("206 Partial Content", &headers, &packed[from..=to])
                    }
                    None => answer("200 OK", &[coding], &packed),
                }
            })
            .await;

            let probe = open(&server.url).probe().await;

            match (good, probe) {
                (true, Ok(Probe::Whole(Whole { size: None, end_is_told: true, bytes }))) => {
                    assert_eq!(text(bytes).await.unwrap(), b"hello");
                }
                (false, probe) => assert!(customer(probe.map(drop)).contains(coding)),
                (true, _) => panic!("{coding}"),
            }
        }
    }
}

#[tokio::test]
async fn answers_with_an_invalid_content_range_are_refused() {
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
    matches!(open(&server.url).read(0..1, &probed(5, None)).await, Err(Error::Customer(_)))
}

/// The text of what fails on a customer's server for now.
fn elsewhere<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Elsewhere(text)) => text,
        Err(error) => panic!("not a failure elsewhere: {error:?}"),
        Ok(_) => panic!("no error"),
    }
}

#[tokio::test]
async fn answers_of_the_wrong_length_fail_and_name_the_server() {
    for body in [&b"he"[..], b"hello world"] {
        let server = WebServer::start(move |_| {
            let header = ("content-range", "bytes 0-4/5".to_owned());
            answer("206 Partial Content", &[header], body)
        })
        .await;

        let read = open(&server.url).read(0..5, &probed(5, None)).await.unwrap();
        assert!(elsewhere(text(read).await).contains(&server.url));
    }
    // The connection ends before what was announced.
    let server = WebServer::start(|_| {
        b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-4/5\r\n\
          content-length: 5\r\n\r\nhel"
            .to_vec()
    })
    .await;
    let read = open(&server.url).read(0..5, &probed(5, None)).await.unwrap();
    assert!(elsewhere(text(read).await).contains("breaks off"));
}

#[tokio::test]
async fn whole_file_that_breaks_off_is_detected_if_its_end_is_known() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (answer, told, whole) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello".to_owned(), true, false),
        (chunked.to_owned(), true, false),
        (format!("{chunked}0\r\n\r\n"), true, true),
        ("HTTP/1.1 200 OK\r\n\r\nhello".to_owned(), false, true),
    ] {
        let sent = answer.clone();
        let server = WebServer::start(move |_| sent.clone().into_bytes()).await;

        let Ok(Probe::Whole(found)) = open(&server.url).probe().await else { panic!("{answer}") };

        assert_eq!(found.end_is_told, told, "{answer}");
        let read = text(found.bytes).await;
        assert_eq!(read.is_ok(), whole, "{answer}");
        if !whole {
            assert!(elsewhere(read).contains("breaks off"));
        }
    }
}

#[tokio::test]
async fn huge_headers_and_noise_end_the_request() {
    let huge = answer("200 OK", &[("x", "y".repeat(8 << 20))], b"hello");
    let many = answer("200 OK", &vec![("x", "y".to_owned()); 10_000], b"hello");
    for bytes in [huge, many, b"\0\0\0\0\r\n\r\n".to_vec(), Vec::new()] {
        let server = WebServer::start(move |_| bytes.clone()).await;

        assert!(elsewhere(open(&server.url).probe().await).contains(&server.url));
    }
}

#[tokio::test]
async fn unreachable_server_is_named_without_secrets() {
    // Nobody listens there any more.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let file = open(&format!("http://user:hidden@{port}/a?signature=hidden"));

    let text = elsewhere(file.probe().await);

    assert!(text.contains(&format!("http://{port}/a")) && text.contains("refused"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

#[tokio::test]
async fn refusals_name_the_responsible_party_and_keep_secrets() {
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
async fn password_is_sent_and_not_forwarded_to_another_host() {
    let other = WebServer::with_ranges(b"hello".to_vec()).await;
    let target = other.url.replace("127.0.0.1", "localhost");
    let server =
        WebServer::start(move |_| answer("302 Found", &[("location", target.clone())], b"")).await;

    let file = with_password(&server.url);
    assert!(matches!(file.probe().await, Ok(Probe::Ranges { size: 5, .. })));

    let first = server.seen.lock().unwrap().concat();
    assert!(first.contains("authorization: Basic YW5uOnNlY3JldA=="), "{first}");
    let second = other.seen.lock().unwrap().concat();
    assert!(!second.contains("authorization"), "{second}");
}

fn with_password(url: &str) -> WebFile {
    let basic = Some(("ann".to_owned(), "secret".to_owned()));
    let guard = Guard::new(true);
    WebFile::new(guard.client().unwrap(), guard, url, basic).unwrap()
}

#[tokio::test]
async fn password_follows_a_redirect_on_its_own_server() {
    let server = WebServer::start(|head| {
        if head.starts_with("GET /moved ") {
            answer("200 OK", &[], b"hello")
        } else {
            answer("302 Found", &[("location", "/moved".to_owned())], b"")
        }
    })
    .await;

    assert!(matches!(with_password(&server.url).probe().await, Ok(Probe::Whole(_))));

    let seen = server.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|head| head.contains("authorization: Basic ")), "{seen:?}");
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_spelling() {
    let server = WebServer::with_ranges(b"hello".to_vec()).await;
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let ports = ssrf_guard::Ports::new(&[port.parse().unwrap()]).unwrap();
    let strict = Guard::new(false).with_ports(ports);
    for host in ["127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let url = format!("http://{host}:{port}/x");
        assert!(customer(file(&url, strict).map(drop)).contains("private address"));
    }
    let named = file(&format!("http://localhost:{port}/x"), strict).unwrap();
    assert!(customer(named.probe().await.map(drop)).contains("private address"));
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn redirect_is_checked_at_each_hop() {
    let inside = WebServer::with_ranges(b"inside".to_vec()).await;
    for target in [
        inside.url.replace("127.0.0.1", "localhost"),
        "file:///etc/passwd".to_owned(),
        "ftp://example.com/x".to_owned(),
    ] {
        // The first hop may be private: what is checked here is the second one, by a resolver
        // that is strict, asked through a file whose guard is not.
        let server =
            WebServer::start(move |_| answer("302 Found", &[("location", target.clone())], b""))
                .await;
        let strict = Guard::new(false).client().unwrap();
        let file = WebFile::new(strict, Guard::new(true), &server.url, None).unwrap();

        assert!(matches!(file.probe().await, Err(Error::Customer(_))));
        assert_eq!(server.seen.lock().unwrap().len(), 1);
    }
    assert!(inside.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn redirect_to_a_forbidden_address_or_port_makes_no_request() {
    let inside = WebServer::with_ranges(b"inside".to_vec()).await;
    let open = Guard::new(true).client().unwrap();
    let file = WebFile::new(open, Guard::new(false), "http://host.example/", None).unwrap();
    for target in [inside.url.as_str(), "http://169.254.169.254/", "http://1.1.1.1:22/"] {
        let hop = file.request_once(&target.parse().unwrap(), Some(&(0..1))).await;

        assert!(matches!(hop, Err(Error::Customer(_))), "{target}");
    }
    assert!(inside.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn redirect_loop_ends() {
    let server =
        WebServer::start(|_| answer("302 Found", &[("location", "/again".into())], b"")).await;

    assert!(customer(open(&server.url).probe().await).contains("redirects too often"));
    assert_eq!(server.seen.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn address_outside_the_web_is_refused() {
    for url in ["", "x", "/etc/passwd", "file:///etc/passwd", "ftp://h/x", "http://"] {
        assert!(customer(file(url, Guard::new(true)).map(drop)).starts_with("url: "), "{url}");
    }
}
