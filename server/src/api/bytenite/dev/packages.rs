//! Apps and engines: pushed as archives, found by tag, switched on and off.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use common::ids::WorkspaceId;
use common::package::archive::{self, ARCHIVE_BYTES_MAX, Checked};
use common::package::manifest::Manifest;
use common::package::tag::{NotATag, Pointer, Tag};
use common::secret::SecretKind;

use super::image_login;
use super::package_out::{OnePackage, PackageOut, PackagesOut, Told};
use crate::api::bytenite::lists::selection;
use crate::api::bytenite::lists::selection::LIST;
use crate::api::bytenite::secret_use;
use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::{Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, post};
use crate::api::http::shape::{Field, flag, text};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::links::Linked;
use crate::error::{Error, Result};
use crate::files;
use crate::people::caller::Caller;
use crate::store::catalogue::packages;
use crate::store::catalogue::packages::{Family, Package, PackageField, Pushed, Shelf, Which};
use crate::store::people::workspaces;
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
            .summary("Takes a package in; the version that it names is written over")
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

/// What lists of packages and templates can be asked.
pub fn list_query() -> Vec<Field> {
    let public = "true: what everybody has published; false: the own that is not; else all that \
                  own tags can name";
    [LIST, &[flag("isPublic", public)]].concat()
}

async fn list(family: Family, call: Call) -> Result<PackagesOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let selection = selection::from_query(&query, &ORDER)?;
    let shelf = shelf(&query)?;
    let _place = call.answer_place(&caller).await;
    let db = &call.app().db;
    let found = packages::list(db, caller.workspace, family, shelf, &selection).await?;
    let pagination = selection::pagination(&selection, &found);
    let owners = found.rows.iter().map(|package| package.workspace);
    let names = workspaces::workspace_names(db, owners).await?;
    let shown = found.rows.into_iter().map(|one| PackageOut::new(one, &names)).collect();
    Ok(match family {
        Family::App => PackagesOut::Apps { apps: shown, pagination },
        Family::Engine => PackagesOut::Engines { engines: shown, pagination },
    })
}

/// Takes an archive in; the version it names is written over.
async fn push(family: Family, mut call: Call) -> Result<PackageOut> {
    let caller = call.caller().await?;
    let doors = call.doors().clone();
    let waiting = doors.places.spools.take(caller.workspace).await?;
    let body = call.spool(BODY_BYTES_MAX).await?;
    // Archives are read into memory: few at a time, and none of them waits for its client.
    let _turn = doors.places.pushes.take(caller.workspace).await?;
    let body = body.read().await?;
    drop(waiting);
    let (archive, tag) = read_archive(family, &call, &body)?;
    drop(body);
    let Checked { manifest, schema, login, rewritten } = check(family, archive.clone()).await?;
    check_tag(tag.as_deref(), &manifest)?;
    secret_use::check_listed(&caller, "platform_config.secrets", &manifest.secrets)?;
    let login = login.map(|login| image_login::secret(&manifest, login)).transpose()?;
    let again = idempotency::new_id(&call, &caller, &archive).await?.again;
    let archive = rewritten.map_or(archive, Bytes::from);
    let digest = common::digest::Digest::of(&archive);
    if again
        && let Some(made) = pushed_before(family, &caller, &manifest, call.app()).await?
        && made.digest == digest
    {
        return shown(call.app(), made).await;
    }
    let size = archive.len() as u64;
    let bytes = Box::pin(futures::stream::iter([Ok(archive)]));
    let app = call.app();
    let key = BlobKey::Package(digest);
    app.data.quotas().reserve(caller.workspace, &key, size).await?;
    app.data.put(&key, bytes).await?;
    let pushed = Pushed { manifest: &manifest, schema: schema.as_ref(), digest, size };
    let package = packages::push(&app.db, caller.workspace, pushed)
        .await
        .map_err(|error| other_kind(error, &manifest))?;
    if let Some((secret, token)) = login {
        app.secrets.keep(caller.workspace, &secret, &token.0).await?;
    }
    tracing::info!(package = %package.id, revision = package.revision, "package pushed");
    shown(app, package).await
}

