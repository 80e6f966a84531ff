//! Publishing packages and templates, and importing what others have published.

use common::ids::WorkspaceId;
use common::package::manifest::Manifest;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::wire::{Done, done, done_with};
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, delete, post};
use crate::definitions::packages::Family;
use crate::definitions::sharing::{self, Imported, Item};
use crate::error::Result;

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
        .summary("Publishes a template: every workspace can find and import it"),
        post("Developer_UnpublishTemplate", "/templates/{id}/unpublish", |id, call| {
            publish_template(id, call, false)
        })
        .summary("Unpublishes a template: workspaces that imported it can no longer use it"),
        post("Developer_ImportTemplate", "/templates/{id}/import", import_template)
            .summary("Imports a published template; by OWNER/ID where several have it"),
        delete("Developer_ForgetTemplate", "/templates/{id}/import", |id, call| {
            remove_import(Item::Template, id, call)
        })
        .summary("Removes an import"),
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
            .summary("Publishes one version: every workspace can find, read and import it"),
        post(name("Unpublish"), path("unpublish"), move |tag, call| {
            publish(family, tag, call, false)
        })
        .summary(
            "Unpublishes one version: workspaces that imported it can start no more runs of it",
        ),
        post(name("Import"), path("import"), move |tag, call| import(family, tag, call))
            .summary("Imports a published package; by id or OWNER/NAME where several have it"),
        delete(name("Forget"), path("import"), move |tag, call| {
            remove_import(Item::Package(family), tag, call)
        })
        .summary("Removes an import"),
    ]
}

async fn publish(family: Family, tag: Segment, call: Call, public: bool) -> Result<Done> {
    let caller = call.caller().await?;
    let package = sharing::publish_package(call.app(), &caller, family, &tag.0, public).await?;
    let Manifest { name, version, .. } = package.manifest;
    Ok(done_with(format!("{name}@{version} {}", is_published(public))))
}

async fn publish_template(id: Segment, call: Call, public: bool) -> Result<Done> {
    let caller = call.caller().await?;
    sharing::publish_template(call.app(), &caller, &id.0, public).await?;
    Ok(done_with(format!("{} {}", id.0, is_published(public))))
}

const fn is_published(public: bool) -> &'static str {
    if public { "is published" } else { "is not published any more" }
}

async fn import(family: Family, tag: Segment, call: Call) -> Result<ImportOut> {
    let caller = call.caller().await?;
    Ok(sharing::import_package(call.app(), &caller, family, &tag.0).await?.into())
}

async fn import_template(id: Segment, call: Call) -> Result<ImportOut> {
    let caller = call.caller().await?;
    Ok(sharing::import_template(call.app(), &caller, &id.0).await?.into())
}

async fn remove_import(item: Item, name: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    sharing::remove_import(call.app(), &caller, item, &name.0).await?;
    Ok(done())
}

impl From<Imported> for ImportOut {
    fn from(Imported { name, owner, owner_name, secrets }: Imported) -> Self {
        let asks = if secrets.is_empty() {
            String::new()
        } else {
            format!(", and its containers will be given your secrets {}", secrets.join(", "))
        };
        let message = format!("{name} now means what {owner_name} publishes{asks}");
        Self { ok: true, message, name, owner, user_name: owner_name, secrets }
    }
}

#[cfg(test)]
mod tests;
