//! Apps and engines: pushed as archives, found by tag, activated, downloaded and deleted.

use common::access::Scope;
use common::ids::PackageId;
use common::package::archive::ARCHIVE_BYTES_MAX;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::package_out::PackageOut;
use super::{PUBLIC, shelf};
use crate::api::http::call::{Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Body, Route, delete, get, post};
use crate::api::native::cursor;
use crate::api::native::page::{self, PAGE};
use crate::app::App;
use crate::definitions::packages::{self, CheckedArchive, Family, Package, PackageField};
use crate::definitions::{Listed, owner_names};
use crate::error::{Error, Result};
use crate::listing::{Selection, Start};

/// By name, the newest version first.
const ORDER: [(PackageField, bool); 2] =
    [(PackageField::Name, false), (PackageField::Version, true)];

pub fn routes() -> Vec<Route> {
    [Family::App, Family::Engine].into_iter().flat_map(family).collect()
}

/// The words of a family in names of operations and in paths.
pub const fn words(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::App => ("App", "apps"),
        Family::Engine => ("Engine", "engines"),
    }
}

fn family(family: Family) -> Vec<Route> {
    let (one, many) = words(family);
    let name = |verb: &str| format!("Fanfold_{verb}{one}");
    let path = |rest: &str| format!("/{many}/{{tag}}{rest}");
    vec![
        get(name("List") + "s", format!("/{many}"), move |call| list(family, call))
            .summary("Lists packages by their names, the newest version first")
            .query([&PAGE[..], &[PUBLIC]].concat())
            .needs(Scope::PackagesRead),
        post(name("Push"), format!("/{many}"), move |call| push(family, call))
            .creates()
            .summary("Uploads a package, in place of the version that its manifest names")
            .takes(Body::Bytes("The tar archive; gzip or zstd around it is taken off"))
            .needs(Scope::PackagesWrite),
        get(name("Get"), path(""), move |tag, call| read(family, tag, call))
            .summary("Gets a package by its id, by name, name@M or name@M.m")
            .needs(Scope::PackagesRead),
        delete(name("Delete"), path(""), move |tag, call| remove(family, tag, call))
            .summary("Deletes one version of a package, named by its full tag")
            .needs(Scope::PackagesWrite),
        get(name("Download"), path("/download"), move |tag, call| download(family, tag, call))
            .summary("Gets a link to the archive of a package")
            .needs(Scope::PackagesRead),
        post(name("Activate"), path("/activate"), move |tag, call| {
            set_active(family, tag, call, true)
        })
        .summary("Activates a package: new runs can use it")
        .needs(Scope::PackagesWrite),
        post(name("Deactivate"), path("/deactivate"), move |tag, call| {
            set_active(family, tag, call, false)
        })
        .summary("Deactivates a package: no new run can use it")
        .needs(Scope::PackagesWrite),
    ]
}

#[derive(Serialize, ToSchema)]
struct PackageList {
    /// By their names, the newest version first.
    packages: Vec<PackageOut>,
    next_cursor: Option<String>,
}

/// Where an archive can be read.
#[derive(Serialize, ToSchema)]
struct PackageLink {
    #[schema(value_type = String)]
    id: PackageId,
    /// Good for an hour.
    link: String,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedPackage {
    /// The full tag.
    tag: String,
}

async fn list(family: Family, call: Call) -> Result<PackageList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let selection = Selection {
        tests: Vec::new(),
        order: ORDER.to_vec(),
        start: Start::Place(cursor::read(&query, &ORDER)?),
        limit: page::limit(&query)?.into(),
    };
    let shelf = shelf(&query)?;
    let _permit = call.answer_permit(&caller).await;
    let Listed { found, owners } =
        packages::list(call.app(), &caller, family, shelf, &selection).await?;
    let next_cursor = cursor::next(&found);
    let packages = found.rows.into_iter().map(|one| PackageOut::new(one, &owners)).collect();
    Ok(PackageList { packages, next_cursor })
}

async fn push(family: Family, mut call: Call) -> Result<PackageOut> {
    let caller = call.caller().await?;
    let state = call.state().clone();
    let waiting = state.permits.spools.take(caller.workspace).await?;
    let body = call.spool(ARCHIVE_BYTES_MAX).await?;
    // Archives are read into memory: few at a time, and none of them waits for its client.
    let _turn = state.permits.pushes.take(caller.workspace).await?;
    let bytes = body.read().await?;
    drop(waiting);
    let key = idempotency::key(&call, &bytes)?;
    let archive = CheckedArchive::read(&caller, bytes).await?;
    if archive.family() != family {
        let (_, many) = words(archive.family());
        let problem = format!("is another one than those here: push it to /v1/{many}");
        return Err(Error::field("manifest.json.type", problem));
    }
    let app = call.app();
    let new = crate::idempotency::new_id(app, &caller, key.as_ref(), Uuid::now_v7()).await?;
    shown(app, packages::push(app, &caller, archive, new.again).await?).await
}

async fn read(family: Family, tag: Segment, call: Call) -> Result<PackageOut> {
    let caller = call.caller().await?;
    shown(call.app(), packages::find(call.app(), &caller, family, &tag.0).await?).await
}

async fn remove(family: Family, tag: Segment, call: Call) -> Result<DeletedPackage> {
    let caller = call.caller().await?;
    packages::delete(call.app(), &caller, family, &tag.0).await?;
    Ok(DeletedPackage { tag: tag.0 })
}

async fn download(family: Family, tag: Segment, call: Call) -> Result<PackageLink> {
    let caller = call.caller().await?;
    let package = packages::find(call.app(), &caller, family, &tag.0).await?;
    let link = packages::download_link(call.app(), &caller, &package);
    Ok(PackageLink { id: package.id, link })
}

async fn set_active(family: Family, tag: Segment, call: Call, active: bool) -> Result<PackageOut> {
    let caller = call.caller().await?;
    let changed = packages::set_active(call.app(), &caller, family, &tag.0, active).await?;
    shown(call.app(), changed).await
}

/// A package with the name of its owner.
pub async fn shown(app: &App, package: Package) -> Result<PackageOut> {
    let owners = owner_names(app, [package.workspace]).await?;
    Ok(PackageOut::new(package, &owners))
}
