//! A small blob store as Azure has it, on loopback: one account, one container, `data`. It checks
//! the signatures of requests and links by Azure's documentation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::data::location::{Cloud, Provider};
use common::digest::Digest;
use common::secret::SecretId;
use ring::hmac;
use url::Url;

use super::{WebServer, answer};
use crate::secrets::KeyPair;

const ACCOUNT: &str = "acc1";
const KEY: &[u8] = b"very secret";
const DAY: &str = "Sun, 22 Nov 2026 12:00:00 GMT";

pub struct AzureServer {
    pub web: WebServer,
    blobs: Arc<Mutex<Blobs>>,
}

#[derive(Default)]
struct Blobs {
    whole: BTreeMap<String, Vec<u8>>,
    /// By blob and block.
    blocks: BTreeMap<(String, String), Vec<u8>>,
}

impl AzureServer {
    pub async fn start() -> Self {
        let blobs: Arc<Mutex<Blobs>> = Arc::default();
        let held = blobs.clone();
        let web = WebServer::start_with_bodies(move |head, body| {
            let request = Request::read(head);
            if !request.is_signed() {
                return answer("403 Forbidden", &[], b"<Error><Code>Auth</Code></Error>");
            }
            request.answer(&mut held.lock().unwrap(), body)
        })
        .await;
        Self { web, blobs }
    }

    pub fn keys() -> KeyPair {
        KeyPair { access_key: ACCOUNT.into(), secret_key: STANDARD.encode(KEY) }
    }

    pub fn cloud(&self) -> Cloud {
        Cloud {
            provider: Provider::Azure { account: None },
            name: "data".into(),
            endpoint: Some(format!("{}/{ACCOUNT}", self.web.url)),
            secret: SecretId::named("its-id").ok(),
        }
    }

    pub fn write(&self, key: &str, bytes: &[u8]) {
        self.blobs().whole.insert(key.to_owned(), bytes.to_vec());
    }

    pub fn read(&self, key: &str) -> Option<Vec<u8>> {
        self.blobs().whole.get(key).cloned()
    }

    fn blobs(&self) -> MutexGuard<'_, Blobs> {
        self.blobs.lock().unwrap()
    }
}

struct Request {
    method: String,
    url: Url,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn read(head: &str) -> Self {
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ');
        let method = first.next().unwrap().to_owned();
        let url = format!("http://host{}", first.next().unwrap()).parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { method, url, headers: headers.collect() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn query(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn is_signed(&self) -> bool {
        let sign = |text: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
            STANDARD.encode(hmac::sign(&key, text.as_bytes()))
        };
        match self.query("sig") {
            Some(signature) => self.method == "GET" && sign(&self.link_text()) == signature,
            None => {
                let signature = format!("SharedKey {ACCOUNT}:{}", sign(&self.text()));
                self.header("authorization") == signature
            }
        }
    }

    /// What the signature of a request is over.
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.method);
        for name in [
            "content-encoding",
            "content-language",
            "content-length",
            "content-md5",
            "content-type",
            "date",
            "if-modified-since",
            "if-match",
            "if-none-match",
            "if-unmodified-since",
            "range",
        ] {
            let value = self.header(name);
            let value = if name == "content-length" && value == "0" { "" } else { value };
            text += &format!("{value}\n");
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
            text += &format!("{name}:{value}\n");
        }
        text += &format!("/{ACCOUNT}{}", self.url.path());
        let query: BTreeMap<_, _> = self.url.query_pairs().collect();
        for (name, value) in query {
            text += &format!("\n{name}:{value}");
        }
        text
    }

    /// What the signature of a link is over.
    fn link_text(&self) -> String {
        let part = |name: &str| self.query(name).unwrap_or_default();
        let path = percent_encoding::percent_decode_str(self.url.path()).decode_utf8_lossy();
        let mut fields = vec![part("sp"), part("st"), part("se"), format!("/blob{path}")];
        fields.extend(vec![String::new(); 3]);
        fields.extend([part("sv"), part("sr")]);
        fields.extend(vec![String::new(); 7]);
        fields.join("\n")
    }

    fn answer(&self, blobs: &mut Blobs, body: &[u8]) -> Vec<u8> {
        let key = self.url.path().trim_start_matches("/acc1/data").trim_start_matches('/');
        let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
        let etag = |bytes: &[u8]| Digest::of(bytes).to_string()[..16].to_owned();
        let stored = |bytes: &[u8]| {
            let headers = [("etag", format!("\"{}\"", etag(bytes)))];
            answer("201 Created", &headers, b"")
        };
        match (self.method.as_str(), self.query("comp").as_deref()) {
            ("PUT", Some("block")) => {
                blobs.blocks.insert((key, self.query("blockid").unwrap()), body.to_vec());
                stored(body)
            }
            ("PUT", Some("blocklist")) => {
                let list = String::from_utf8(body.to_vec()).unwrap();
                let ids = list.split("<Uncommitted>").skip(1);
                let ids = ids.filter_map(|part| part.split_once('<')).map(|(id, _)| id);
                let blocks = ids.map(|id| &blobs.blocks[&(key.clone(), id.to_owned())]);
                let whole: Vec<u8> = blocks.flatten().copied().collect();
                let stored = stored(&whole);
                blobs.whole.insert(key, whole);
                stored
            }
            ("PUT", None) => {
                blobs.whole.insert(key, body.to_vec());
                stored(body)
            }
            ("GET", Some("list")) => {
                let prefix = self.query("prefix").unwrap_or_default();
                let found = blobs.whole.iter().filter(|(key, _)| key.starts_with(&prefix));
                let entry = |(key, bytes): (&String, &Vec<u8>)| {
                    format!(
                        "<Blob><Name>{key}</Name><Properties><Last-Modified>{DAY}</Last-Modified>\
                         <Content-Length>{}</Content-Length><Content-Type>x</Content-Type>\
                         <Etag>{}</Etag></Properties></Blob>",
                        bytes.len(),
                        etag(bytes)
                    )
                };
                let entries: String = found.map(entry).collect();
                let xml = format!(
                    "<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>"
                );
                answer("200 OK", &[], xml.as_bytes())
            }
            _ => {
                let Some(bytes) = blobs.whole.get(&key) else {
                    return answer("404 Not Found", &[], b"");
                };
                let etag = format!("\"{}\"", etag(bytes));
                if !["", etag.as_str()].contains(&self.header("if-match")) {
                    return answer("412 Precondition Failed", &[], b"");
                }
                let headers = [("etag", etag), ("last-modified", DAY.to_owned())];
                let range = [self.header("range"), self.header("x-ms-range")].concat();
                let Some((from, to)) = super::range(&format!("range: {range}")) else {
                    return answer("200 OK", &headers, bytes);
                };
                let to = to.min(bytes.len() - 1);
                let range = format!("bytes {from}-{to}/{}", bytes.len());
                let [etag, day] = headers;
                let headers = [etag, day, ("content-range", range)];
                answer("206 Partial Content", &headers, &bytes[from..=to])
            }
        }
    }
}
