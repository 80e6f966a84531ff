//! Trying a data source before a job needs it: is it there, and what is in it?

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::work::{DATA, read_source};
use crate::api::http::call::Call;
use crate::api::http::route::{Route, post};
use crate::api::http::shape::{Field, flag, one};
use crate::error::{Error, Result};
use crate::jobs::draft::probe::{Listed, Looked, LookedKind, probe};

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_TestDataSource", "/datasource/test", test)
            .summary("Tests a data source without reading its data")
            .body(TEST),
        post("Customer_TestDataSource2023", "/jobs/datasource/info", test)
            .summary("Tests a data source without reading its data")
            .body(TEST)
            .deprecated(),
    ]
}

const TEST: &[Field] =
    &[one("dataSource", &DATA, "").required(), flag("listFiles", "Lists the files of a folder")];

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LookedOut {
    filename: String,
    path: String,
    size: String,
    properties: BTreeMap<&'static str, String>,
    temp_url: &'static str,
    files: Option<Directory>,
}

#[derive(Serialize, Default, ToSchema)]
struct Directory {
    name: String,
    path: String,
    #[schema(no_recursion)]
    directories: Vec<Directory>,
    files: Vec<FileOut>,
}

#[derive(Serialize, ToSchema)]
struct FileOut {
    id: String,
    name: String,
    path: String,
    size: String,
}

/// Reads a source's outline with the keys that are given, or with the secret that it names.
async fn test(mut call: Call) -> Result<LookedOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let list = body.flag("listFiles")?.unwrap_or(false);
    let Some(source) = body.object("dataSource")? else {
        return Err(Error::field("dataSource", "is missing"));
    };
    body.finish()?;
    let source = read_source(source)?;
    call.state().source_tests.take(&caller.workspace.to_string())?;
    Ok(LookedOut::new(probe(call.app(), &caller, source).await?, list))
}

impl LookedOut {
    fn new(looked: Looked, list: bool) -> Self {
        let kind = match looked.kind {
            LookedKind::File => "file",
            LookedKind::Files { .. } => "files",
        };
        let mut properties = BTreeMap::from([("type", kind.to_owned())]);
        if let LookedKind::Files { more } = looked.kind {
            properties.insert("files", looked.files.len().to_string());
            if more {
                properties.insert("more", "there is more than could be listed".to_owned());
            }
        }
        Self {
            filename: looked.name,
            path: looked.path,
            size: looked.size.unwrap_or(0).to_string(),
            properties,
            temp_url: "",
            files: list.then(|| tree(looked.files)),
        }
    }
}

