//! Publishing packages and templates, and importing what others have published.
//!
//! An import is a link: from then on the name stands for what its owner publishes under it. A
//! name of a workspace is either its own or imported, so no import can take the place of something
//! that the workspace has made itself.

use common::ids::WorkspaceId;
use common::package::tag::{Pointer, split_owner};
use serde::Serialize;
use utoipa::ToSchema;

use super::packages::{find_own, only, pointer};
use crate::api::bytenite::secret_use;
use crate::api::bytenite::wire::{Done, done, done_with};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, post};
use crate::error::{Error, Result};
use crate::store::catalogue::imports;
use crate::store::catalogue::imports::{Import, Item};
use crate::store::catalogue::packages;
use crate::store::catalogue::packages::{Family, Package, Which};
use crate::store::catalogue::templates;
use crate::store::people::workspaces;

/// What has been imported, and what it will ask for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ImportOut {
    ok: bool,
    message: String,
    /// What jobs and templates call it from now on.
    name: String,
    #[schema(value_type = String)]
    owner: WorkspaceId,
    user_name: String,
    /// The ids of the caller's own secrets that its containers will be given.
    secrets: Vec<String>,
}

pub fn routes() -> Vec<Route> {
    let mut routes: Vec<_> = [Family::App, Family::Engine].into_iter().flat_map(family).collect();
    routes.extend([
        post("Developer_PublishTemplate", "/templates/{id}/publish", |id, call| {
            publish_template(id, call, true)
        })
        .summary("Lets everybody find and import a template"),
        post("Developer_UnpublishTemplate", "/templates/{id}/unpublish", |id, call| {
            publish_template(id, call, false)
        })
        .summary("Takes a template back; those who imported it can use it no more"),
        post("Developer_ImportTemplate", "/templates/{id}/import", import_template)
            .summary("Lets an id stand for a published template; OWNER/ID where several have it"),
        delete("Developer_ForgetTemplate", "/templates/{id}/import", |id, call| {
            forget(Item::Template, id, call)
        })
        .summary("Takes an import back"),
    ]);
    routes
}

fn family(family: Family) -> [Route; 4] {
    let (one, many) = match family {
        Family::App => ("App", "apps"),
        Family::Engine => ("Engine", "engines"),
    };
    let name = |verb: &str| format!("Developer_{verb}{one}");
    let path = |rest: &str| format!("/{many}/{{tag}}/{rest}");
    [
        post(name("Publish"), path("publish"), move |tag, call| publish(family, tag, call, true))
            .summary("Lets everybody find, read and import one version"),
        post(name("Unpublish"), path("unpublish"), move |tag, call| {
            publish(family, tag, call, false)
        })
        .summary("Takes a version back; those who imported it can start no more runs of it"),
        post(name("Import"), path("import"), move |tag, call| import(family, tag, call)).summary(
            "Lets a name stand for a published package; by id or OWNER/NAME where several have it",
        ),
        delete(name("Forget"), path("import"), move |tag, call| {
            forget(Item::Package(family), tag, call)
        })
        .summary("Takes an import back"),
    ]
}

async fn publish(family: Family, tag: Segment, call: Call, public: bool) -> Result<Done> {
    let package = find_own(family, &tag, &call).await?;
    let db = &call.app().db;
    if !packages::set_public(db, package.workspace, package.id, public).await? {
        return Err(Error::not_found(family.as_str(), &tag.0));
    }
    let is = if public { "is published" } else { "is not published any more" };
    Ok(done_with(format!("{}@{} {is}", package.manifest.name, package.manifest.version)))
}

async fn publish_template(id: Segment, call: Call, public: bool) -> Result<Done> {
    let caller = call.caller().await?;
    if !templates::set_public(&call.app().db, caller.workspace, &id.0, public).await? {
        return Err(Error::not_found("template", &id.0));
    }
    let is = if public { "is published" } else { "is not published any more" };
    Ok(done_with(format!("{} {is}", id.0)))
}

/// Links a name to another workspace's package, and notes the secrets that it asks for.
async fn import(family: Family, tag: Segment, call: Call) -> Result<ImportOut> {
    let caller = call.caller().await?;
    let user = caller.workspace;
    let db = &call.app().db;
    let package = published(family, &tag, &call, user).await?;
    secret_use::check_listed(&caller, "import", &package.manifest.secrets)?;
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
    let import = Import { owner, secrets };
    imports::put(db, user, item, &name, &import).await?;
    imported(&call, name, import).await
}

/// What somebody else has published under this id or tag.
async fn published(
    family: Family,
    tag: &Segment,
    call: &Call,
    user: WorkspaceId,
) -> Result<Package> {
    let db = &call.app().db;
    let found = match pointer(tag)? {
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
    let found = found.ok_or_else(|| Error::not_found(family.as_str(), &tag.0))?;
    if found.workspace == user {
        return Err(own_already(family.as_str(), &found.manifest.name));
    }
    Ok(found)
}

async fn import_template(id: Segment, call: Call) -> Result<ImportOut> {
    let user = call.caller().await?.workspace;
    let db = &call.app().db;
    let (owner, name) = split_owner(&id.0);
    let found = templates::published(db, user, name, owner).await?;
    let owners: Vec<_> = found.iter().map(|one| one.owner).filter(|one| *one != user).collect();
    let owner = only(&owners)?.ok_or_else(|| Error::not_found("template", &id.0))?;
    if templates::find(db, user, name).await?.is_some_and(|kept| kept.owner == user) {
        return Err(own_already("template", name));
    }
    let import = Import { owner, secrets: Vec::new() };
    imports::put(db, user, Item::Template, name, &import).await?;
    imported(&call, name.to_owned(), import).await
}

async fn forget(item: Item, name: Segment, call: Call) -> Result<Done> {
    let user = call.caller().await?.workspace;
    if !imports::delete(&call.app().db, user, item, &name.0).await? {
        return Err(Error::not_found("import", &name.0));
    }
    Ok(done())
}

async fn imported(call: &Call, name: String, import: Import) -> Result<ImportOut> {
    let owners = std::iter::once(import.owner);
    let names = workspaces::workspace_names(&call.app().db, owners).await?;
    let user_name = names.get(&import.owner).cloned().unwrap_or_default();
    let asks = match import.secrets.as_slice() {
        [] => String::new(),
        secrets => {
            format!(", and its containers will be given your secrets {}", secrets.join(", "))
        }
    };
    Ok(ImportOut {
        ok: true,
        message: format!("{name} now means what {user_name} publishes{asks}"),
        name,
        owner: import.owner,
        user_name,
        secrets: import.secrets,
    })
}

fn own_already(what: &str, name: &str) -> Error {
    Error::NotNow(format!(
        "this workspace has a {what} {name:?} of its own, which its jobs mean by that name: \
         delete it before importing another one"
    ))
}

#[cfg(test)]
mod tests;
