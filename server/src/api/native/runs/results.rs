//! The files that came out of a run.

use common::ids::RunId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::query;
use crate::api::http::route::{Route, get};
use crate::api::http::shape::flag;
use crate::api::native::page::CURSOR;
use crate::error::Result;
use crate::jobs::runs::results::{self, ResultFile, ResultPage};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListResults", "/runs/{run}/results", list)
            .summary("Lists the files of a run that has ended, with links")
            .query(vec![
                CURSOR,
                flag("partial", "Of a run that failed or was cancelled: lists what was accepted"),
            ]),
    ]
}

#[derive(Serialize, ToSchema)]
struct RunResults {
    /// In the order of their names.
    files: Vec<RunFile>,
    /// Whether these are the results of accepted tasks, not folded: the run did not succeed.
    is_partial: bool,
    next_cursor: Option<String>,
}

/// A file of a run's results.
#[derive(Serialize, ToSchema)]
pub struct RunFile {
    name: String,
    /// A link where the server keeps the file, its address where it was delivered.
    link: String,
    /// Bytes.
    size: u64,
}

async fn list(run: Segment, call: Call) -> Result<RunResults> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let takes_partial = query::flag(&query, "partial")?.unwrap_or(false);
    let after = query.get("cursor").map(String::as_str);
    let run = run.id::<RunId>("run")?;
    let _permit = call.answer_permit(&caller).await;
    let page = results::read(call.app(), &caller, run, takes_partial, after).await;
    let ResultPage { files, is_partial, next } = page?;
    let files = files.into_iter().map(RunFile::from).collect();
    Ok(RunResults { files, is_partial, next_cursor: next })
}

impl From<ResultFile> for RunFile {
    fn from(ResultFile { name, link, size }: ResultFile) -> Self {
        Self { name, link, size }
    }
}
