//! Packages as customers push them: a manifest and a script in a tar archive.

use anyhow::Result;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::machine::busybox::IMAGE;

/// A package whose entrypoint is a shell script.
pub struct Package {
    pub name: &'static str,
    kind: &'static str,
    manifest: Value,
    files: Vec<(String, Vec<u8>)>,
}

impl Package {
    pub fn app(name: &'static str, script: &str) -> Self {
        Self::new(name, "app", script)
    }

    pub fn partitioner(name: &'static str, script: &str) -> Self {
        Self::new(name, "partitioner", script)
    }

    pub fn assembler(name: &'static str, script: &str) -> Self {
        Self::new(name, "assembler", script)
    }

    fn new(name: &'static str, kind: &'static str, script: &str) -> Self {
        let manifest = json!({
            "name": name, "version": "1.0", "type": kind, "platform": "docker",
            "entrypoint": "main.sh", "platform_config": {"container": IMAGE},
            "device_requirements": {"min_cpu": 1, "min_memory": 1},
        });
        let script = format!("set -eu\n{script}\n").into_bytes();
        Self { name, kind, manifest, files: vec![("app/main.sh".to_owned(), script)] }
    }

    /// The same with another value in its manifest.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.manifest[key] = value;
        self
    }

    /// The same with another file.
    pub fn with_file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.push((path.to_owned(), bytes.to_vec()));
        self
    }

    /// Which of the two families it is pushed to.
    pub fn family(&self) -> &'static str {
        if self.kind == "app" { "apps" } else { "engines" }
    }

    /// The tar archive in base64, as the push call takes it.
    pub fn archive(&self) -> Result<String> {
        let manifest = ("manifest.json".to_owned(), serde_json::to_vec(&self.manifest)?);
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in self.files.iter().chain([&manifest]) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, format!("{}/{path}", self.name), &bytes[..])?;
        }
        Ok(base64::engine::general_purpose::STANDARD.encode(tar.into_inner()?))
    }
}
