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
        &["node/src/runtime/", "cli/src/commands/image.rs", "cli/src/bench/container.rs"],
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

/// What `common`, the pure core, must not know.
const IMPURE: &[&str] =
    &["tokio", "async fn", "std::fs", "std::net", "std::time::Instant", "SystemTime", "rand::"];

/// What packages are promised. The server compiles it; a node obeys and knows none of it.
const CONTRACT: &[&str] = &[
    "/opt/fanfold",
    "data.bin",
    "min_disk",
    "APP_PARAMS",
    "ASSEMBLER_PARAMS",
    "PARTITIONER_PARAMS",
    "CHUNK_KEY",
    "CHUNK_NAME",
    "CHUNK_NUMBER",
    "CHUNKS_DIR",
    "OUTPUT_DIR",
    "RESULTS_DIR",
    "SHARED_CACHE_DIR",
    "SOURCE_DIR",
    "TASK_DIR",
    "USER_CACHE_DIR",
    "Contract",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member").to_owned()
}

/// All Rust sources of the product, by their path from the root, without their test modules.
fn sources() -> Result<Vec<(String, String)>> {
    let mut found = sources_of(&["common/src", "server/src", "node/src", "cli/src"])?;
    for (_, code) in &mut found {
        code.truncate(code.find("#[cfg(test)]").unwrap_or(code.len()));
    }
    Ok(found)
}

/// All Rust sources of these folders, by their path from the root.
fn sources_of(folders: &[&str]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
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
fn nodes_know_no_contract_of_packages() -> Result<()> {
    let mut broken = Vec::new();
    // Tests, comments and the programs that a node embeds are no exception.
    for (name, code) in sources_of(&["node"])? {
        for (line, text) in (1..).zip(code.lines()) {
            if CONTRACT.iter().any(|word| text.contains(word)) {
                broken.push(format!("{name}:{line}: {text}"));
            }
        }
    }

    assert!(broken.is_empty(), "a node knows a contract:\n{}", broken.join("\n"));
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
