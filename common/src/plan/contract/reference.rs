//! `docs/reference/containers.md` has the variables and folders of the contract, and no others.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{ALL, container};
use super::*;
use crate::secret::{self, Secret, SecretKind};
use crate::testing;

/// The names and values of the table below a heading.
fn table(page: &str, title: &str) -> BTreeMap<String, String> {
    let heading = format!("\n### {title}\n");
    let (_, rest) =
        page.split_once(&heading).unwrap_or_else(|| panic!("the page has no {heading:?}"));
    let section = rest.split("\n#").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let pair = |row: &str| {
        let (name, rest) = row.split_once("` | ").expect("a variable and its value");
        let (value, _) = rest.split_once(" | ").expect("a value and its meaning");
        (name.to_owned(), value.trim_matches('`').to_owned())
    };
    rows.map(pair).collect()
}

/// What the page says of a value that each task has for itself.
fn shown(value: &str) -> &str {
    if value.starts_with('{') {
        "a JSON object"
    } else if value.ends_with('Z') {
        "a time"
    } else if value.bytes().all(|b| b.is_ascii_digit()) {
        "a number"
    } else {
        value
    }
}

#[test]
fn containers_page_has_the_variables_of_each_contract() {
    let page = pages::read("containers.md");
    for contract in ALL {
        let title = match contract {
            Contract::Partition => "Partitioner",
            Contract::Process => "App",
            Contract::Assemble => "Assembler",
        };
        let mut documented = table(&page, "Every container");
        documented.extend(table(&page, title));

        let stage = container(contract).compile().unwrap().environment.clone();
        let task = contract.task_environment(7, Some(("text", "text")), Some(testing::at(0)));

        let variables = [&stage, &task].map(|part| {
            part.names()
                .map(|name| (name.to_owned(), part.get(name).unwrap().to_owned()))
                .collect::<Vec<_>>()
        });
        let expected = variables.concat().into_iter();
        let expected: BTreeMap<_, _> =
            expected.map(|(name, value)| (name, shown(&value).to_owned())).collect();
        assert_eq!(documented, expected, "{contract:?}");
    }
}

#[test]
fn containers_page_has_the_folders_and_files_of_the_contract() {
    let page = pages::read("containers.md");
    for text in [APP, CHUNK_FILE, "data_0.bin"] {
        assert!(page.contains(&format!("{text}`")), "{text}");
    }
    for (suffix, program) in [("py", "python3"), ("sh", "sh"), ("js", "node")] {
        let file: RelativePath = format!("main.{suffix}").parse().unwrap();
        assert_eq!(interpreters(&file)[0], program);
        assert!(page.contains(&format!("`.{suffix}`")) && page.contains(&format!("`{program}`")));
    }
}

#[test]
fn containers_page_has_the_variables_of_secrets() {
    let page = pages::read("containers.md");
    let of = |kind| {
        let secret = Secret { secret_type: kind, ..testing::secret("ID", "x") };
        secret::variables(&[secret])
    };

    let all = [of(SecretKind::Other), of(SecretKind::Aws)].concat();

    let names = all.iter().map(|variable| variable.split('=').next().unwrap().to_owned());
    let documented: BTreeSet<String> = table(&page, "Secrets").into_keys().collect();
    assert_eq!(documented, names.collect());
}
