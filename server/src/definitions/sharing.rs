//! Publishing packages and templates, and importing what others have published.
//!
//! An import is a link: from then on the name stands for what its owner publishes under it. A
//! name of a workspace is either its own or imported, so no import can take the place of something
//! that the workspace has made itself.

use common::ids::WorkspaceId;
use common::package::tag::{Pointer, split_owner};

use super::packages::{find_own, parse};
use super::{only, owner_names};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::secret_use;
use crate::people::caller::Caller;
use crate::store::catalogue::imports::Import;
use crate::store::catalogue::packages::{Family, Package, Which};
use crate::store::catalogue::{imports, packages, templates};

pub use crate::store::catalogue::imports::Item;

/// A name that stands for another workspace's item.
pub struct Imported {
    pub name: String,
    pub owner: WorkspaceId,
    pub owner_name: String,
    /// The ids of the importer's own secrets that the item's containers are given.
    pub secrets: Vec<String>,
}

/// Publishes one version of the caller's package, or takes it back.
pub async fn publish_package(
    app: &App,
    caller: &Caller,
    family: Family,
    name: &str,
    public: bool,
) -> Result<Package> {
    let package = find_own(app, caller, family, name).await?;
    if !packages::set_public(&app.db, package.workspace, package.id, public).await? {
        return Err(Error::not_found(family.as_str(), name));
    }
    Ok(Package { public, ..package })
}

/// Publishes the caller's template, or takes it back.
pub async fn publish_template(app: &App, caller: &Caller, id: &str, public: bool) -> Result<()> {
    if !templates::set_public(&app.db, caller.workspace, id, public).await? {
        return Err(Error::not_found("template", id));
    }
    Ok(())
}

/// Links a name to another workspace's package, and notes the secrets that it asks for.
pub async fn import_package(
    app: &App,
    caller: &Caller,
    family: Family,
    name: &str,
) -> Result<Imported> {
    let (db, user) = (&app.db, caller.workspace);
    let package = published(app, user, family, name).await?;
    secret_use::check_listed(caller, "import", &package.manifest.secrets)?;
    let (name, owner) = (package.manifest.name, package.workspace);
    if packages::owns(db, user, family, &name).await? {
        return Err(own_already(family.as_str(), &name));
    }
    let item = Item::Package(family);
    // What was agreed to for other versions stays.
    let before = imports::find(db, user, item, &name).await?;
    let mut secrets = before.filter(|one| one.owner == owner).map_or(Vec::new(), |one| one.secrets);
    for secret in &package.manifest.secrets {
        if !secrets.contains(secret) {
            secrets.push(secret.clone());
        }
    }
    import(app, user, item, name, Import { owner, secrets }).await
}

/// What another workspace has published under this id or tag.
async fn published(app: &App, user: WorkspaceId, family: Family, name: &str) -> Result<Package> {
    let db = &app.db;
    let found = match parse(name)? {
        Pointer::Id(id) => packages::find(db, user, family, id).await?,
        Pointer::Tag { owner, tag } => {
            let publishers = packages::publishers(db, family, &tag, owner.as_deref()).await?;
            let others: Vec<_> = publishers.into_iter().filter(|one| *one != user).collect();
            match only(&others)? {
                Some(owner) => packages::resolve(db, owner, user, family, &tag, Which::Any).await?,
                None => None,
            }
        }
    };
    let found = found.ok_or_else(|| Error::not_found(family.as_str(), name))?;
    if found.workspace == user {
        return Err(own_already(family.as_str(), &found.manifest.name));
    }
    Ok(found)
}

/// Links an id to another workspace's template.
pub async fn import_template(app: &App, caller: &Caller, id: &str) -> Result<Imported> {
    let (db, user) = (&app.db, caller.workspace);
    let (owner, name) = split_owner(id);
    let found = templates::published(db, user, name, owner).await?;
    let owners: Vec<_> = found.iter().map(|one| one.owner).filter(|one| *one != user).collect();
    let owner = only(&owners)?.ok_or_else(|| Error::not_found("template", id))?;
    if templates::find(db, user, name).await?.is_some_and(|kept| kept.owner == user) {
        return Err(own_already("template", name));
    }
    let link = Import { owner, secrets: Vec::new() };
    import(app, user, Item::Template, name.to_owned(), link).await
}

/// Removes an import: the name stands for nothing.
pub async fn remove_import(app: &App, caller: &Caller, item: Item, name: &str) -> Result<()> {
    if !imports::delete(&app.db, caller.workspace, item, name).await? {
        return Err(Error::not_found("import", name));
    }
    Ok(())
}

async fn import(
    app: &App,
    user: WorkspaceId,
    item: Item,
    name: String,
    link: Import,
) -> Result<Imported> {
    imports::put(&app.db, user, item, &name, &link).await?;
    let Import { owner, secrets } = link;
    let owner_name = owner_names(app, [owner]).await?.remove(&owner).unwrap_or_default();
    Ok(Imported { name, owner, owner_name, secrets })
}

fn own_already(what: &str, name: &str) -> Error {
    Error::NotNow(format!(
        "this workspace has a {what} {name:?} of its own, which its jobs mean by that name: \
         delete it before importing another one"
    ))
}
