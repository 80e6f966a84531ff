//! Links of all documents, and the list of the book's pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Folders that are not documents of this repository.
const SKIPPED: [&str; 4] = ["target", ".git", "corpus", "node_modules"];

/// A document: its path in the repository, its links with their lines, its headings' anchors.
struct Document {
    links: Vec<(usize, String)>,
    anchors: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All documents, by their paths in the repository.
fn documents() -> Result<BTreeMap<PathBuf, Document>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a plain name")?;
            let path = folder.join(&name);
            if entry.file_type()?.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    open.push(path);
                }
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(entry.path())?;
                found.insert(path, Document::read(&text));
            }
        }
    }
    Ok(found)
}

impl Document {
    fn read(text: &str) -> Self {
        let (mut links, mut anchors) = (Vec::new(), BTreeSet::new());
        let mut is_code = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                if let Some(heading) = heading(line) {
                    let anchor = anchor(heading);
                    // A second heading of the same text is numbered.
                    let free = (1..).map(|n| format!("{anchor}-{n}"));
                    let mut names = std::iter::once(anchor.clone()).chain(free);
                    anchors.extend(names.find(|name| !anchors.contains(name)));
                }
                links.extend(targets(line).into_iter().map(|target| (index + 1, target)));
            }
        }
        Self { links, anchors }
    }
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' '))?
}

/// The anchor of a heading: its letters and digits in lower case, and hyphens for spaces.
fn anchor(heading: &str) -> String {
    let kept = |letter: char| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then_some(letter),
    };
    heading.trim().to_lowercase().chars().filter_map(kept).collect()
}

/// What the links of a line lead to; code is no link.
fn targets(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let ends = prose.match_indices("](").map(|(start, opening)| start + opening.len());
    let target = |start: usize| prose[start..].split_once(')').map(|(target, _)| target.to_owned());
    ends.filter_map(target).collect()
}

/// A path without `.` and `..`; `None` if it leads out of the repository.
fn resolved(from: &Path, target: &str) -> Option<PathBuf> {
    let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => path.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

fn is_of_the_web(target: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

#[test]
fn links_of_documents_lead_to_files_and_headings() -> Result<()> {
    let documents = documents()?;
    let mut broken = Vec::new();

    for (path, document) in &documents {
        for (line, target) in document.links.iter().filter(|(_, to)| !is_of_the_web(to)) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { Some(path.clone()) } else { resolved(path, file) };
            let exists = to.as_ref().is_some_and(|to| root().join(to).exists());
            let has_heading = heading.is_empty()
                || to
                    .as_ref()
                    .and_then(|to| documents.get(to))
                    .is_some_and(|document| document.anchors.contains(heading));
            // The book is built from this folder alone.
            let stays = !path.starts_with("docs") || to.is_some_and(|to| to.starts_with("docs"));
            if !exists || !has_heading || !stays {
                broken.push(format!("{}, line {line}: {target}", path.display()));
            }
        }
    }

    ensure!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    ensure!(documents.len() > 20, "{}", documents.len());
    Ok(())
}

#[test]
fn book_lists_every_page_once() -> Result<()> {
    let documents = documents()?;
    let summary = Path::new("docs/SUMMARY.md");
    let links = &documents.get(summary).context("docs/SUMMARY.md")?.links;
    let listed: Vec<_> = links.iter().filter_map(|(_, target)| resolved(summary, target)).collect();

    for page in documents.keys().filter(|path| path.starts_with("docs") && *path != summary) {
        let times = listed.iter().filter(|listed| *listed == page).count();
        ensure!(times == 1, "docs/SUMMARY.md lists {} {times} times", page.display());
    }
    Ok(())
}

#[test]
fn anchors_and_links_are_read_as_renderers_do() {
    let text = "# What `lines` does, and why\n## Names\n## Names\n[a](b.md#c) `[no](x)` [d](https://e)\n\
                ```sh\n# No heading\n```\n";

    let document = Document::read(text);

    let anchors = ["names", "names-1", "what-lines-does-and-why"].map(str::to_owned);
    assert_eq!(document.anchors, BTreeSet::from(anchors));
    let links = [(4, "b.md#c"), (4, "https://e")].map(|(line, to)| (line, to.to_owned()));
    assert_eq!(document.links, links);
}
