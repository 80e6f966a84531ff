//! `fanfold job results`: links to what came out, or the files themselves.

use std::path::{Component, Path, PathBuf};

use common::input::text::is_plain;
use serde::Deserialize;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::url;
use crate::client::failure::Failure;
use crate::client::output::note;
use crate::client::session::Session;
use crate::client::unreachable;
use crate::file;

#[derive(Debug, Deserialize)]
struct Results {
    results: Vec<Item>,
    #[serde(default)]
    partial: bool,
    #[serde(default)]
    next: Option<String>,
}

/// A file that came out.
#[derive(Debug, Deserialize)]
pub struct Item {
    name: String,
    link: String,
}

pub async fn run(
    id: &str,
    partial: bool,
    output: Option<&Path>,
    session: &Session,
) -> Result<(), Failure> {
    let mut after = None::<String>;
    loop {
        let mut url = url(session, &[id, "results"]);
        if partial {
            url.query_pairs_mut().append_pair("partial", "true");
        }
        if let Some(after) = &after {
            url.query_pairs_mut().append_pair("after", after);
        }
        let answer = session.client.get(url).await?;
        let page: Results = answer.read()?;
        if page.partial && after.is_none() {
            note("partial: the job did not complete; these are the results of its accepted tasks");
        }
        if page.results.is_empty() && after.is_none() && page.next.is_none() {
            note("no results: no task gave any, or they went to the job's destination");
        }
        show(&answer.text, &page.results, output, session).await?;
        let Some(next) = page.next else { return Ok(()) };
        after = Some(next);
    }
}

/// Downloads what one answer lists or, without a folder, shows it.
async fn show(
    text: &str,
    results: &[Item],
    output: Option<&Path>,
    session: &Session,
) -> Result<(), Failure> {
    let Some(folder) = output else {
        return session.output.result(text, || {
            results.iter().map(|item| format!("{}  {}", item.name, item.link)).collect()
        });
    };
    let mut paths = Vec::with_capacity(results.len());
    for item in results {
        paths.push(download(item, folder, session).await?);
    }
    session.output.result(text, || paths.iter().map(|path| path.display()).collect())
}

/// Fetches one result; the file appears when it is whole.
pub async fn download(item: &Item, folder: &Path, session: &Session) -> Result<PathBuf, Failure> {
    let path = folder.join(relative(&item.name)?);
    let failed = |error| Failure::local(format_args!("cannot write {}", path.display()), error);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).await.map_err(failed)?;
    }
    let part = file::beside(&path, "part");
    let mut response = session.client.open_link(session.client.link(&item.link)?).await?;
    let mut target = fs::File::create(&part).await.map_err(failed)?;
    let mut size = 0;
    while let Some(bytes) = response.chunk().await.map_err(|error| unreachable(&error))? {
        size += bytes.len();
        target.write_all(&bytes).await.map_err(failed)?;
    }
    target.sync_all().await.map_err(failed)?;
    fs::rename(&part, &path).await.map_err(failed)?;
    note(format_args!("downloaded {} ({size} bytes)", path.display()));
    Ok(path)
}

/// A result's name as a path below the output folder. Names come from containers, so one that
/// leaves the folder is refused.
fn relative(name: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(name);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !name.chars().all(is_plain) || !inside {
        let message = format!("the result's name {name:?} is not a path inside a folder");
        return Err(Failure::Refused { message });
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_names_stay_below_the_output_folder() {
        assert_eq!(relative("out_0/a b.txt").unwrap(), Path::new("out_0/a b.txt"));
        for name in ["", "/etc/passwd", "../up", "a/../../up", "a\0b", "a\u{202e}b", "."] {
            assert!(relative(name).is_err(), "{name:?}");
        }
    }
}
