//! The engines that need no package: their names, aliases and params. `docs/reference/engines.md`
//! describes them.

#[cfg(test)]
mod reference;

use super::loose::{Invalid, Loose, plain};
use crate::input::text::is_plain;
use crate::plan::{Assembler, Params, Partitioner};

/// 8 MiB.
const CHUNK_BYTES_DEFAULT: u64 = 8 * 1024 * 1024;
const CHUNK_BYTES_MAX: u64 = 1 << 40;
const COPIES_MAX: u64 = 1_000_000;
const NAME_BYTES_MAX: usize = 255;
const SEPARATOR_BYTES_MAX: usize = 1024;

const PARTITIONERS: [&str; 7] =
    ["passthrough", "lines", "csv", "tar", "bytes", "file", "replicate"];
const ASSEMBLERS: [&str; 3] = ["passthrough", "concat", "zip"];

/// The built-in partitioner that always has this name. A package cannot take it.
pub fn reserved_partitioner(name: &str) -> Option<&'static str> {
    PARTITIONERS.into_iter().find(|reserved| *reserved == name)
}

/// The built-in partitioner that stands in for a well-known engine, where the workspace has none
/// of that name.
pub fn partitioner_alias(name: &str) -> Option<&'static str> {
    matches!(name, "fanout-replica" | "replicate-fanout").then_some("replicate")
}

/// The built-in assembler that always has this name.
pub fn reserved_assembler(name: &str) -> Option<&'static str> {
    ASSEMBLERS.into_iter().find(|reserved| *reserved == name)
}

pub fn assembler_alias(name: &str) -> Option<&'static str> {
    (name == "zipper").then_some("zipper")
}

/// The built-in partitioner of this name, its own or a well-known engine's.
pub fn builtin_partitioner(name: &str) -> Option<&'static str> {
    reserved_partitioner(name).or_else(|| partitioner_alias(name))
}

/// The built-in assembler of this name, its own or a well-known engine's.
pub fn builtin_assembler(name: &str) -> Option<&'static str> {
    reserved_assembler(name).or_else(|| assembler_alias(name))
}

/// The params that an engine reads whose original takes no notice of others, so that clients have
/// one body for several templates. `None` for the engines of our own: they refuse what they do not
/// know.
fn lenient(builtin: &str) -> Option<&'static [&'static str]> {
    match builtin {
        "passthrough" => Some(&[]),
        "replicate" => Some(&["num_replicas"]),
        "zipper" => Some(&["name"]),
        _ => None,
    }
}

/// Those of the params that a built-in engine takes no notice of.
pub fn passed_over<'a>(builtin: &str, params: &'a Params) -> Vec<&'a str> {
    let Some(known) = lenient(builtin) else { return Vec::new() };
    let is_known = |key: &str| known.iter().any(|known| plain(known) == plain(key));
    params.keys().map(String::as_str).filter(|key| !is_known(key)).collect()
}

/// Checks the params that a template or a draft gives to a built-in partitioner; what is missing
/// can still come.
pub fn check_partitioner(builtin: &'static str, params: &Params) -> Result<(), Invalid> {
    let is_whole = builtin != "replicate"
        || Loose::of_params("params.partitioner", params)?.has("num_replicas");
    if is_whole { partitioner(builtin, params).map(drop) } else { Ok(()) }
}

/// A built-in partitioner with a job's params.
pub fn partitioner(builtin: &'static str, params: &Params) -> Result<Partitioner, Invalid> {
    let mut params = Loose::of_params("params.partitioner", params)?;
    let made = match builtin {
        "lines" => Partitioner::Lines { bytes: chunk_bytes(&mut params)? },
        "csv" => Partitioner::Csv { bytes: chunk_bytes(&mut params)? },
        "tar" => Partitioner::Tar { bytes: chunk_bytes(&mut params)? },
        "bytes" => Partitioner::Bytes { bytes: chunk_bytes(&mut params)? },
        "file" => Partitioner::File,
        "replicate" => {
            let field = params.name("num_replicas");
            let copies = params
                .number("num_replicas", 1..=COPIES_MAX)?
                .ok_or_else(|| Invalid::new(field, "is missing"))?;
            Partitioner::Replicate { copies: u32::try_from(copies).expect("the bound fits") }
        }
        _ => Partitioner::Passthrough,
    };
    finish(builtin, params)?;
    Ok(made)
}

fn finish(builtin: &str, params: Loose) -> Result<(), Invalid> {
    if lenient(builtin).is_some() { Ok(()) } else { params.finish() }
}

fn chunk_bytes(params: &mut Loose) -> Result<u64, Invalid> {
    Ok(params.number("chunk_bytes", 1..=CHUNK_BYTES_MAX)?.unwrap_or(CHUNK_BYTES_DEFAULT))
}

