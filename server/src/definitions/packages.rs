//! Apps and engines: pushed as archives, found by tag, activated and deactivated.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use common::digest::Digest;
use common::package::archive::{self, Checked};
use common::package::manifest::Manifest;
use common::package::tag::{NotATag, Pointer};
use common::secret::{Hidden, SecretKind};
use serde_json::Value;

use super::{Listed, Shelf, image_login, only, owner_names};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::links::Linked;
use crate::error::{Error, Result};
use crate::field::Field;
use crate::files;
use crate::jobs::secret_use;
use crate::people::caller::Caller;
use crate::store::catalogue::packages;
use crate::store::catalogue::packages::{Pushed, Which};
use crate::store::query::selection::Selection;
use crate::store::secrets;
use crate::store::secrets::Secret;

pub use crate::store::catalogue::packages::{Family, Package, PackageField};

const LINK_LIVES: Duration = Duration::from_secs(3600);

/// A package's archive that has been checked, as it will be stored.
pub struct CheckedArchive {
    manifest: Manifest,
    schema: Option<Value>,
    /// For its private image.
    login: Option<(Secret, Hidden)>,
    bytes: Bytes,
}

impl CheckedArchive {
    /// Looks through a tar archive, away from the threads that serve others.
    ///
    /// # Errors
    /// Where it is not a package that nodes can unpack, or lists secrets and the caller may use
    /// none.
    pub async fn read(caller: &Caller, bytes: Bytes) -> Result<Self> {
        let archive = bytes.clone();
        let checked = tokio::task::spawn_blocking(move || archive::check(&archive)).await;
        let checked = checked.map_err(|error| Error::Internal(Box::new(error)))?;
        let Checked { manifest, schema, login, rewritten } = checked.map_err(refused)?;
        secret_use::check_listed(caller, "platform_config.secrets", &manifest.secrets)?;
        let login = login.map(|login| image_login::secret(&manifest, login)).transpose()?;
        Ok(Self { manifest, schema, login, bytes: rewritten.map_or(bytes, Bytes::from) })
    }

    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub const fn family(&self) -> Family {
        Family::of(self.manifest.kind)
    }
}

fn refused(error: archive::Error) -> Error {
    match error {
        archive::Error::Document(invalid) => Error::from(invalid),
        archive::Error::Packing(_)
        | archive::Error::Damaged(_)
        | archive::Error::TooLarge
        | archive::Error::Contents(_)
        | archive::Error::NoEntrypoint(_)
        | archive::Error::EmptyEntrypoint(_) => Error::field(Field::Archive, error.to_string()),
        archive::Error::Login => Error::Invalid(error.to_string()),
    }
}

/// Stores a package in place of the same version. A push that is `repeated`, because its client
/// did not hear the answer, makes no new revision of the same bytes.
pub async fn push(
    app: &App,
    caller: &Caller,
    archive: CheckedArchive,
    repeated: bool,
) -> Result<Package> {
    let CheckedArchive { manifest, schema, login, bytes } = archive;
    let digest = Digest::of(&bytes);
    if repeated
        && let Some(made) = own_version(app, caller, &manifest).await?
        && made.digest == digest
    {
        return Ok(made);
    }
    let (size, key) = (bytes.len() as u64, BlobKey::Package(digest));
    app.data.quotas().reserve(caller.workspace, &key, size).await?;
    app.data.put(&key, Box::pin(futures::stream::iter([Ok(bytes)]))).await?;
    let pushed = Pushed { manifest: &manifest, schema: schema.as_ref(), digest, size };
    let package = packages::push(&app.db, caller.workspace, pushed)
        .await
        .map_err(|error| other_kind(error, &manifest))?;
    if let Some((secret, token)) = login {
        app.secrets.keep(caller.workspace, &secret, &token.0).await?;
    }
    tracing::info!(package = %package.id, revision = package.revision, "package pushed");
    Ok(package)
}

