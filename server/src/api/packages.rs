//! Apps and engines: pushed as archives, found by tag, switched on and off.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use common::package::archive::{self, ARCHIVE_BYTES_MAX, Checked};
use common::package::manifest::Manifest;
use common::package::tag::{NotATag, Tag};
use serde_json::{Value, json};

use super::call::{Call, Segment};
use super::error::{Error, Result};
use super::package_out::{PackageOut, status_name, told};
use super::page::PAGE;
use super::page::Pagination;
use super::reply::{Done, done};
use super::route::{Route, delete, get, post};
use super::shape::text;
use super::{image_login, selection};
use crate::data::key::BlobKey;
use crate::store::packages::{self, Family, Package, PackageField, Which};
use crate::store::secrets;

/// Base64 adds a third; the rest is JSON around it.
const BODY_BYTES_MAX: u64 = ARCHIVE_BYTES_MAX / 3 * 4 + 64 * 1024;
/// By name, the newest version first.
const ORDER: [(PackageField, bool); 2] =
    [(PackageField::Name, false), (PackageField::Version, true)];
const LINK_LIVES: Duration = Duration::from_secs(3600);

pub fn routes() -> Vec<Route> {
    [Family::App, Family::Engine].into_iter().flat_map(family).collect()
}

fn family(family: Family) -> Vec<Route> {
    let (one, many) = match family {
        Family::App => ("App", "/apps"),
        Family::Engine => ("Engine", "/engines"),
    };
    let name = |verb: &str| format!("Developer_{verb}{one}");
    let path = |rest: &str| format!("{many}/{{tag}}{rest}");
    vec![
        get(name("List") + "s", many, move |call| list(family, call))
            .summary("Lists the workspace's packages, the newest version first")
            .query(PAGE),
        post(name("Push"), many, move |call| push(family, call))
            .summary("Takes a package in; the version that it names is written over")
            .body(match family {
                Family::App => vec![text("data", "The tar archive in base64").required()],
                Family::Engine => vec![
                    text("data", "The tar archive in base64"),
                    text("engineData", "The same; it may stand in the query too"),
                ],
            }),
        get(name("Get"), path(""), move |tag, call| read(family, tag, call))
            .summary("Finds a package by name, name@M or name@M.m"),
        delete(name("Delete"), path(""), move |tag, call| remove(family, tag, call))
            .summary("Deletes the one version that the tag names in full"),
        get(name("Get") + "Status", path("/status"), move |tag, call| status(family, tag, call))
            .summary("Says whether a package takes jobs"),
        get(name("Download"), path("/download"), move |tag, call| download(family, tag, call))
            .summary("Gives a link to the archive"),
        post(name("Activate"), path("/activate"), {
            move |tag, call| set_active(family, tag, call, true)
        })
        .summary("Lets a package take jobs"),
        post(name("Deactivate"), path("/deactivate"), {
            move |tag, call| set_active(family, tag, call, false)
        })
        .summary("Lets a package take no more jobs"),
    ]
}

const fn plural(family: Family) -> &'static str {
    match family {
        Family::App => "apps",
        Family::Engine => "engines",
    }
}

async fn list(family: Family, call: Call) -> Result<Value> {
    let caller = call.caller().await?;
    let (page, selection) = selection::from_query(&call.query()?, &ORDER)?;
    let (found, total) =
        packages::list(&call.app().db, caller.workspace, family, &selection).await?;
    let shown: Vec<_> = found.into_iter().map(PackageOut::from).collect();
    let pagination: Pagination = page.of(total);
    Ok(json!({plural(family): shown, "pagination": pagination}))
}

/// Takes an archive in; the version it names is written over.
async fn push(family: Family, mut call: Call) -> Result<PackageOut> {
    let caller = call.caller().await?;
    let doors = call.doors().clone();
    // Archives are read into memory: few at a time.
    let _turn = doors.pushes.acquire().await.map_err(|_| Error::Unavailable)?;
    let archive = read_archive(family, &mut call).await?;
    let Checked { manifest, login, rewritten } = check(family, archive.clone()).await?;
    let archive = rewritten.map_or(archive, Bytes::from);
    let digest = common::digest::Digest::of(&archive);
    let size = archive.len() as u64;
    let bytes = Box::pin(futures::stream::iter([Ok(archive)]));
    let app = call.app();
    app.data.put(&BlobKey::Package(digest), bytes).await?;
    let package = packages::push(&app.db, caller.workspace, &manifest, digest, size)
        .await
        .map_err(|error| other_kind(error, &manifest))?;
    if let Some(login) = login {
        let secret = image_login::secret(&manifest, login.username);
        app.secrets.keep(caller.workspace, &secret, &login.token.0).await?;
    }
    tracing::info!(package = %package.id, revision = package.revision, "package pushed");
    Ok(package.into())
}

