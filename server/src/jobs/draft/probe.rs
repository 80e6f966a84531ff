//! Looking at a data source before a job needs it: is it there, and what is in it?

use common::data::location::DraftSource;
use common::error_chain::chain;
use common::secret::DataEnd;

use crate::app::App;
use crate::data;
pub use crate::data::{Listed, Looked, LookedKind};
use crate::error::{Error, Result};
use crate::field::Field;
use crate::jobs::draft::Given;
use crate::jobs::secret_use;
use crate::people::caller::Caller;

/// Reads a source's outline with the keys that are given, or with the secret that it names.
pub async fn probe(app: &App, caller: &Caller, source: Given<DraftSource>) -> Result<Looked> {
    secret_use::check_location(caller, DataEnd::Source, &source.location)?;
    let looked = app.data.look(caller.workspace, &source.location, source.keys).await;
    looked.map_err(unreachable)
}

/// What befell a connection is for the log alone: it would tell a scanner which ports are open.
fn unreachable(error: data::Error) -> Error {
    match error {
        data::Error::Store(_) | data::Error::Io(_) | data::Error::Elsewhere(_) => {
            tracing::info!(error = %chain(&error), "source not reached");
            let what = "its server cannot be reached, or does not answer as it should: check the \
                        address, and try again";
            Error::NotNow(what.to_owned()).at(Field::Location(DataEnd::Source))
        }
        data::Error::Customer(_)
        | data::Error::At(..)
        | data::Error::NotFound(_)
        | data::Error::Mismatch
        | data::Error::Damaged(_)
        | data::Error::Full(_) => error.into(),
    }
}