/// The caller's own package of this name and version.
async fn own_version(app: &App, caller: &Caller, manifest: &Manifest) -> Result<Option<Package>> {
    let (owner, family) = (caller.workspace, Family::of(manifest.kind));
    let tag = parse(&full_tag(manifest))?;
    let found = packages::resolve(&app.db, owner, owner, family, &tag, Which::Any).await?;
    Ok(found.filter(|package| package.workspace == owner))
}

/// The tag that names this one version.
fn full_tag(manifest: &Manifest) -> String {
    format!("{}@{}", manifest.name, manifest.version)
}

fn other_kind(error: packages::PushError, manifest: &Manifest) -> Error {
    match error {
        packages::PushError::OtherKind(kind) => {
            let tag = full_tag(manifest);
            let problem = format!("{tag} is there already as a {}", kind.as_str());
            Error::field("manifest.json.type", problem)
        }
        packages::PushError::Db(error) => error.into(),
    }
}

/// A part of the packages on a shelf.
pub async fn list(
    app: &App,
    caller: &Caller,
    family: Family,
    shelf: Shelf,
    selection: &Selection<PackageField>,
) -> Result<Listed<Package>> {
    let found = packages::list(&app.db, caller.workspace, family, shelf, selection).await?;
    let owners = owner_names(app, found.rows.iter().map(|package| package.workspace)).await?;
    Ok(Listed { found, owners })
}

/// The package that an id or a tag names: of the caller's own, of those imported, or, with its
/// owner before it, of all that are published.
pub async fn find(app: &App, caller: &Caller, family: Family, name: &str) -> Result<Package> {
    let (db, reader) = (&app.db, caller.workspace);
    let found = match parse(name)? {
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
    found.ok_or_else(|| Error::not_found(family.as_str(), name))
}

/// The caller's own package of an id or a tag.
pub(super) async fn find_own(
    app: &App,
    caller: &Caller,
    family: Family,
    name: &str,
) -> Result<Package> {
    let package = find(app, caller, family, name).await?;
    if package.workspace != caller.workspace {
        let problem = format!("{name:?} belongs to another workspace: only its own can change it");
        return Err(Error::Forbidden(problem));
    }
    Ok(package)
}

/// Reads an id or a tag.
pub(super) fn parse<T: FromStr<Err = NotATag>>(name: &str) -> Result<T> {
    name.parse().map_err(|error: NotATag| Error::field("tag", error.to_string()))
}

/// Says whether new runs may use a package.
pub async fn set_active(
    app: &App,
    caller: &Caller,
    family: Family,
    name: &str,
    active: bool,
) -> Result<Package> {
    let package = find_own(app, caller, family, name).await?;
    packages::set_active(&app.db, package.workspace, package.id, active).await?;
    Ok(Package { active, ..package })
}

/// Deletes the one version that the tag names in full, so that no tag deletes by accident.
pub async fn delete(app: &App, caller: &Caller, family: Family, name: &str) -> Result<()> {
    let package = find_own(app, caller, family, name).await?;
    let tag = full_tag(&package.manifest);
    if name != tag {
        let problem = format!("must name one version in full, such as {tag}");
        return Err(Error::field("tag", problem));
    }
    if !packages::delete(&app.db, package.workspace, package.id).await? {
        return Err(Error::not_found(family.as_str(), name));
    }
    let login = image_login::id(&package.manifest);
    secrets::delete(&app.db, package.workspace, SecretKind::Registry, &login).await?;
    tracing::info!(package = %package.id, "package deleted");
    Ok(())
}

/// A link to a package's archive.
pub fn download_link(app: &App, caller: &Caller, package: &Package) -> String {
    let file_name = format!("{}-{}.tar", package.manifest.name, package.manifest.version);
    let linked = Linked { name: &file_name, digest: Some(package.digest) };
    let key = BlobKey::Package(package.digest);
    app.data.download_link(&key, linked, files::holder(caller), LINK_LIVES)
}
