//! The whole log of a run, in the order in which it came.

use common::ids::RunId;
use common::protocol::Stream as Source;
use futures::{Stream, stream};

use super::status;
use crate::app::App;
use crate::error::{Error, Result};
use crate::logs::reader::Logs;
use crate::people::caller::Caller;
pub use crate::store::logs::LogView as Line;
use crate::store::logs::{Batch, Filter};

/// The lines of the caller's run, many at a time.
pub async fn read(
    app: &App,
    caller: &Caller,
    run: RunId,
) -> Result<impl Stream<Item = Result<Vec<Line>>> + Send + use<>> {
    status::find(app, caller, run).await?;
    Ok(stream::try_unfold((app.clone(), None), move |(app, after)| async move {
        let logs = Logs { db: &app.db, data: &app.data };
        let mut scan = logs.scan(run, Filter::default(), after);
        let Some(batches) = scan.next().await? else { return Ok::<_, Error>(None) };
        let after = Some(scan.place());
        let lines = batches.into_iter().flat_map(Batch::into_views).collect();
        Ok(Some((lines, (app, after))))
    }))
}

/// What a text calls the source of a line.
pub const fn name_of(source: Source) -> &'static str {
    match source {
        Source::Out => "out",
        Source::Err => "err",
        Source::Node => "node",
    }
}