/// A built-in assembler with a job's params.
pub fn assembler(builtin: &'static str, params: &Params) -> Result<Assembler, Invalid> {
    let mut params = Loose::of_params("params.assembler", params)?;
    let made = match builtin {
        "concat" => Assembler::Concat {
            name: file_name(&mut params, "result.txt")?,
            separator: separator(&mut params)?,
        },
        "zip" | "zipper" => Assembler::Zip { name: file_name(&mut params, "results_archive.zip")? },
        _ => Assembler::Passthrough,
    };
    finish(builtin, params)?;
    Ok(made)
}

/// What `concat` puts between two files; nothing by default, so that any bytes can be joined.
fn separator(params: &mut Loose) -> Result<String, Invalid> {
    let field = params.name("separator");
    let separator = params.text("separator")?.unwrap_or_default();
    if separator.len() > SEPARATOR_BYTES_MAX {
        let problem = format!("must have at most {SEPARATOR_BYTES_MAX} bytes");
        return Err(Invalid::new(field, problem));
    }
    Ok(separator)
}

fn file_name(params: &mut Loose, default: &str) -> Result<String, Invalid> {
    let field = params.name("name");
    let name = params.text("name")?.unwrap_or_else(|| default.to_owned());
    let bad = |c: char| !is_plain(c) || matches!(c, '/' | '\\');
    if name.len() > NAME_BYTES_MAX || name.contains(bad) || matches!(name.as_str(), "." | "..") {
        let problem = "must be a file name without folders, at most 255 bytes";
        return Err(Invalid::new(field, problem));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn params(value: Value) -> Params {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn engine_params_are_read_in_any_spelling() {
        for given in [json!({"chunk_bytes": 5}), json!({"chunkBytes": "5"})] {
            let made = partitioner("lines", &params(given)).unwrap();

            assert_eq!(made, Partitioner::Lines { bytes: 5 });
        }
        let zip = assembler("zip", &params(json!({}))).unwrap();
        assert_eq!(zip, Assembler::Zip { name: "results_archive.zip".to_owned() });
        let concat = |value| assembler("concat", &params(value)).unwrap();
        let made = |separator: &str| Assembler::Concat {
            name: "result.txt".to_owned(),
            separator: separator.to_owned(),
        };
        assert_eq!(concat(json!({})), made(""));
        assert_eq!(concat(json!({"separator": "\r\n"})), made("\r\n"));
    }

    #[test]
    fn engine_params_that_are_bad_or_unknown_are_named() {
        let lines = |value| partitioner("lines", &params(value)).unwrap_err().field;

        assert_eq!(lines(json!({"chunk_bytes": 0})), "params.partitioner.chunk_bytes");
        assert_eq!(lines(json!({"chunk_size": 5})), "params.partitioner.chunk_size");
        assert_eq!(
            partitioner("replicate", &params(json!({}))).unwrap_err().field,
            "params.partitioner.num_replicas"
        );
        for name in ["../x", "a/b", ".."] {
            assert!(assembler("concat", &params(json!({ "name": name }))).is_err(), "{name}");
        }
        let long = json!({"separator": "-".repeat(SEPARATOR_BYTES_MAX + 1)});
        let field = assembler("concat", &params(long)).unwrap_err().field;
        assert_eq!(field, "params.assembler.separator");
    }

    #[test]
    fn builtin_engine_names_the_params_that_it_knows() {
        let unknown = params(json!({"chunk_lines": 5}));
        for (builtin, known) in
            [("lines", "give chunk_bytes"), ("bytes", "give chunk_bytes"), ("file", "none here")]
        {
            let refused = check_partitioner(builtin, &unknown).unwrap_err();

            assert_eq!(refused.field, "params.partitioner.chunk_lines");
            assert!(refused.problem.ends_with(known), "{refused}");
        }
        for (builtin, known) in [("concat", "give name, separator"), ("zip", "give name")] {
            let refused = assembler(builtin, &unknown).unwrap_err();

            assert!(refused.problem.ends_with(known), "{refused}");
        }
    }

    #[test]
    fn engine_of_the_first_product_ignores_unknown_params() {
        let given = params(json!({"numImages": 20, "numReplicas": 3, "name": "a.zip"}));
        for builtin in ["passthrough", "replicate"] {
            assert!(partitioner(builtin, &given).is_ok(), "{builtin}");
        }
        for builtin in ["passthrough", "zipper"] {
            assert!(assembler(builtin, &given).is_ok(), "{builtin}");
        }
        assert_eq!(passed_over("passthrough", &given), ["name", "numImages", "numReplicas"]);
        assert_eq!(passed_over("replicate", &given), ["name", "numImages"]);
        assert_eq!(passed_over("zipper", &given), ["numImages", "numReplicas"]);
        assert!(passed_over("zip", &given).is_empty());
    }

    #[test]
    fn engine_params_missing_in_a_draft_can_be_added() {
        assert!(check_partitioner("replicate", &params(json!({"x": 1}))).is_ok());
        let wrong = check_partitioner("replicate", &params(json!({"num_replicas": 0})));
        assert_eq!(wrong.unwrap_err().field, "params.partitioner.num_replicas");
    }
}
