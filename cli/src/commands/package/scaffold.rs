//! `fanfold app new` and `fanfold engine new`: a package to begin from. Nothing is sent anywhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use common::package::tag::is_name;
use serde_json::{Value, json};

use super::Kind;
use crate::client::failure::Failure;
use crate::client::session::Session;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Letters, digits, - and _
    pub name: String,
    /// What an engine does
    #[arg(long = "type", value_name = "TYPE")]
    pub engine: Option<Engine>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Cuts the source into chunks
    Partitioner,
    /// Folds the results
    Assembler,
}

pub fn run(kind: Kind, args: &Args, session: &Session) -> Result<(), Failure> {
    let Args { name, engine } = args;
    if !is_name(name) {
        let problem = format!("{name:?} is no name: use letters, digits, - and _, at most 64");
        return Err(Failure::Usage(problem));
    }
    let (code, is) = match (kind, engine) {
        (Kind::App, None) => (include_str!("scaffold/app.py"), "app"),
        (Kind::Engine, Some(Engine::Partitioner)) => {
            (include_str!("scaffold/partitioner.py"), "partitioner")
        }
        (Kind::Engine, Some(Engine::Assembler)) => {
            (include_str!("scaffold/assembler.py"), "assembler")
        }
        (Kind::App, Some(_)) => {
            return Err(Failure::Usage(
                "an app has no --type; use `fanfold engine new`".to_owned(),
            ));
        }
        (Kind::Engine, None) => {
            let problem = "say what the engine does: --type partitioner or --type assembler";
            return Err(Failure::Usage(problem.to_owned()));
        }
    };
    let folder = PathBuf::from(name);
    write(&folder, name, is, code)
        .map_err(|error| Failure::local(format_args!("cannot make {name}"), error))?;
    session.output.result(&json!({ "folder": name }).to_string(), || {
        vec![format!("{name}: write app/main.py, then push the folder")]
    })
}

/// Writes a package of one script into a folder that was not there before.
fn write(folder: &Path, name: &str, is: &str, code: &str) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::create_dir(folder.join("app"))?;
    fs::write(folder.join("app/main.py"), code)?;
    document(
        &folder.join("manifest.json"),
        &json!({
            "name": name,
            "version": "0.1",
            "type": is,
            "description": format!("An {is} named {name}"),
            "platform": "docker",
            "entrypoint": "main.py",
            "platform_config": { "container": "python:latest", "private_image": false },
            "device_requirements": { "min_cpu": 1, "min_memory": 1 },
        }),
    )?;
    if is != "app" {
        return Ok(());
    }
    document(
        &folder.join("template.json"),
        &json!({
            "id": format!("{name}-template"),
            "description": "",
            "app": name,
            "partitioner": "passthrough",
            "assembler": "passthrough",
        }),
    )
}

fn document(path: &Path, value: &Value) -> io::Result<()> {
    fs::write(path, format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use common::package::archive::check;
    use common::package::manifest::Kind as Is;

    use super::*;
    use crate::commands::package::archive::pack;

    #[test]
    fn scaffold_can_be_pushed_unchanged() {
        let root = tempfile::tempdir().unwrap();
        for (is, kind) in
            [("app", Is::App), ("partitioner", Is::Partitioner), ("assembler", Is::Assembler)]
        {
            let folder = root.path().join(is);
            write(&folder, "mine", is, "print()").unwrap();

            let manifest = check(&pack(&folder).unwrap()).unwrap().manifest;

            assert_eq!((manifest.name.as_str(), manifest.kind), ("mine", kind));
        }
        let template = fs::read(root.path().join("app/template.json")).unwrap();
        let template: Value = serde_json::from_slice(&template).unwrap();
        let tags = ["app", "partitioner", "assembler"].map(|key| template[key].as_str());
        assert_eq!(tags, [Some("mine"), Some("passthrough"), Some("passthrough")]);
        assert!(write(&root.path().join("app"), "mine", "app", "print()").is_err());
    }
}
