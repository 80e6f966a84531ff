//! Apps and engines: pushed as archives, found by tag, activated and deactivated.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use common::package::archive::ARCHIVE_BYTES_MAX;
use common::package::manifest::Manifest;
use common::package::tag::Tag;

use super::package_out::{OnePackage, PackageOut, PackagesOut, Told};
use crate::api::bytenite::lists::named::Named;
use crate::api::bytenite::lists::selection;
use crate::api::bytenite::lists::selection::LIST;
use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::{Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Field, flag, text};
use crate::app::App;
use crate::definitions::packages::{self, CheckedArchive, Family, Package, PackageField};
use crate::definitions::{Listed, Shelf, owner_names};
use crate::error::{Error, Result};

/// Base64 adds a third; the rest is JSON around it.
const BODY_BYTES_MAX: u64 = ARCHIVE_BYTES_MAX / 3 * 4 + 64 * 1024;
/// By name, the newest version first.
const ORDER: [(PackageField, bool); 2] =
    [(PackageField::Name, false), (PackageField::Version, true)];

pub fn routes() -> Vec<Route> {
    [Family::App, Family::Engine].into_iter().flat_map(family).collect()
}

/// The old form of a push, with the fields of an engine's message in the query.
const ENGINE_QUERY: &[Field] = &[
    text("engineData", "The tar archive in base64"),
    text("engineTag", "Must be what the manifest says, where it is given"),
    text("engineId", "Takes no part: the manifest names the engine"),
    text("engineLink", "Takes no part"),
    text("engineStatus", "Takes no part"),
];

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
            .query(list_query()),
        post(name("Push"), many, move |call| push(family, call))
            .creates()
            .query(match family {
                Family::App => vec![],
                Family::Engine => ENGINE_QUERY.to_vec(),
            })
            .summary("Uploads a package, replacing the version in its manifest")
            .body(match family {
                Family::App => vec![
                    text("data", "The tar archive in base64; gzip or zstd around it is taken off")
                        .required(),
                ],
                Family::Engine => vec![
                    text("data", "The tar archive in base64; gzip or zstd around it is taken off"),
                    text("engineData", "The same; it may stand in the query too"),
                    text("engineTag", "Must be what the manifest says, where it is given"),
                ],
            }),
        get(name("Get"), path(""), move |tag, call| read(family, tag, call))
            .summary("Gets a package by name, name@M or name@M.m"),
        delete(name("Delete"), path(""), move |tag, call| remove(family, tag, call))
            .summary("Deletes one version of a package, named by its full tag"),
        get(name("Get") + "Status", path("/status"), move |tag, call| status(family, tag, call))
            .summary("Gets the activation status of a package"),
        get(name("Download"), path("/download"), move |tag, call| download(family, tag, call))
            .summary("Gets a link to the archive of a package"),
        post(name("Activate"), path("/activate"), {
            move |tag, call| set_active(family, tag, call, true)
        })
        .summary("Activates a package"),
        post(name("Deactivate"), path("/deactivate"), {
            move |tag, call| set_active(family, tag, call, false)
        })
        .summary("Deactivates a package: no new job can use it"),
    ]
}

/// What lists of packages and templates can be asked.
pub fn list_query() -> Vec<Field> {
    let public = "true: what everybody has published; false: the own that is not; else all that \
                  own tags can name";
    [LIST, &[flag("isPublic", public)]].concat()
}

impl Named for PackageField {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Version => "version",
            Self::Status => "status",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
        }
    }

    fn choices(self) -> &'static [&'static str] {
        if self == Self::Status { &["inactive", "active"] } else { &[] }
    }
}

async fn list(family: Family, call: Call) -> Result<PackagesOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let selection = selection::from_query(&query, &ORDER)?;
    let shelf = shelf(&query)?;
    let _permit = call.answer_permit(&caller).await;
    let Listed { found, owners } =
        packages::list(call.app(), &caller, family, shelf, &selection).await?;
    let pagination = selection::pagination(&selection, &found);
    let shown = found.rows.into_iter().map(|one| PackageOut::new(one, &owners)).collect();
    Ok(match family {
        Family::App => PackagesOut::Apps { apps: shown, pagination },
        Family::Engine => PackagesOut::Engines { engines: shown, pagination },
    })
}

