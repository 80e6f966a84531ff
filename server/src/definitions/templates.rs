//! Templates. They need no activation: a template is as good as the packages it names.

use common::package::tag::split_owner;
use common::package::template::Template;

use super::{Listed, Shelf, only, owner_names};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::resolve::params;
use crate::jobs::secret_use;
use crate::people::caller::Caller;
use crate::store::catalogue::templates;
use crate::store::query::selection::Selection;

pub use crate::store::catalogue::templates::{Kept, TemplateField};

/// Stores a template in place of the one with the same id.
///
/// # Errors
/// Where its params do not fit its packages, or it names a secret and the caller may use none.
pub async fn put(app: &App, caller: &Caller, template: &Template) -> Result<()> {
    secret_use::check_locations(caller, template.source.as_ref(), template.destination.as_ref())?;
    params::check_template(app, caller.workspace, template).await?;
    Ok(templates::put(&app.db, caller.workspace, template).await?)
}

/// A part of the templates on a shelf.
pub async fn list(
    app: &App,
    caller: &Caller,
    shelf: Shelf,
    selection: &Selection<TemplateField>,
) -> Result<Listed<Kept>> {
    let found = templates::list(&app.db, caller.workspace, shelf, selection).await?;
    let owners = owner_names(app, found.rows.iter().map(|kept| kept.owner)).await?;
    Ok(Listed { found, owners })
}

/// The template that an id names: the caller's own, an imported one, or, with its owner before it
/// (`OWNER/ID`), a published one.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<Kept> {
    let (db, reader) = (&app.db, caller.workspace);
    let found = match split_owner(id) {
        (None, id) => templates::find(db, reader, id).await?,
        (owner, id) => {
            let mut found = templates::published(db, reader, id, owner).await?;
            let owners: Vec<_> = found.iter().map(|kept| kept.owner).collect();
            only(&owners)?.and_then(|_| found.pop())
        }
    };
    found.ok_or_else(|| Error::not_found("template", id))
}

/// Deletes a template. Jobs that were made of it keep their copies.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<()> {
    if !templates::delete(&app.db, caller.workspace, id).await? {
        return Err(Error::not_found("template", id));
    }
    Ok(())
}
