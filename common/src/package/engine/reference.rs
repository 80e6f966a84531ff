//! `docs/reference/engines.md` says of each built-in engine what its code does.

use serde_json::{Value, json};

use super::*;

/// What the page says of a param.
#[derive(Debug)]
struct Param {
    name: String,
    kind: String,
    default: String,
    allowed: String,
}

/// The part of the page below a heading, up to the next one of this level.
fn part<'a>(page: &'a str, level: &str, title: &str) -> &'a str {
    let heading = format!("\n{level} {title}\n");
    let (_, rest) =
        page.split_once(&heading).unwrap_or_else(|| panic!("the page has no {heading:?}"));
    rest.split(&format!("\n{level} ")).next().unwrap()
}

/// The engines of a part, each with what the page says of it.
fn engines(part: &str) -> Vec<(&str, &str)> {
    let sections = part.split("\n### `").skip(1);
    sections.map(|section| section.split_once("`\n").expect("a heading is one name")).collect()
}

fn params(section: &str) -> Vec<Param> {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, name, kind, default, allowed, meaning, _] = cells[..] else { panic!("{row}") };
        assert!(!meaning.is_empty(), "{row}");
        let [name, kind, default, allowed] = [name, kind, default, allowed].map(str::to_owned);
        Param { name, kind, default, allowed }
    })
    .collect()
}

/// The engine with these params, as text that can be compared.
fn made(phase: &str, name: &str, given: &Value) -> Result<String, Invalid> {
    let given: Params = serde_json::from_value(given.clone()).unwrap();
    match phase {
        "partitioner" => {
            partitioner(builtin_partitioner(name).expect(name), &given).map(|it| format!("{it:?}"))
        }
        _ => assembler(builtin_assembler(name).expect(name), &given).map(|it| format!("{it:?}")),
    }
}

/// The names that an engine reads, as its refusal of an unknown param lists them.
fn known(phase: &str, name: &str) -> Vec<String> {
    if let Some(known) = lenient(name) {
        return known.iter().map(ToString::to_string).collect();
    }
    let refused = made(phase, name, &json!({"zzz": 1})).unwrap_err().problem;
    let (_, names) = refused.rsplit_once(": ").unwrap();
    let names = names.strip_prefix("give ").unwrap_or_default();
    names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn value(param: &Param, text: &str) -> Value {
    match param.kind.as_str() {
        "number" => json!(text.parse::<u64>().unwrap()),
        "text" if text == "nothing" => json!(""),
        "text" => json!(text),
        kind => panic!("{kind}"),
    }
}

fn check_param(phase: &str, engine: &str, param: &Param) {
    let with = |value: Value| made(phase, engine, &json!({ param.name.as_str(): value }));
    let without = made(phase, engine, &json!({}));
    if param.default == "required" {
        assert!(without.unwrap_err().field.ends_with(&param.name), "{engine}: {param:?}");
    } else {
        assert_eq!(with(value(param, &param.default)), without, "{engine}: {param:?}");
    }
    if let Some((least, most)) = param.allowed.split_once(" to ") {
        let [least, most] = [least, most].map(|bound| bound.parse::<u64>().unwrap());
        for (number, is_allowed) in
            [(least, true), (most, true), (least - 1, false), (most + 1, false)]
        {
            assert_eq!(with(json!(number)).is_ok(), is_allowed, "{engine}: {param:?}: {number}");
        }
    } else {
        let (_, bytes) = param.allowed.split_once("at most ").expect("a text has a limit");
        let bytes: usize = bytes.strip_suffix(" bytes").unwrap().parse().unwrap();
        for (length, is_allowed) in [(bytes, true), (bytes + 1, false)] {
            let text = json!("x".repeat(length));
            assert_eq!(with(text).is_ok(), is_allowed, "{engine}: {param:?}: {length} bytes");
        }
    }
}

#[test]
fn engines_page_has_the_engines_and_params_of_the_code() {
    let page = pages::read("engines.md");
    let assemblers = [&ASSEMBLERS[..], &["zipper"]].concat();
    for (title, phase, names) in [
        ("Partitioners", "partitioner", &PARTITIONERS[..]),
        ("Assemblers", "assembler", &assemblers[..]),
    ] {
        let engines = engines(part(&page, "##", title));

        let mut listed: Vec<&str> = engines.iter().map(|(name, _)| *name).collect();
        let mut names = names.to_vec();
        listed.sort_unstable();
        names.sort_unstable();
        assert_eq!(listed, names);
        for (engine, section) in engines {
            let params = params(section);
            let named: Vec<&str> = params.iter().map(|param| param.name.as_str()).collect();
            assert_eq!(named, known(phase, engine), "{engine}");
            params.iter().for_each(|param| check_param(phase, engine, param));
            assert_eq!(params.is_empty(), section.contains("It has no params."), "{engine}");
        }
    }
}

#[test]
fn engines_page_has_examples_that_are_accepted() {
    let page = pages::read("engines.md");
    let mut found = 0;
    for (title, phase) in [("Partitioners", "partitioner"), ("Assemblers", "assembler")] {
        for (engine, section) in engines(part(&page, "##", title)) {
            for example in section.split("```json\n").skip(1) {
                let example: Value =
                    serde_json::from_str(example.split("```").next().unwrap()).unwrap();
                assert!(made(phase, engine, &example[phase]).is_ok(), "{engine}: {example}");
                found += 1;
            }
        }
    }
    assert!(found >= 5, "{found}");
}

#[test]
fn engines_page_names_every_alias() {
    let page = pages::read("engines.md");
    for alias in ["replicate-fanout", "fanout-replica"] {
        assert!(partitioner_alias(alias).is_some());
        assert!(part(&page, "###", "`replicate`").contains(alias), "{alias}");
    }
    assert!(assembler_alias("zipper").is_some());
}