async fn push(family: Family, mut call: Call) -> Result<PackageOut> {
    let caller = call.caller().await?;
    let state = call.state().clone();
    let waiting = state.permits.spools.take(caller.workspace).await?;
    let body = call.spool(BODY_BYTES_MAX).await?;
    // Archives are read into memory: few at a time, and none of them waits for its client.
    let _turn = state.permits.pushes.take(caller.workspace).await?;
    let body = body.read().await?;
    drop(waiting);
    let (bytes, tag) = read_archive(family, &call, &body)?;
    drop(body);
    let archive = CheckedArchive::read(&caller, bytes.clone()).await?;
    check_family(family, &archive)?;
    check_tag(tag.as_deref(), archive.manifest())?;
    let repeated = idempotency::new_id(&call, &caller, &bytes).await?.again;
    drop(bytes);
    shown(call.app(), packages::push(call.app(), &caller, archive, repeated).await?).await
}

/// The archive from the body's `data`. For engines it may be `engineData` too, there or in the
/// query, with an `engineTag` beside it.
fn read_archive(family: Family, call: &Call, body: &[u8]) -> Result<(Bytes, Option<String>)> {
    let mut body = call.object(body)?;
    let (mut text, mut tag) = (body.text("data")?, None);
    if family == Family::Engine {
        let mut query = call.query()?;
        let mut either = |name: &str| -> Result<Option<String>> {
            let given = body.text(name)?.or_else(|| query.remove(name));
            Ok(given.filter(|text| !text.is_empty()))
        };
        let data = either("engineData")?;
        text = text.or(data);
        tag = either("engineTag")?;
    }
    let text = text.ok_or_else(|| Error::field("data", "is missing: the package's tar archive"))?;
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet =
        if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, lenient)
        .decode(text.trim())
        .map(|archive| (Bytes::from(archive), tag))
        .map_err(|error| Error::field("data", format!("is not base64: {error}")))
}

/// Refuses an app among engines, and an engine among apps.
fn check_family(family: Family, archive: &CheckedArchive) -> Result<()> {
    match (family, archive.family()) {
        (Family::App, Family::Engine) => Err(Error::field(
            "manifest.json.type",
            "names an engine: push it to /v1/dev/engines (`fanfold engine push`)",
        )),
        (Family::Engine, Family::App) => {
            Err(Error::field("manifest.json.type", "must be partitioner or assembler"))
        }
        _ => Ok(()),
    }
}

/// Refuses an archive that is not what was said beside it.
fn check_tag(tag: Option<&str>, manifest: &Manifest) -> Result<()> {
    let Some(tag) = tag else { return Ok(()) };
    let fits = |tag: Tag| tag.name == manifest.name && tag.matches(manifest.version);
    if tag.parse().is_ok_and(fits) {
        return Ok(());
    }
    let is = format!("{}@{}", manifest.name, manifest.version);
    Err(Error::field("engineTag", format!("is {tag:?}, but the archive is {is}")))
}

async fn read(family: Family, tag: Segment, call: Call) -> Result<OnePackage> {
    let caller = call.caller().await?;
    let package = packages::find(call.app(), &caller, family, &tag.0).await?;
    let package = shown(call.app(), package).await?;
    Ok(match family {
        Family::App => OnePackage::App { app: package },
        Family::Engine => OnePackage::Engine(package),
    })
}

async fn status(family: Family, tag: Segment, call: Call) -> Result<Told> {
    let caller = call.caller().await?;
    Ok(Told::status(&packages::find(call.app(), &caller, family, &tag.0).await?))
}

async fn set_active(family: Family, tag: Segment, call: Call, active: bool) -> Result<Told> {
    let caller = call.caller().await?;
    let package = packages::set_active(call.app(), &caller, family, &tag.0, active).await?;
    Ok(Told::status(&package))
}

async fn remove(family: Family, tag: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    packages::delete(call.app(), &caller, family, &tag.0).await?;
    Ok(done())
}

async fn download(family: Family, tag: Segment, call: Call) -> Result<Told> {
    let caller = call.caller().await?;
    let package = packages::find(call.app(), &caller, family, &tag.0).await?;
    Ok(Told::link(&package, packages::download_link(call.app(), &caller, &package)))
}

/// Which part of the catalogue `isPublic` in a query asks for.
pub fn shelf(query: &BTreeMap<String, String>) -> Result<Shelf> {
    match query.get("isPublic").or_else(|| query.get("is_public")).map(String::as_str) {
        None | Some("") => Ok(Shelf::Usable),
        Some("true") => Ok(Shelf::Published),
        Some("false") => Ok(Shelf::Unpublished),
        Some(_) => Err(Error::field("isPublic", "must be true or false")),
    }
}

async fn shown(app: &App, package: Package) -> Result<PackageOut> {
    let owners = owner_names(app, [package.workspace]).await?;
    Ok(PackageOut::new(package, &owners))
}

#[cfg(test)]
mod tests;