/// The caller's own package of this name and version, as it is.
async fn pushed_before(
    family: Family,
    caller: &Caller,
    manifest: &Manifest,
    app: &App,
) -> Result<Option<Package>> {
    let owner = caller.workspace;
    let whole = format!("{}@{}", manifest.name, manifest.version);
    let tag = whole.parse().map_err(|e: NotATag| Error::field("tag", e.to_string()))?;
    let found = packages::resolve(&app.db, owner, owner, family, &tag, Which::Any).await?;
    Ok(found.filter(|package| package.workspace == owner))
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

/// Looks through the archive, away from the threads that serve others.
async fn check(family: Family, archive: Bytes) -> Result<Checked> {
    let checked = tokio::task::spawn_blocking(move || archive::check(&archive))
        .await
        .map_err(|error| Error::Internal(Box::new(error)))?
        .map_err(|error| match error {
            archive::Error::Document(invalid) => Error::from(invalid),
            archive::Error::Packing(_)
            | archive::Error::Damaged(_)
            | archive::Error::TooLarge
            | archive::Error::Contents(_)
            | archive::Error::NoEntrypoint(_)
            | archive::Error::EmptyEntrypoint(_)
            | archive::Error::Login => Error::Invalid(error.to_string()),
        })?;
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

async fn read(family: Family, tag: Segment, call: Call) -> Result<OnePackage> {
    let package = find(family, &tag, &call).await?;
    let package = shown(call.app(), package).await?;
    Ok(match family {
        Family::App => OnePackage::App { app: package },
        Family::Engine => OnePackage::Engine(package),
    })
}

async fn status(family: Family, tag: Segment, call: Call) -> Result<Told> {
    let package = find(family, &tag, &call).await?;
    Ok(Told::status(&package, package.active))
}

async fn set_active(family: Family, tag: Segment, call: Call, active: bool) -> Result<Told> {
    let package = find_own(family, &tag, &call).await?;
    packages::set_active(&call.app().db, package.workspace, package.id, active).await?;
    Ok(Told::status(&package, active))
}

/// Deletes the one version that the tag names in full, so that no tag deletes by accident.
async fn remove(family: Family, tag: Segment, call: Call) -> Result<Done> {
    let package = find_own(family, &tag, &call).await?;
    let whole = format!("{}@{}", package.manifest.name, package.manifest.version);
    if tag.0 != whole {
        let problem = format!("must name one version in full, such as {whole}");
        return Err(Error::field("tag", problem));
    }
    if !packages::delete(&call.app().db, package.workspace, package.id).await? {
        return Err(Error::not_found(family.as_str(), &tag.0));
    }
    let login = image_login::id(&package.manifest);
    secrets::delete(&call.app().db, package.workspace, SecretKind::Registry, &login).await?;
    tracing::info!(package = %package.id, "package deleted");
    Ok(done())
}

async fn download(family: Family, tag: Segment, call: Call) -> Result<Told> {
    let package = find(family, &tag, &call).await?;
    let holder = files::holder(&call.caller().await?);
    let file_name = format!("{}-{}.tar", package.manifest.name, package.manifest.version);
    let key = BlobKey::Package(package.digest);
    let linked = Linked { name: &file_name, digest: Some(package.digest) };
    let link = call.app().data.download_link(&key, linked, holder, LINK_LIVES);
    Ok(Told::link(&package, link))
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
    let owners = std::iter::once(package.workspace);
    let names = workspaces::workspace_names(&app.db, owners).await?;
    Ok(PackageOut::new(package, &names))
}

/// The package that an id or a tag names: of the caller's own, of those imported, or, with its
/// owner before it, of all that are published.
pub async fn find(family: Family, tag: &Segment, call: &Call) -> Result<Package> {
    let reader = call.caller().await?.workspace;
    let db = &call.app().db;
    let found = match pointer(tag)? {
        Pointer::Id(id) => packages::find(db, reader, family, id).await?,
        Pointer::Tag { owner: None, tag } => {
            packages::resolve(db, reader, reader, family, &tag, Which::Any).await?
        }
        Pointer::Tag { owner, tag } => {
            let owner = owner.as_deref();
            let publishers = packages::publishers(db, family, &tag, owner).await?;
            match only(&publishers)? {
                Some(names) => {
                    packages::resolve(db, names, reader, family, &tag, Which::Any).await?
                }
                None => None,
            }
        }
    };
    found.ok_or_else(|| Error::not_found(family.as_str(), &tag.0))
}

/// The caller's own package of an id or a tag.
pub async fn find_own(family: Family, tag: &Segment, call: &Call) -> Result<Package> {
    let caller = call.caller().await?;
    let package = find(family, tag, call).await?;
    if package.workspace != caller.workspace {
        let problem =
            format!("{:?} belongs to another workspace: only its own can change it", tag.0);
        return Err(Error::Forbidden(problem));
    }
    Ok(package)
}

pub fn pointer(tag: &Segment) -> Result<Pointer> {
    tag.0.parse().map_err(|e: NotATag| Error::field("tag", e.to_string()))
}

/// The one who has published something, unless several have.
pub fn only(publishers: &[WorkspaceId]) -> Result<Option<WorkspaceId>> {
    match publishers {
        [] => Ok(None),
        [publisher] => Ok(Some(*publisher)),
        several => {
            let ids: Vec<_> = several.iter().map(ToString::to_string).collect();
            let problem = format!(
                "is published by several: write OWNER/NAME, where OWNER is one \
                                   of the ids {}",
                ids.join(", ")
            );
            Err(Error::field("tag", problem))
        }
    }
}

#[cfg(test)]
mod tests;
