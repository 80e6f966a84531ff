//! The architecture, checked on the sources: who may use what, and what may be nowhere.

mod source;

use std::fs;

use anyhow::Result;
use source::{Source, root, sources, whole_sources};

/// A crate or a call, and the folders and files that may use it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("sea_orm::", &["server/src/store/"]),
    ("warp::", &["server/src/api/"]),
    ("utoipa::", &["server/src/api/"]),
    ("prometheus::", &["common/instruments/src/"]),
    ("hyper::", &["server/src/api/http/serving/", "node/src/metrics/"]),
    ("object_store::", &["server/src/data/"]),
    (
        "bollard::",
        &[
            "node/src/runtime/",
            "cli/src/commands/image.rs",
            "cli/src/commands/bench/setup/container.rs",
        ],
    ),
    ("libp2p::", &["server/src/p2p/", "node/src/link/", "common/identity/src/"]),
    ("libp2p_stream::", &["server/src/p2p/", "node/src/link/"]),
    ("lettre::", &["server/src/mail.rs", "server/src/mail/"]),
    ("opentelemetry", &["server/src/traces/"]),
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

/// What packages are promised. The server compiles it into container specifications; a node obeys
/// them and knows none of it.
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

/// Words of products. Inside, the server has words of its own; each API maps its names to them.
const PRODUCT_WORDS: &[&str] = &[
    "JOB_STATE_",
    "EXECUTION_PRIORITY_",
    "ROLE_",
    "dataSource",
    "dataDestination",
    "taskTimeout",
    "jobTimeout",
    "isTestJob",
    "maxTaskRetries",
    "requireResults",
    "bytenite",
    "quedup",
];

/// Where product words may stand: in the APIs, and in the client of one.
const PRODUCT_FOLDERS: &[&str] = &["server/src/api/", "cli/src/"];

/// What `common`, the pure core, must not know.
const IMPURE: &[&str] =
    &["tokio", "async fn", "std::fs", "std::net", "std::time::Instant", "SystemTime", "rand::"];

/// What use cases work with; an API reaches it through them.
const INNER: &[&str] = &["coordinator", "data", "p2p", "store"];

/// Modules of the server that hold use cases.
const USE_CASES: &[&str] =
    &["definitions", "files", "jobs", "nodes", "people", "readiness", "wallet"];

/// Folders of `server/src/api`, one for each product's API.
const APIS: &[&str] = &["bytenite", "daestro", "ejjy", "native", "quedup", "tork"];

/// Adapters: they call use cases only.
const ADAPTERS: &[&str] = &["server/src/api/"];

/// Where a folder or a file of the server must not reach.
struct Wall {
    from: String,
    forbidden: Vec<String>,
}

fn wall(from: &str, forbidden: &[&[&str]]) -> Wall {
    let forbidden = forbidden.concat().into_iter().map(ToOwned::to_owned).collect();
    Wall { from: from.to_owned(), forbidden }
}

fn walls() -> Vec<Wall> {
    let mut walls = vec![
        wall("server/src/store/", &[&["api", "app", "coordinator", "data", "p2p"], USE_CASES]),
        wall("server/src/data/", &[&["api", "app", "coordinator", "p2p"], USE_CASES]),
        wall("server/src/coordinator/", &[&["api", "app", "p2p"], USE_CASES]),
        wall("server/src/logs/", &[&["api", "app", "p2p"], USE_CASES]),
        wall("server/src/traces/", &[&["api", "app", "coordinator", "p2p"], USE_CASES]),
        wall("server/src/p2p/", &[&["api", "app"], USE_CASES]),
        // All parts tell it, so it knows none of them.
        wall("server/src/metrics/", &[&["api", "app"], INNER, USE_CASES]),
    ];
    walls.extend(USE_CASES.iter().flat_map(|room| {
        let of = |from: String| wall(&from, &[&["api", "p2p"]]);
        [of(format!("server/src/{room}/")), of(format!("server/src/{room}.rs"))]
    }));
    walls.extend(ADAPTERS.iter().map(|adapter| wall(adapter, &[INNER])));
    // What all APIs are made of knows none of them, and none knows another.
    for from in APIS.iter().chain(&["http", "storage"]) {
        let others = APIS.iter().filter(|api| *api != from).map(|api| format!("api::{api}"));
        walls.push(Wall { from: format!("server/src/api/{from}/"), forbidden: others.collect() });
    }
    walls.push(wall("server/src/api/", &[&["p2p"]]));
    walls
}