/// The archive from the body's `data` (or, for engines, `engineData` there or in the query).
async fn read_archive(family: Family, call: &mut Call) -> Result<Bytes> {
    let mut body = call.json_up_to(BODY_BYTES_MAX).await?;
    let mut text = body.text("data")?;
    if text.is_none() && family == Family::Engine {
        text = body.text("engineData")?;
        let in_query = || Ok::<_, Error>(call.query()?.remove("engineData"));
        text = text.map_or_else(in_query, |text| Ok(Some(text)))?;
    }
    let text = text.ok_or_else(|| Error::field("data", "is missing: the package's tar archive"))?;
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet =
        if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, lenient)
        .decode(text.trim())
        .map(Bytes::from)
        .map_err(|error| Error::field("data", format!("is not base64: {error}")))
}

/// Looks through the archive, away from the threads that serve others.
async fn check(family: Family, archive: Bytes) -> Result<Checked> {
    let checked = tokio::task::spawn_blocking(move || archive::check(&archive))
        .await
        .map_err(|error| Error::Internal(Box::new(error)))?
        .map_err(|error| Error::Invalid(error.to_string()))?;
    match (family, Family::of(checked.manifest.kind)) {
        (Family::App, Family::Engine) => Err(Error::field(
            "manifest.json.type",
            "names an engine: push it to /v1/dev/engines (`fanfold engine push`)",
        )),
        (Family::Engine, Family::App) => {
            Err(Error::field("manifest.json.type", "must be partitioner or assembler"))
        }
        _ => Ok(checked),
    }
}

fn other_kind(error: packages::PushError, manifest: &Manifest) -> Error {
    match error {
        packages::PushError::OtherKind(kind) => {
            let (name, version) = (&manifest.name, manifest.version);
            let problem = format!("{name}@{version} is there already as a {}", kind.as_str());
            Error::field("manifest.json.type", problem)
        }
        packages::PushError::Db(error) => error.into(),
    }
}

async fn read(family: Family, tag: Segment, call: Call) -> Result<Value> {
    let package = PackageOut::from(find(family, &tag, &call).await?);
    let value = json!(package);
    Ok(match family {
        Family::App => json!({"app": value}),
        Family::Engine => value,
    })
}

async fn status(family: Family, tag: Segment, call: Call) -> Result<Value> {
    let package = find(family, &tag, &call).await?;
    Ok(told(&package, package.active, status_name(package.active).to_owned()))
}

async fn set_active(family: Family, tag: Segment, call: Call, active: bool) -> Result<Value> {
    let package = find(family, &tag, &call).await?;
    packages::set_active(&call.app().db, package.workspace, package.id, active).await?;
    Ok(told(&package, active, status_name(active).to_owned()))
}

/// Deletes the one version that the tag names in full, so that no tag deletes by accident.
async fn remove(family: Family, tag: Segment, call: Call) -> Result<Done> {
    let package = find(family, &tag, &call).await?;
    let whole = format!("{}@{}", package.manifest.name, package.manifest.version);
    if tag.0 != whole {
        let problem = format!("must name one version in full, such as {whole}");
        return Err(Error::field("tag", problem));
    }
    if !packages::delete(&call.app().db, package.workspace, package.id).await? {
        return Err(Error::not_found(family.as_str(), &tag.0));
    }
    let login = image_login::id(&package.manifest);
    secrets::delete(&call.app().db, package.workspace, image_login::KIND, &login).await?;
    tracing::info!(package = %package.id, "package deleted");
    Ok(done())
}

async fn download(family: Family, tag: Segment, call: Call) -> Result<Value> {
    let package = find(family, &tag, &call).await?;
    let file_name = format!("{}-{}.tar", package.manifest.name, package.manifest.version);
    let key = BlobKey::Package(package.digest);
    let link = call.app().data.download_link(&key, &file_name, LINK_LIVES).await?;
    Ok(told(&package, package.active, link))
}

/// The package that a tag of the caller's own names.
async fn find(family: Family, tag: &Segment, call: &Call) -> Result<Package> {
    let caller = call.caller().await?;
    let parsed: Tag = tag.0.parse().map_err(|e: NotATag| Error::field("tag", e.to_string()))?;
    packages::resolve(&call.app().db, caller.workspace, family, &parsed, Which::Any)
        .await?
        .ok_or_else(|| Error::not_found(family.as_str(), &tag.0))
}

#[cfg(test)]
mod tests;
