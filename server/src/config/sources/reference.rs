//! `docs/reference/configuration.md`, from `default.toml`: its settings, and its comments as what
//! they mean.

use std::collections::BTreeSet;

use figment::value::Value;
use pages::{head, row};

use super::{DEFAULTS, HIDDEN, OPTIONAL, figment, flatten, variable};

const INTRO: &str = "\
# Configuration

The settings of the server, with their defaults. A setting is looked up in this order:

1. its environment variable,
2. the file that `fanfold server --config FILE` names, in TOML: `lease_secs` below `[nodes]`, say,
3. its default, as below. These are the lines of `server/src/default.toml`.

A variable takes plain text or a number, and a list with commas: `FANFOLD_PROMOTIONAL_CREDITS=500`,
`FANFOLD_DATA__ALLOWED_PORTS=80,9000`. `fanfold server --print-config` prints every setting with its
value and where that comes from; values of secret settings are not shown. A name that is not in
these tables is refused.

`fanfold up` takes the variables too, and its own options for addresses and folders. The options of
nodes and of the client are on the page of the [command line](cli.md).

";

/// A line of `default.toml` with the comment above it.
struct Setting {
    name: String,
    /// As TOML writes it.
    value: String,
    about: String,
}

/// Settings below one heading; those of an optional section have no defaults, but examples.
#[derive(Default)]
struct Section {
    name: String,
    about: String,
    is_optional: bool,
    settings: Vec<Setting>,
}

/// Reads the manual. A section that is commented out is optional; its own comments have `# #`.
///
/// # Panics
/// A line is neither a heading, nor a comment, nor a setting.
fn sections() -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let (mut comments, mut is_optional) = (Vec::new(), false);
    for line in DEFAULTS.lines() {
        let section = sections.last_mut().expect("there is the first");
        let comment = line.strip_prefix('#').map(str::trim_start);
        if line.is_empty() {
            comments.clear();
            is_optional = false;
        } else if let Some(name) = title(comment.unwrap_or(line)) {
            let (name, about) = (name.to_owned(), std::mem::take(&mut comments).join(" "));
            is_optional = comment.is_some();
            sections.push(Section { name, about, is_optional, settings: Vec::new() });
        } else if let Some(comment) = comment.filter(|text| !is_optional || text.starts_with('#')) {
            comments.push(comment.trim_start_matches(['#', ' ']));
        } else {
            let setting = comment.unwrap_or(line).split_once(" = ");
            let (key, value) = setting.unwrap_or_else(|| panic!("default.toml: {line:?}"));
            let name = [section.name.as_str(), key].join(".").trim_start_matches('.').to_owned();
            let about = std::mem::take(&mut comments).join(" ");
            section.settings.push(Setting { name, value: value.to_owned(), about });
        }
    }
    sections
}

/// The name in `[name]`.
fn title(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

fn kind(setting: &Setting) -> String {
    let kind = match setting.value.chars().next() {
        Some('"') => "text",
        Some('[') => "list",
        Some('0'..='9') => "number",
        _ => "true or false",
    };
    let is_hidden = HIDDEN.contains(&setting.name.as_str());
    format!("{kind}{}", if is_hidden { ", secret" } else { "" })
}

fn page() -> String {
    let mut page = INTRO.to_owned();
    for Section { name, about, is_optional, settings } in sections() {
        let title = if name.is_empty() { "General".to_owned() } else { format!("`[{name}]`") };
        page += &format!("## {title}\n\n");
        if !about.is_empty() {
            page += &format!("{about}\n\n");
        }
        let value = if is_optional { "example; not set by default" } else { "default" };
        page += &head(&["setting", "type", value, "variable", "meaning"]);
        for setting in &settings {
            let (_, key) = setting.name.rsplit_once('.').unwrap_or(("", &setting.name));
            page += &row(&[
                &format!("`{key}`"),
                &kind(setting),
                &format!("`{}`", setting.value),
                &format!("`{}`", variable(&setting.name)),
                &setting.about,
            ]);
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

#[test]
fn configuration_page_is_current() {
    pages::check("configuration.md", &page());
}

#[test]
fn configuration_page_has_every_setting_and_says_what_it_means() {
    let mut known = Vec::new();
    if let Ok(Value::Dict(_, all)) = figment(None, std::iter::empty()).find_value("") {
        flatten("", &all, &mut known);
    }
    let optional = OPTIONAL.iter().map(|(name, _)| (*name).to_owned());
    let known: BTreeSet<String> = known.into_iter().map(|(name, _)| name).chain(optional).collect();

    let settings: Vec<Setting> = sections().into_iter().flat_map(|one| one.settings).collect();

    let documented: BTreeSet<String> = settings.iter().map(|one| one.name.clone()).collect();
    assert_eq!(documented, known);
    assert_eq!(documented.len(), settings.len(), "a setting is there twice");
    for Setting { name, about, .. } in &settings {
        assert!(!about.is_empty(), "default.toml has no comment above {name}");
    }
}
