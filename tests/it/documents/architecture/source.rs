//! Rust sources as the rules see them: without test modules, and with the paths that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// A source file; of those without test modules, their lines are empty.
pub struct Source {
    /// From the root of the tree, such as `server/src/api/mod.rs`.
    pub name: String,
    pub code: String,
}

/// A path to a module or an item of the same crate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub line: usize,
    /// From the crate's root, such as `store::jobs::Job`.
    pub path: String,
}

/// The root of the tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member").to_owned()
}

/// All Rust sources of the product, without test modules.
pub fn sources() -> Result<Vec<Source>> {
    let mut found = whole_sources(&[
        "common/src",
        "common/identity/src",
        "common/instruments/src",
        "server/src",
        "node/src",
        "cli/src",
    ])?;
    let mut tests = Vec::new();
    for source in &mut found {
        let (code, declared) = without_tests(&source.code).with_context(|| source.name.clone())?;
        let inner = inner_folder(&source.name);
        tests.extend(declared.iter().map(|module| format!("{inner}/{module}")));
        source.code = code;
    }
    found.retain(|source| !tests.iter().any(|module| is_of(&source.name, module)));
    Ok(found)
}

/// All Rust sources in these folders, as they are.
pub fn whole_sources(folders: &[&str]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(root())?.display().to_string();
                found.push(Source { name, code: fs::read_to_string(&path)? });
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The folder in which the modules of a file lie.
fn inner_folder(name: &str) -> &str {
    let own = name.strip_suffix(".rs").unwrap_or(name);
    match own.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => own,
    }
}

/// Whether a file is the module at this path, or lies inside of it.
fn is_of(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The code with empty lines for its inline test modules, and the names of those in other files.
///
/// rustfmt writes the brace that ends a module in the column in which the module begins.
fn without_tests(text: &str) -> Result<(String, Vec<String>)> {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut declared = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let begin = at;
        at += 1;
        if lines[begin].trim() != "#[cfg(test)]" {
            continue;
        }
        let is_attribute = |line: &&str| line.trim_start().starts_with("#[");
        let item = begin + lines[begin..].iter().take_while(|line| is_attribute(line)).count();
        let Some(module) = lines.get(item).and_then(|line| module_of(line)) else { continue };
        if let Some(name) = module.strip_suffix(';') {
            declared.push(name.to_owned());
            continue;
        }
        let indent = lines[begin].len() - lines[begin].trim_start().len();
        let brace = format!("{}}}", " ".repeat(indent));
        let length = lines[item..].iter().position(|line| *line == brace);
        ensure!(module.ends_with('{') && length.is_some(), "line {item}: a module has no end");
        let end = item + length.unwrap_or_default();
        lines[begin..=end].fill("");
        at = end + 1;
    }
    Ok((lines.join("\n"), declared))
}

/// What follows `mod`, where the line begins a module.
fn module_of(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    rest.strip_prefix("mod ")
}

