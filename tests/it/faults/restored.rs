//! A copy of the data folder takes the place of the original: every run and every upload goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::faults::durability::{at_work, push_slow_word_count, slow_word_count};
use crate::jobs::main_job::{counted, sample};
use harness::client::{COMPLETE, Client};
use harness::market::{Market, Shape};

const GUIDE: &str = include_str!("../../../docs/operations/backup.md");
/// Where the copy lies until it is put back, beside the server's folder.
const BACKUP: &str = "backup";

/// Runs a command that must succeed, and gives its output.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Copies the folder of a running server with the very commands of the guide.
fn copy_as_the_guide_says(data: &Path) -> Result<()> {
    let (_, block) = GUIDE.split_once("```sh\n").context("a block of commands")?;
    let (commands, _) = block.split_once("```").context("its end")?;
    let (variables, commands) = commands.split_once('\n').context("variables first")?;
    ensure!(variables.starts_with("DATA=") && variables.contains(" BACKUP="), "{variables}");
    let mut shell = Command::new("sh");
    shell.args(["-ec", commands]).current_dir(data.parent().context("a folder around")?);
    run(shell.env("DATA", data).env("BACKUP", data.with_file_name(BACKUP)))?;
    Ok(())
}

fn copy_of_a_stopped_server(data: &Path) -> Result<()> {
    run(Command::new("cp").arg("-a").arg(data).arg(data.with_file_name(BACKUP)))?;
    Ok(())
}

/// Puts the copy in the place of the original, which is gone.
fn put_back(data: &Path) -> Result<()> {
    fs::remove_dir_all(data)?;
    Ok(fs::rename(data.with_file_name(BACKUP), data)?)
}

fn sql(data: &Path, statement: &str) -> Result<String> {
    run(Command::new("sqlite3").arg(data.join("fanfold.sqlite")).arg(statement))
}

/// Makes everything in the database a day older. Lines of statements are hashed with their times.
fn age_by_a_day(data: &Path) -> Result<()> {
    let updates = "SELECT 'UPDATE ' || t.name || ' SET ' || c.name || ' = ' || c.name || \
                   ' - 86400000000;' FROM sqlite_schema t, pragma_table_info(t.name) c \
                   WHERE t.type = 'table' AND c.name LIKE '%\\_us' ESCAPE '\\' \
                   AND t.name <> 'statement_lines'";
    let updates = sql(data, updates)?;
    ensure!(updates.lines().count() > 20, "{updates}");
    sql(data, &updates)?;
    Ok(())
}

/// What was there before the copy: a run under way, a file that waits for its run, and results.
struct Before {
    running: String,
    draft: String,
    done: String,
}

const RUNNING: usize = 240;
const DRAFT: usize = 80;
const DONE: usize = 40;

impl Before {
    async fn make(client: &Client) -> Result<Self> {
        push_slow_word_count(client).await?;
        let done = client.start(slow_word_count(), Some(sample(DONE).as_bytes())).await?;
        client.reached(&done, COMPLETE).await?;
        let draft = client.create(slow_word_count()).await?;
        client.upload(&draft, sample(DRAFT).into_bytes()).await?;
        let running = client.start(slow_word_count(), Some(sample(RUNNING).as_bytes())).await?;
        at_work(client, &running, "JOB_STATE_PARTITIONED").await?;
        Ok(Self { running, draft, done })
    }

    async fn goes_on(&self, client: &Client) -> Result<()> {
        client.run(&self.draft).await?;
        let jobs = [(&self.running, RUNNING), (&self.draft, DRAFT), (&self.done, DONE)];
        for (id, lines) in jobs {
            client.reached(id, COMPLETE).await?;
            assert_eq!(client.results(id).await?["total.txt"], counted(&sample(lines)));
        }
        let balance = client.balance().await?;
        assert_eq!(balance.total, balance.available);
        let paid = client.lines().await?.iter().filter(|line| line.units < 0).count();
        assert_eq!(paid, 3, "each run once");
        let books = client.get("/v1/wallet/reconciliation").await?;
        ensure!(books["differences"] == 0, "{books}");
        Ok(())
    }
}

#[tokio::test]
async fn copy_of_a_running_server_continues_every_run_and_upload() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        let before = Before::make(&client).await?;

        copy_as_the_guide_says(&market.server_folder())?;
        // What is done from now on is lost with the original.
        client.create(slow_word_count()).await?;
        market.kill_server()?;
        put_back(&market.server_folder())?;
        market.start_server().await?;

        before.goes_on(&market.client().await?).await
    })
    .await
}

#[tokio::test]
async fn copy_restored_after_a_day_continues_every_run_and_upload() -> Result<()> {
    Market::open(Shape::nodes(2), async |market, client| {
        let before = Before::make(&client).await?;

        market.kill_server()?;
        copy_of_a_stopped_server(&market.server_folder())?;
        put_back(&market.server_folder())?;
        age_by_a_day(&market.server_folder())?;
        market.start_server().await?;

        before.goes_on(&market.client().await?).await
    })
    .await
}
