//! The documents say the truth: links lead somewhere, the book has all pages, and the commands of
//! its guide and of its pages for operators work as they are written.

mod links;
mod page;
mod reader;
mod shown;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use harness::machine::python;
use harness::services::postgres::Postgres;
use harness::services::s3::S3;

use page::{Action, Page};
use reader::Reader;

/// The store of the pages, on the reader's own machine.
const STORE: &str = "127.0.0.1:9000";
const STORE_BUCKET: &str = "readings";
const STORE_KEYS: (&str, &str) = ("demo", "demo-secret");
/// The database of the pages.
const DATABASE: &str = "postgres://fanfold:secret@127.0.0.1/fanfold";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn read(page: &str) -> Result<(String, Page)> {
    let text = fs::read_to_string(docs().join(page)).with_context(|| page.to_owned())?;
    Ok((page.to_owned(), Page::read(&text).with_context(|| page.to_owned())?))
}

/// Follows a page as its reader does, after the pages that it names.
async fn follow(name: &str) -> Result<()> {
    if !python::is_possible() {
        return Ok(());
    }
    let page = read(name)?;
    let mut pages: Vec<_> = page.1.follows.iter().map(|name| read(name)).collect::<Result<_>>()?;
    pages.push(page);

    let mut reader = Reader::new()?;
    let store = STORE.replace("127.0.0.1", reader.address());
    let _store = S3::at(store.parse()?, STORE_BUCKET, STORE_KEYS).await?;
    let database = match uses(&pages, DATABASE) {
        true => match Postgres::create().await? {
            Some(database) => Some(database),
            None => return Ok(()),
        },
        false => None,
    };
    if let Some(database) = &database {
        reader.replace(DATABASE, &database.url());
    }
    let followed = reader.follow(&pages).await;
    if let Some(database) = database {
        database.remove().await?;
    }
    followed
}

/// Whether commands of the pages contain this.
fn uses(pages: &[(String, Page)], text: &str) -> bool {
    let mut steps = pages.iter().flat_map(|(_, page)| &page.steps);
    steps
        .any(|step| matches!(&step.action, Action::Run { commands, .. } if commands.contains(text)))
}

/// A test for each page.
macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        /// The pages that are followed.
        const FOLLOWED: &[&str] = &[$($page),*];

        $(
            #[tokio::test]
            async fn $name() -> Result<()> {
                follow($page).await
            }
        )*
    };
}

pages! {
    commands_of_the_readme_work: "../README.md",
    commands_of_the_start_page_work: "guide/start.md",
    commands_of_the_first_job_page_work: "guide/first-job.md",
    commands_of_the_own_job_page_work: "guide/own-job.md",
    commands_of_the_schedules_page_work: "guide/schedules.md",
    commands_of_the_workflows_page_work: "guide/workflows.md",
    commands_of_the_calls_page_work: "guide/calls.md",
    commands_of_the_containers_page_work: "guide/containers.md",
    commands_of_the_many_files_page_work: "guide/many-files.md",
    commands_of_the_second_node_page_work: "guide/second-node.md",
    commands_of_the_people_page_work: "guide/people.md",
    commands_of_the_cost_page_work: "guide/cost.md",
    commands_of_the_failures_page_work: "guide/failures.md",
    commands_of_the_guides_backup_page_work: "guide/backup.md",
    commands_of_the_production_page_work: "guide/production.md",
    commands_of_the_service_page_work: "operations/run-as-a-service.md",
    commands_of_the_backup_page_work: "operations/backup.md",
    commands_of_the_upgrade_page_work: "operations/upgrade.md",
    commands_of_the_key_rotation_page_work: "operations/key-rotation.md",
}

#[test]
fn pages_with_commands_are_all_followed() -> Result<()> {
    for folder in ["guide", "operations"] {
        for entry in fs::read_dir(docs().join(folder))? {
            let name = entry?.file_name().into_string().ok().context("a plain name")?;
            if !name.ends_with(".md") {
                continue;
            }
            let (name, page) = read(&format!("{folder}/{name}"))?;
            ensure!(
                page.steps.is_empty() || FOLLOWED.contains(&name.as_str()),
                "{name} has commands and no test in tests/it/documents/docs.rs"
            );
        }
    }
    Ok(())
}
