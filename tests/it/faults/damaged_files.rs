//! One damaged file of a server's folder at a time: the server names it and says what to do, or it
//! does not matter.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use harness::client::Client;
use harness::machine::process::Process;
use harness::market::{Market, Shape};
use harness::package::Package;
use harness::wait::until_for;

/// What a start on a damaged folder must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Refused,
    /// It serves, and its log says what is wrong.
    Warned,
    /// It serves, and nothing is lost.
    Fine,
}

/// A kind of damage, and what is said of it.
struct Case {
    name: &'static str,
    damage: fn(&Path) -> Result<()>,
    start: Start,
    says: &'static [&'static str],
}

const DOCS: &str = "docs/operations/backup.md";
const PAGE: usize = 4096;

fn change(file: &Path, how: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = fs::read(file).with_context(|| file.display().to_string())?;
    how(&mut bytes);
    Ok(fs::write(file, bytes)?)
}

fn flip(file: &Path, at: usize, mask: u8) -> Result<()> {
    change(file, |bytes| bytes[at] ^= mask)
}

fn database(folder: &Path) -> PathBuf {
    folder.join("fanfold.sqlite")
}

fn wal(folder: &Path) -> PathBuf {
    folder.join("fanfold.sqlite-wal")
}

/// Runs SQL on the database with the tool that comes with SQLite.
fn sql(folder: &Path, statement: &str) -> Result<String> {
    let output =
        std::process::Command::new("sqlite3").arg(database(folder)).arg(statement).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "sqlite3: {said}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Damages the type of a table's first page, in a database without a log.
fn page_of(folder: &Path, table: &str) -> Result<()> {
    sql(folder, "PRAGMA wal_checkpoint(TRUNCATE)")?;
    let root = sql(folder, &format!("SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"))?;
    let root: usize = root.parse()?;
    flip(&database(folder), (root - 1) * PAGE, 0x40)
}

/// Of a server that was killed: its database is in the log.
const CASES: &[Case] = &[
    Case { name: "nothing", damage: |_| Ok(()), start: Start::Fine, says: &[] },
    Case {
        name: "a bit in the middle of the log",
        damage: |folder| {
            let at = fs::metadata(wal(folder))?.len() / 2;
            flip(&wal(folder), usize::try_from(at)?, 1)
        },
        start: Start::Refused,
        says: &["fanfold.sqlite-wal is damaged", "transactions behind", DOCS],
    },
    Case {
        name: "the header of the log",
        damage: |folder| flip(&wal(folder), 17, 1),
        start: Start::Refused,
        says: &["fanfold.sqlite-wal is damaged", DOCS],
    },
    Case {
        name: "a log without its end",
        damage: |folder| change(&wal(folder), |bytes| bytes.truncate(32 + (bytes.len() - 32) / 2)),
        start: Start::Refused,
        says: &["the database ends at batch", "last-batch", DOCS],
    },
    Case {
        name: "a deleted log",
        damage: |folder| Ok(fs::remove_file(wal(folder))?),
        start: Start::Refused,
        says: &["the database ends at batch 0", "last-batch", DOCS],
    },
    Case {
        name: "the shared memory of the log",
        damage: |folder| Ok(fs::write(folder.join("fanfold.sqlite-shm"), [7; 40_000])?),
        start: Start::Fine,
        says: &[],
    },
    Case {
        name: "the last batch",
        damage: |folder| flip(&folder.join("last-batch"), 0, 1),
        start: Start::Warned,
        says: &["last-batch", "damaged"],
    },
    Case {
        name: "the magic of the database",
        damage: |folder| {
            sql(folder, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            flip(&database(folder), 3, 1)
        },
        start: Start::Refused,
        says: &["fanfold.sqlite is damaged", "not a database", DOCS],
    },
    Case {
        name: "the write version of the database",
        damage: |folder| {
            sql(folder, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            flip(&database(folder), 18, 0x40)
        },
        start: Start::Refused,
        says: &["fanfold.sqlite cannot be written", "its header is damaged"],
    },
    Case {
        name: "a page of the schema",
        damage: |folder| {
            sql(folder, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            flip(&database(folder), 100, 0x40)
        },
        start: Start::Refused,
        says: &["fanfold.sqlite is damaged", DOCS],
    },
    Case {
        name: "a page of jobs",
        damage: |folder| page_of(folder, "jobs"),
        start: Start::Refused,
        says: &["fanfold.sqlite is damaged", "table jobs", DOCS],
    },
    Case {
        name: "a page of tasks",
        damage: |folder| page_of(folder, "tasks"),
        start: Start::Refused,
        says: &["fanfold.sqlite is damaged", "table tasks", DOCS],
    },
    Case {
        name: "a page of the migrations",
        damage: |folder| page_of(folder, "seaql_migrations"),
        start: Start::Refused,
        says: &["fanfold.sqlite is damaged", "table seaql_migrations", DOCS],
    },
    Case {
        name: "an amount of the ledger",
        damage: |folder| sql(folder, "UPDATE accounts SET units = units + 1").map(drop),
        start: Start::Warned,
        says: &["the books do not add up", DOCS],
    },
    Case {
        name: "a missing master key",
        damage: |folder| Ok(fs::remove_file(folder.join("keys/master.keys"))?),
        start: Start::Refused,
        says: &["keys/master.keys is missing", "put it back"],
    },
    Case {
        name: "a digit of the master key",
        damage: |folder| {
            change(&folder.join("keys/master.keys"), |bytes| {
                bytes[10] = if bytes[10] == b'0' { b'1' } else { b'0' };
            })
        },
        start: Start::Refused,
        says: &["keys/master.keys", "no stored secret opens", "Put the right one back"],
    },
    Case {
        name: "an empty key of the tokens",
        damage: |folder| Ok(fs::write(folder.join("keys/token.key"), "")?),
        start: Start::Refused,
        says: &["keys/token.key is damaged", "32 bytes"],
    },
    Case {
        name: "the server's identity",
        damage: |folder| flip(&folder.join("keys/p2p.key"), 1, 0x40),
        start: Start::Refused,
        says: &["keys/p2p.key holds no key that can be read", "restore it"],
    },
    Case {
        name: "the owner's API key",
        damage: |folder| {
            let file = folder.join("credentials.json");
            let mut credentials: Value = serde_json::from_slice(&fs::read(&file)?)?;
            credentials["apiKey"] = json!("not-a-key");
            Ok(fs::write(file, credentials.to_string())?)
        },
        start: Start::Warned,
        says: &["credentials.json", "the API key in this file was not issued by this server"],
    },
    Case {
        name: "empty credentials",
        damage: |folder| Ok(fs::write(folder.join("credentials.json"), "")?),
        start: Start::Refused,
        says: &["credentials.json", "is damaged"],
    },
];

/// The folder of a server that was killed with work behind it: jobs, a run, money and a secret.
async fn used(market: &mut Market, client: &Client) -> Result<Vec<String>> {
    client.push(&Package::app("app", "true")).await?;
    client.template("passthrough", "app", "passthrough").await?;
    let secret = json!({"secret": {"id": "s", "secretType": "other"}, "secretKey": "hush"});
    client.post("/v1/auth/secrets", secret).await?;
    let order = json!({
        "templateId": "app",
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
    });
    let mut jobs = Vec::new();
    for _ in 0..10 {
        jobs.push(client.start(order.clone(), None).await?);
    }
    market.kill_server()?;
    Ok(jobs)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp");
    Ok(())
}

/// Starts a server on a folder: whether it serves, and what it has written.
pub async fn started(folder: &Path) -> Result<(Option<Process>, String)> {
    let log = folder.with_extension("log");
    let env = [
        ("FANFOLD_DATA_DIR", folder.display().to_string()),
        ("FANFOLD_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("FANFOLD_P2P_LISTEN", "/ip4/127.0.0.1/tcp/0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let mut server = Process::start(&["server"], &env, &log)?;
    let ready = server.wrote(" is ready at ").await.is_ok();
    let said = fs::read_to_string(&log)?;
    Ok((ready.then_some(server), said))
}

async fn comes_to(case: &Case, folder: &Path, jobs: &[String]) -> Result<()> {
    let (server, said) = started(folder).await?;
    match case.start {
        Start::Refused => {
            ensure!(server.is_none(), "it serves:\n{said}");
            let last = said.lines().last().unwrap_or_default();
            ensure!(case.says.iter().all(|text| last.contains(text)), "{last}");
            ensure!(!said.contains("has died"), "{said}");
        }
        Start::Warned | Start::Fine => {
            let _server = server.with_context(|| said.clone())?;
            let log = folder.with_extension("log");
            until_for(Duration::from_secs(20), "its words", async || {
                let said = fs::read_to_string(&log)?;
                Ok(case.says.iter().all(|text| said.contains(text)).then_some(()))
            })
            .await?;
            if case.start == Start::Fine {
                let client = Client::sign_in(folder).await?;
                for id in jobs {
                    client.job(id).await?;
                }
                ensure!(!fs::read_to_string(&log)?.contains(" ERROR "), "{said}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn damaged_file_of_the_server_is_named_with_a_remedy() -> Result<()> {
    Market::open(Shape::nodes(0), async |market, client| {
        let jobs = used(market, &client).await?;
        let copies = TempDir::new()?;
        for (n, case) in CASES.iter().enumerate() {
            let folder = copies.path().join(n.to_string());
            copy(&market.server_folder(), &folder)?;
            (case.damage)(&folder).with_context(|| case.name)?;
            comes_to(case, &folder, &jobs).await.with_context(|| case.name)?;
        }
        market.start_server().await
    })
    .await
}

#[tokio::test]
async fn damaged_node_key_is_named_and_does_not_end_the_server() -> Result<()> {
    Market::open(Shape::up(2), async |market, client| {
        let key = market.server_folder().join("nodes/1/node.key");
        client.get("/v1/wallet/balance").await?;
        market.kill_server()?;
        for damage in [|bytes: &mut Vec<u8>| bytes.clear(), |bytes: &mut Vec<u8>| bytes.push(1)] {
            change(&key, damage)?;

            market.start_server().await?;
            let server = market.server()?;
            server.wrote("a node does not run").await?;
            server.wrote("nodes/1/node.key holds no key that can be read").await?;
            market.client().await?.get("/v1/wallet/balance").await?;
            market.kill_server()?;
        }
        market.start_server().await
    })
    .await
}