/// Whether the path is this module or something in it.
fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Each line that has one of the words, as a failure shows it.
fn found_in<'a>(source: &'a Source, words: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let name = &source.name;
    words.iter().flat_map(move |word| {
        source.lines_with(word).map(move |(line, text)| format!("{name}:{line}: {text}"))
    })
}

#[test]
fn libraries_are_used_in_their_folders_only() -> Result<()> {
    let mut broken = Vec::new();
    for source in sources()? {
        for (word, folders) in LIBRARIES {
            if !folders.iter().any(|folder| source.name.starts_with(folder)) {
                broken.extend(found_in(&source, &[word]));
            }
        }
    }

    assert!(broken.is_empty(), "used outside of its folders:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn product_words_stay_in_the_apis_and_their_client() -> Result<()> {
    let mut broken = Vec::new();
    for source in sources()? {
        if !PRODUCT_FOLDERS.iter().any(|folder| source.name.starts_with(folder)) {
            broken.extend(found_in(&source, PRODUCT_WORDS));
        }
    }

    assert!(broken.is_empty(), "a product's word:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn nodes_know_no_contract_of_packages() -> Result<()> {
    let mut broken = Vec::new();
    // Tests, comments and the programs that a node embeds are no exception.
    for source in whole_sources(&["node"])? {
        for (line, text) in (1..).zip(source.code.lines()) {
            if CONTRACT.iter().any(|word| text.contains(word)) {
                broken.push(format!("{}:{line}: {text}", source.name));
            }
        }
    }

    assert!(broken.is_empty(), "a node knows a contract:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn core_has_no_io_clock_randomness_or_async() -> Result<()> {
    let mut broken = Vec::new();
    for source in sources()?.iter().filter(|source| source.name.starts_with("common/src/")) {
        broken.extend(found_in(source, IMPURE));
    }

    assert!(broken.is_empty(), "the core is impure:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn dependencies_point_inwards() -> Result<()> {
    let (sources, mut broken) = (sources()?, Vec::new());
    for Wall { from, forbidden } in walls() {
        for source in sources.iter().filter(|source| source.name.starts_with(&from)) {
            for used in source.uses() {
                if forbidden.iter().any(|module| is_in(&used.path, module)) {
                    broken.push(format!("{}:{}: {}", source.name, used.line, used.path));
                }
            }
        }
    }

    assert!(broken.is_empty(), "must not be used there:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn rules_and_exceptions_refer_to_existing_code() -> Result<()> {
    let sources = sources()?;
    let is_there = |name: &str| sources.iter().any(|source| source.name.starts_with(name));
    let mut stale = Vec::new();
    for (_, folders) in LIBRARIES {
        stale.extend(folders.iter().filter(|folder| !is_there(folder)).map(ToString::to_string));
    }
    let apis = APIS.iter().map(|api| format!("server/src/api/{api}/"));
    let adapters = ADAPTERS.iter().map(ToString::to_string);
    stale.extend(apis.chain(adapters).filter(|name| !is_there(name)));
    for room in USE_CASES {
        let places = [format!("server/src/{room}/"), format!("server/src/{room}.rs")];
        if !places.iter().any(|place| is_there(place)) {
            stale.push((*room).to_owned());
        }
    }

    assert!(stale.is_empty(), "rules without anything to rule: {stale:#?}");
    Ok(())
}

#[test]
fn sources_have_no_unfinished_code() -> Result<()> {
    // Put together here, so that this file does not find itself.
    let marks = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let marks = marks.each_ref().map(String::as_str);
    let sources = sources()?;
    let broken: Vec<String> =
        sources.iter().flat_map(|source| found_in(source, &marks).collect::<Vec<_>>()).collect();

    assert!(broken.is_empty(), "unfinished:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn tls_provider_is_the_only_one() -> Result<()> {
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let found: Vec<&&str> =
        BANNED_CRATES.iter().filter(|name| lock.contains(&format!("name = \"{name}\""))).collect();

    assert!(found.is_empty(), "banned crates in Cargo.lock: {found:?}");
    Ok(())
}