impl Source {
    /// The lines of code, without comments, that contain the word.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        let code = self.code.lines().map(without_comment).enumerate();
        code.map(|(i, line)| (i + 1, line)).filter(move |(_, line)| line.contains(word))
    }

    /// The paths that begin with `crate` or `super`, from the crate's root.
    pub fn uses(&self) -> BTreeSet<Use> {
        let code: Vec<&str> = self.code.lines().map(without_comment).collect();
        let code = code.join("\n");
        let mut uses = BTreeSet::new();
        for word in ["crate::", "super::"] {
            for (at, _) in code.match_indices(word) {
                let before = &code[..at];
                if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let line = before.lines().count().max(1);
                let line = if before.ends_with('\n') { line + 1 } else { line };
                let mut paths = Vec::new();
                read_paths(&code[at..], &mut Vec::new(), &mut paths);
                let paths = paths.into_iter().filter_map(|path| self.resolve(&path));
                uses.extend(paths.map(|path| Use { line, path }));
            }
        }
        uses
    }

    fn resolve(&self, path: &[&str]) -> Option<String> {
        let ups = path.iter().take_while(|part| **part == "super").count();
        let rest = path[ups..].join("::");
        if ups == 0 {
            return path.strip_prefix(&["crate"]).map(|rest| rest.join("::"));
        }
        let own: Vec<&str> = inner_folder(&self.name).split('/').skip(2).collect();
        let kept = own.len().checked_sub(ups)?;
        let parts = own[..kept].iter().copied().chain([rest.as_str()]);
        Some(parts.collect::<Vec<_>>().join("::"))
    }
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Reads the paths of a tree such as `a::{b, c::d}`; gives what follows it.
fn read_paths<'a>(
    mut text: &'a str,
    path: &mut Vec<&'a str>,
    found: &mut Vec<Vec<&'a str>>,
) -> &'a str {
    let depth = path.len();
    loop {
        if let Some(inner) = text.strip_prefix('{') {
            text = inner.trim_start();
            while !text.is_empty() && !text.starts_with('}') {
                text = read_paths(text, path, found).trim_start();
                // What stands between two paths: a comma, an `as` with a name.
                let next = text.find([',', '}']).unwrap_or(text.len());
                text = text[next..].trim_start_matches(',').trim_start();
            }
            text = text.strip_prefix('}').unwrap_or(text);
            break;
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        path.push(&text[..end]);
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(rest) => text = rest,
            None => {
                found.push(path.clone());
                break;
            }
        }
    }
    path.truncate(depth);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_are_left_out_and_all_else_is_read() {
        let text = "\
#[cfg(test)]
pub mod testing;
a
#[cfg(test)]
impl A {
    b
}
#[cfg(test)]
#[expect(x)]
pub(in crate::a) mod tests {
    mod inner {
        c
    }
}
d";

        let (code, declared) = without_tests(text).unwrap();

        assert_eq!(declared, ["testing"]);
        let left = code.lines().map(str::trim).enumerate().filter(|(_, line)| line.len() == 1);
        assert_eq!(left.collect::<Vec<_>>(), [(2, "a"), (5, "b"), (6, "}"), (14, "d")]);
        assert!(without_tests("#[cfg(test)]\nmod tests {\n").is_err());
    }

    #[test]
    fn file_of_a_test_module_is_one_in_every_place_that_it_can_lie() {
        for (declaring, file, expected) in [
            ("a/src/b/mod.rs", "a/src/b/tests.rs", true),
            ("a/src/b.rs", "a/src/b/tests.rs", true),
            ("a/src/b.rs", "a/src/b/tests/deep.rs", true),
            ("a/src/lib.rs", "a/src/tests/mod.rs", true),
            ("a/src/b.rs", "a/src/tests.rs", false),
            ("a/src/b.rs", "a/src/b/tests_of.rs", false),
        ] {
            let module = format!("{}/tests", inner_folder(declaring));

            assert_eq!(is_of(file, &module), expected, "{declaring} {file}");
        }
    }

    #[test]
    fn paths_are_found_in_groups_across_lines_and_upwards() {
        let code = "\
use crate::{error::Result, data::{self, Data as Plane},
    store};
fn a() { super::b(&crate::p2p::c::<D>(), supercrate::x) }
use super::super::e::*; // crate::comment";
        let source =
            Source { name: "server/src/api/http/call.rs".to_owned(), code: code.to_owned() };

        let found: Vec<_> = source.uses().into_iter().map(|one| (one.line, one.path)).collect();

        let found: Vec<_> = found.iter().map(|(line, path)| (*line, path.as_str())).collect();
        assert_eq!(
            found,
            [
                (1, "data::Data"),
                (1, "data::self"),
                (1, "error::Result"),
                (1, "store"),
                (3, "api::http::b"),
                (3, "p2p::c::"),
                (4, "api::e::"),
            ]
        );
    }
}
