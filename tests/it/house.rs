//! The rules of the house, checked on the source: who may use what, and what may be nowhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A crate or a call, and the folders and files that may use it.
const RULES: &[(&str, &[&str])] = &[
    ("sea_orm::", &["server/src/store/"]),
    ("warp::", &["server/src/api/"]),
    ("object_store::", &["server/src/data/"]),
    (
        "bollard::",
        &["node/src/runtime/", "cli/src/commands/image.rs", "cli/src/commands/bench/container.rs"],
    ),
    ("libp2p::", &["server/src/p2p/", "node/src/link/"]),
    ("libp2p_stream::", &["server/src/p2p/", "node/src/link/"]),
    ("lettre::", &["server/src/mail.rs", "server/src/mail/"]),
    (
        "rust_decimal::",
        &[
            "common/src/money/credits.rs",
            "common/src/money/currency.rs",
            "common/src/money/price.rs",
        ],
    ),
    ("Utc::now(", &["server/src/clock.rs", "node/src/"]),
    ("SystemTime::now(", &["node/src/"]),
];

/// Crates that would bring a second TLS provider or a C build.
const BANNED_CRATES: &[&str] = &["native-tls", "openssl-sys", "aws-sdk-s3"];

/// Words of the API's product. Inside we have words of our own, and each API maps its names to
/// them.
const PRODUCT_WORDS: &[&str] =
    &["JOB_STATE_", "EXECUTION_PRIORITY_", "ROLE_", "dataSourceDescriptor", "bytenite"];

/// Where they may stand: in the API itself, and in its client.
const PRODUCT_ROOMS: &[&str] = &["server/src/api/", "cli/src/"];

/// What `common`, the pure core, must not know.
const IMPURE: &[&str] =
    &["tokio", "async fn", "std::fs", "std::net", "std::time::Instant", "SystemTime", "rand::"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member").to_owned()
}

/// All Rust sources of the product, by their path from the root, without the test modules inside
/// them.
fn sources() -> Result<Vec<(String, String)>> {
    let whole = whole_sources()?;
    Ok(whole.into_iter().map(|(name, text)| (name, without_test_modules(&text))).collect())
}

/// The same as they are, test modules included.
fn whole_sources() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let folders = ["common/src", "server/src", "node/src", "cli/src", "migrations/src"];
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(root())?.display().to_string();
                found.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The text with the lines of its test modules empty. Such a module ends where rustfmt puts its
/// last brace: below the first letter of its attribute.
fn without_test_modules(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        let opens = |next: &&str| next.trim_start().starts_with("mod ") && next.ends_with('{');
        if code == "#[cfg(test)]" && lines.peek().is_some_and(opens) {
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            let inside = lines.by_ref().take_while(|line| *line != end).count();
            // The attribute, what is inside, and the brace.
            kept.push_str(&"\n".repeat(inside + 2));
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The lines of code, without comments, that contain the word.
fn uses<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
        .filter(move |(_, line)| line.contains(word))
}

#[test]
fn each_library_stays_in_its_room() -> Result<()> {
    let mut broken = Vec::new();
    for (name, code) in sources()? {
        for (word, rooms) in RULES {
            if rooms.iter().any(|room| name.starts_with(room)) {
                continue;
            }
            broken.extend(uses(&code, word).map(|(line, text)| format!("{name}:{line}: {text}")));
        }
    }

    assert!(broken.is_empty(), "used outside its room:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn product_words_stay_in_the_api_and_its_client() -> Result<()> {
    let mut broken = Vec::new();
    for (name, text) in whole_sources()? {
        if PRODUCT_ROOMS.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            if PRODUCT_WORDS.iter().any(|word| line.contains(word) || lower.contains(word)) {
                broken.push(format!("{name}:{}: {line}", n + 1));
            }
        }
    }

    assert!(broken.is_empty(), "a word of the API's product:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn code_behind_a_test_module_is_checked() {
    let text = "a\n#[cfg(test)]\nmod testing;\nb\n#[cfg(test)]\nmod tests {\n    c\n}\nd\n";

    let code = without_test_modules(text);

    assert_eq!(code, "a\n#[cfg(test)]\nmod testing;\nb\n\n\n\n\nd\n");
}

#[test]
fn the_core_touches_nothing() -> Result<()> {
    let core = sources()?.into_iter().filter(|(name, _)| name.starts_with("common/"));
    let broken: Vec<String> = core
        .flat_map(|(name, code)| {
            IMPURE
                .iter()
                .flat_map(|word| {
                    uses(&code, word).map(|(line, text)| format!("{name}:{line}: {text}"))
                })
                .collect::<Vec<_>>()
        })
        .collect();

    assert!(broken.is_empty(), "the core is impure:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn dependencies_point_inwards() -> Result<()> {
    // A room of the server, and the rooms that it must not look into.
    let walls: &[(&str, &[&str])] = &[
        ("server/src/store/", &["crate::api", "crate::coordinator", "crate::p2p", "crate::data"]),
        ("server/src/data/", &["crate::api", "crate::coordinator", "crate::p2p"]),
        ("server/src/coordinator/", &["crate::api", "crate::p2p"]),
        ("server/src/p2p/", &["crate::api"]),
        ("server/src/api/", &["crate::p2p"]),
    ];
    let mut broken = Vec::new();
    for (name, code) in sources()? {
        for (room, forbidden) in walls.iter().filter(|(room, _)| name.starts_with(room)) {
            for word in *forbidden {
                let found = uses(&code, word);
                broken.extend(found.map(|(line, text)| format!("{name}:{line}: {room}: {text}")));
            }
        }
    }

    assert!(broken.is_empty(), "a wall was broken:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn nothing_is_left_unfinished() -> Result<()> {
    // Put together here, so that this file does not find itself.
    let marks = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let broken: Vec<String> = sources()?
        .iter()
        .flat_map(|(name, code)| {
            marks.iter().flat_map(move |mark| {
                uses(code, mark).map(move |(line, text)| format!("{name}:{line}: {text}"))
            })
        })
        .collect();

    assert!(broken.is_empty(), "unfinished:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn there_is_one_tls_provider() -> Result<()> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let found: Vec<&&str> =
        BANNED_CRATES.iter().filter(|name| lock.contains(&format!("name = \"{name}\""))).collect();

    assert!(found.is_empty(), "banned crates in Cargo.lock: {found:?}");
    Ok(())
}