/// Paths as folders in folders.
fn tree(files: Vec<Listed>) -> Directory {
    let mut root = Directory::default();
    for file in files {
        let mut folder = &mut root;
        let mut parts: Vec<&str> = file.path.split('/').filter(|part| !part.is_empty()).collect();
        let Some(name) = parts.pop() else { continue };
        for part in parts {
            let path = format!("{}{part}/", folder.path);
            // Listings are sorted: a folder's files follow one another.
            if folder.directories.last().is_none_or(|last| last.name != part) {
                let new = Directory { name: part.to_owned(), path, ..Directory::default() };
                folder.directories.push(new);
            }
            folder = folder.directories.last_mut().expect("it has just been made sure of");
        }
        folder.files.push(FileOut {
            id: file.path.clone(),
            name: name.to_owned(),
            size: file.size.to_string(),
            path: file.path,
        });
    }
    root
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::testing::TestServer;
    use crate::data::testing::{S3Server, WebServer, answer};

    #[tokio::test]
    async fn bucket_is_tested_and_listed_in_folders() {
        let server = TestServer::open().await;
        let remote = S3Server::start().await;
        for (path, bytes) in [("in/a.txt", "12345"), ("in/deep/b.txt", "1"), ("other.txt", "")] {
            remote.write(path, bytes.as_bytes());
        }
        let keys = S3Server::keys();
        let source = |name: &str, secret: &str| {
            json!({"dataSourceDescriptor": "s3", "params": {"name": name, "bucketName": "main",
                   "cloudRegion": "us-east-1", "endpoint": remote.endpoint,
                   "accessKey": keys.access_key, "secretKey": secret}})
        };
        let ask = async |name: &str, secret: &str, list: bool| {
            let body = json!({"dataSource": source(name, secret), "listFiles": list});
            server.post("/v1/customer/datasource/test", body).await
        };

        let (status, file) = ask("in/a.txt", &keys.secret_key, false).await;
        let (_, folder) = ask("/in/", &keys.secret_key, true).await;

        assert_eq!((status, &file["filename"], &file["size"]), (200, &json!("a.txt"), &json!("5")));
        assert_eq!(file["files"], Value::Null);
        let listed = &folder["files"]["directories"][0];
        assert_eq!((&listed["name"], &listed["path"]), (&json!("in"), &json!("in/")));
        assert_eq!(listed["files"][0]["path"], "in/a.txt");
        assert_eq!(listed["directories"][0]["files"][0]["name"], "b.txt");
        assert_eq!(folder["files"]["files"], json!([]));
        assert_eq!((&folder["size"], &folder["filename"]), (&json!("6"), &json!("in")));
        assert_eq!(folder["properties"], json!({"type": "files", "files": "2"}));
        let (_, matched) = ask("**/[ab].txt", &keys.secret_key, true).await;
        assert_eq!(matched["files"], folder["files"]);
        let (status, body) = ask("nothing", &keys.secret_key, true).await;
        assert_eq!((status, body["code"].as_i64()), (400, Some(3)), "{body}");
        let (status, body) = ask("in/a.txt", "wrong", false).await;
        assert_eq!(status, 400, "{body}");
        assert!(!body.to_string().contains("wrong"));
    }

    #[tokio::test]
    async fn url_is_tested_and_invalid_sources_are_refused() {
        let server = TestServer::open().await;
        let remote = WebServer::with_ranges(b"0123456789".to_vec()).await;
        let test = async |source: Value| {
            server.post("/v1/customer/datasource/test", json!({ "dataSource": source })).await
        };
        let url = format!("{}/data/in.csv", remote.url);

        let source = json!({"dataSourceDescriptor": "url", "params": {"url": url}});
        let (status, body) = test(source).await;

        assert_eq!(
            (status, &body["filename"], &body["size"]),
            (200, &json!("in.csv"), &json!("10"))
        );
        assert_eq!(test(json!({"dataSourceDescriptor": "bypass"})).await.0, 200);
        let (status, body) = test(json!({"dataSourceDescriptor": "file"})).await;
        assert_eq!(status, 400, "{body}");
        let secret = json!({"dataSourceDescriptor": "url",
                            "params": {"url": url, "secret_id": "nope"}});
        assert_eq!(test(secret).await.0, 400);
        assert_eq!(server.post("/v1/customer/datasource/test", json!({})).await.0, 400);
    }

    #[tokio::test]
    async fn closed_port_and_other_server_have_the_same_answer() {
        let server = TestServer::open().await;
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let ssh = WebServer::start(|_| b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()).await;
        let mute = WebServer::start(|_| Vec::new()).await;
        let busy = WebServer::start(|_| answer("503 Service Unavailable", &[], b"")).await;

        for url in [&closed, &ssh.url, &mute.url, &busy.url] {
            let source = json!({"dataSourceDescriptor": "url", "params": {"url": url}});
            let test = json!({"dataSource": source});
            let (status, body) = server.post("/v1/customer/datasource/test", test).await;

            let what = "dataSource: its server cannot be reached, or does not answer as it \
                        should: check the address, and try again";
            assert_eq!((status, body["message"].as_str()), (400, Some(what)), "{url}");
        }
    }

    #[tokio::test]
    async fn source_tests_of_a_workspace_are_limited_per_minute() {
        let server = TestServer::open().await;
        let test = json!({"dataSource": {"dataSourceDescriptor": "bypass"}});
        let path = "/v1/customer/datasource/test";

        for _ in 0..60 {
            assert_eq!(server.post(path, test.clone()).await.0, 200);
        }

        let (status, body) = server.post(path, test.clone()).await;
        assert_eq!(status, 429, "{body}");
        let stranger = server.stranger().await;
        let method = reqwest::Method::POST;
        assert_eq!(server.call_as(&stranger, method, path, Some(test)).await.0, 200);
    }
}
