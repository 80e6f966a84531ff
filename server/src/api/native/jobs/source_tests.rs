//! Trying a source before a job needs it: is it there, and what is in it?

use serde::Serialize;
use utoipa::ToSchema;

use super::locations::{SOURCE, read_source};
use crate::api::http::call::Call;
use crate::api::http::route::{Route, post};
use crate::api::http::shape::one;
use crate::error::{Error, Result};
use crate::jobs::draft::Given;
use crate::jobs::draft::probe::{Listed, Looked, LookedKind, probe};

pub fn routes() -> Vec<Route> {
    vec![
        post("Fanfold_TestSource", "/source_tests", test)
            .summary("Tests a source without reading its data")
            .body(vec![one("source", &SOURCE, "As jobs take it").required()]),
    ]
}

/// What was found at a source.
#[derive(Serialize, ToSchema)]
struct SourceTest {
    /// Of its file, or of the last folder in its path.
    name: String,
    path: String,
    /// Bytes in all; null where the source does not say it.
    size: Option<u64>,
    /// Of a folder or a pattern.
    files: Vec<SourceFile>,
    /// Whether there is more than could be listed.
    has_more: bool,
}

/// A file of a source.
#[derive(Serialize, ToSchema)]
struct SourceFile {
    path: String,
    /// Bytes.
    size: u64,
}

async fn test(mut call: Call) -> Result<SourceTest> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let field = body.name("source");
    let source = body.object("source")?.ok_or_else(|| Error::field(field, "is missing"))?;
    body.finish()?;
    let location = read_source(source)?;
    call.state().source_tests.take(&caller.workspace.to_string())?;
    Ok(probe(call.app(), &caller, Given { location, keys: None }).await?.into())
}

impl From<Looked> for SourceTest {
    fn from(Looked { name, path, size, kind, files, .. }: Looked) -> Self {
        let (files, has_more) = match kind {
            LookedKind::File => (Vec::new(), false),
            LookedKind::Files { more } => (files, more),
        };
        let shown = |Listed { path, size, .. }: Listed| SourceFile { path, size };
        Self { name, path, size, files: files.into_iter().map(shown).collect(), has_more }
    }
}
