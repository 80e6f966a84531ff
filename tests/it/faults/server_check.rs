//! `fanfold server check` finds one damaged thing at a time, and says which and what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::jobs::main_job::{push_word_count, sample, word_count};
use harness::client::{COMPLETE, Client};
use harness::machine::process::fanfold;
use harness::market::{Market, Shape};
use harness::package::Package;

/// A kind of damage, and the parts of the one line that it gives.
type Case = (&'static str, fn(&Path) -> Result<()>, &'static [&'static str]);

/// A file somewhere below a folder of the bucket.
fn object(folder: &Path, below: &str) -> Result<PathBuf> {
    let mut path = folder.join("bucket").join(below);
    while path.is_dir() {
        let entries = fs::read_dir(&path)?.collect::<Result<Vec<_>, _>>()?;
        path = entries.iter().map(fs::DirEntry::path).min().context(path.display().to_string())?;
    }
    Ok(path)
}

fn change(file: &Path, how: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = fs::read(file)?;
    how(&mut bytes);
    Ok(fs::write(file, bytes)?)
}

/// Changes one bit in the middle of an object.
fn spoil(folder: &Path, below: &str) -> Result<()> {
    change(&object(folder, below)?, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    })
}

fn sql(folder: &Path, statement: &str) -> Result<String> {
    let output =
        Command::new("sqlite3").arg(folder.join("fanfold.sqlite")).arg(statement).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "sqlite3: {said}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The path of the one result in the bucket. The other one is small, and lies in the database.
fn results(folder: &Path) -> Result<String> {
    let path = sql(folder, "SELECT blob FROM results ORDER BY size DESC LIMIT 1")?;
    ensure!(!path.is_empty(), "no results");
    Ok(path)
}

const CASES: &[Case] = &[
    (
        "a bit of an upload",
        |folder| spoil(folder, "uploads"),
        &["bucket\tuploads/", "its bytes are not those that were stored", "upload it again"],
    ),
    (
        "half of an upload",
        |folder| {
            let file = object(folder, "uploads")?;
            change(&file, |bytes| bytes.truncate(bytes.len() / 2))
        },
        &["bucket\tuploads/", " bytes and must have ", "upload it again"],
    ),
    (
        "a missing upload",
        |folder| Ok(fs::remove_file(object(folder, "uploads")?)?),
        &["bucket\tuploads/", "it is missing", "upload it again"],
    ),
    (
        "a bit of a result",
        |folder| spoil(folder, &results(folder)?),
        &["bucket\truns/", "its bytes are not those that were stored", "run the job again"],
    ),
    (
        "a missing result",
        |folder| Ok(fs::remove_file(folder.join("bucket").join(results(folder)?))?),
        &["bucket\truns/", "it is missing", "run the job again"],
    ),
    (
        "a byte of a small result",
        |folder| {
            let start = "substr(contents, 1, length(contents) - 1)";
            let spoil = format!("UPDATE small_results SET contents = CAST({start} || 'X' AS BLOB)");
            sql(folder, &spoil).map(drop)
        },
        &["small_results\t", "its bytes are not those that were stored", "run the job again"],
    ),
    (
        "a missing small result",
        |folder| sql(folder, "DELETE FROM small_results").map(drop),
        &["bucket\truns/", "it is missing", "run the job again"],
    ),
    (
        "a bit of a package",
        |folder| spoil(folder, "packages"),
        &["bucket\tpackages/", "its bytes are not those that were stored", "push it again"],
    ),
    (
        "a missing package",
        |folder| Ok(fs::remove_file(object(folder, "packages")?)?),
        &["bucket\tpackages/", "it is missing", "push it again"],
    ),
    (
        "a bit of an image",
        |folder| spoil(folder, "images"),
        &["bucket\timages/", "its bytes are not those that were stored", "fanfold image push"],
    ),
    (
        "a sealed secret",
        |folder| {
            sql(folder, "UPDATE secrets SET sealed = randomblob(60) WHERE id = 'one'").map(drop)
        },
        &["secrets\t", "/one\t", "does not open under the master keys", "store it again"],
    ),
    (
        "the master keys",
        |folder| {
            change(&folder.join("keys/master.keys"), |bytes| {
                bytes[10] = if bytes[10] == b'0' { b'1' } else { b'0' };
            })
        },
        &["keys\t", "master.keys", "no stored secret opens"],
    ),
    (
        "an amount of the ledger",
        |folder| sql(folder, "UPDATE statement_lines SET balance = balance + 1").map(drop),
        &["books\t", "rows contradict it", "docs/operations/backup.md"],
    ),
    (
        "a row that cannot be read",
        |folder| sql(folder, "UPDATE jobs SET config = '{'").map(drop),
        &["jobs\t", "EOF while parsing", "restore a backup or delete the row"],
    ),
    (
        "an index that does not fit its table",
        |folder| {
            sql(folder, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_by_age'";
            let root: usize = sql(folder, root)?.parse()?;
            change(&folder.join("fanfold.sqlite"), |bytes| bytes[root * 4096 - 1] ^= 1)
        },
        &["database\tpages\t", "index", "docs/operations/backup.md"],
    ),
];

fn check(folder: &Path) -> Result<Output> {
    let mut command = Command::new(fanfold()?);
    Ok(command.args(["server", "check"]).env("FANFOLD_DATA_DIR", folder).output()?)
}

/// Runs with a small and a large result, a draft with a file, an image, packages and secrets.
async fn use_it(client: &Client) -> Result<()> {
    push_word_count(client).await?;
    let input = sample(100);
    let id = client.start(word_count(input.len()), Some(input.as_bytes())).await?;
    client.reached(&id, COMPLETE).await?;
    let copy = r#"cp "$TASK_DIR/data.bin" "$TASK_RESULTS_DIR/copy.txt""#;
    client.push(&Package::app("copy", copy)).await?;
    client.template("lines", "copy", "passthrough").await?;
    let large = sample(1_000);
    let mut order = word_count(large.len());
    order["templateId"] = json!("copy");
    let id = client.start(order, Some(large.as_bytes())).await?;
    client.reached(&id, COMPLETE).await?;
    let draft = client.create(word_count(input.len())).await?;
    client.upload(&draft, input.into_bytes()).await?;
    for id in ["one", "two"] {
        let secret = json!({"secret": {"id": id, "secretType": "other"}, "secretKey": "hush"});
        client.post("/v1/auth/secrets", secret).await?;
    }
    Ok(())
}

#[tokio::test]
async fn server_check_names_each_damaged_thing_and_exits_with_its_code() -> Result<()> {
    Market::open(Shape::nodes(1), async |market, client| {
        use_it(&client).await?;
        market.kill_server()?;
        let intact = check(&market.server_folder())?;
        ensure!(intact.status.code() == Some(0), "{intact:?}");

        let copies = TempDir::new()?;
        for (n, (name, damage, says)) in CASES.iter().enumerate() {
            let folder = copies.path().join(n.to_string());
            let from = market.server_folder();
            let copied = Command::new("cp").arg("-a").arg(from).arg(&folder).status()?;
            ensure!(copied.success(), "cp");
            damage(&folder).with_context(|| (*name).to_owned())?;

            let output = check(&folder)?;

            let text = String::from_utf8(output.stdout)?;
            ensure!(output.status.code() == Some(1), "{name}: {} {text}", output.status);
            let found = |line: &str| says.iter().all(|part| line.contains(part));
            ensure!(text.lines().any(found), "{name}: {text}");
        }
        market.start_server().await
    })
    .await
}
