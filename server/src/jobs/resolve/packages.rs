//! Which packages, at which bytes, a job's tags name, and the containers that they become.

use common::compute::image;
use common::ids::{PackageId, WorkspaceId};
use common::package::engine;
use common::package::manifest::{Kind, Platform};
use common::package::tag::{NotATag, Tag};
use common::package::template::Template;
use common::plan::{
    Assemble, Code, Container, Contract, Image, PackageCode, PackagePin, Params, Partition,
};
use common::secret::{SECRETS_BYTES_MAX, Secret};

use super::{TemplateJob, params};
use crate::app::App;
use crate::definitions::image_login;
use crate::error::{Error, Result};
use crate::jobs::secret_use;
use crate::people::caller::Caller;
use crate::registry;
use crate::secrets;
use crate::store::catalogue::images;
use crate::store::catalogue::imports;
use crate::store::catalogue::imports::Item;
use crate::store::catalogue::packages;
use crate::store::catalogue::packages::{Family, Package, Which};

pub async fn process(
    app: &App,
    caller: &Caller,
    job: TemplateJob<'_>,
    params: Params,
) -> Result<Container> {
    let tag = tag("app", &job.work.template.app)?;
    let package = find(app, job, Family::App, "app", &tag).await?;
    container(app, caller, job, package, Contract::Process, params).await
}

pub async fn partition(
    app: &App,
    caller: &Caller,
    job: TemplateJob<'_>,
    params: Params,
) -> Result<Partition> {
    let tag = tag("partitioner", &job.work.template.partitioner)?;
    if let Some(builtin) = engine::reserved_partitioner(&tag.name) {
        return Ok(Partition::Builtin(engine::partitioner(builtin, &params)?));
    }
    let alias = engine::partitioner_alias(&tag.name);
    let own = own_engine(app, job, &tag).await?;
    if let (Some(builtin), None) = (alias, &own) {
        return Ok(Partition::Builtin(engine::partitioner(builtin, &params)?));
    }
    let package = find(app, job, Family::Engine, "partitioner", &tag).await?;
    check_kind(&package, Kind::Partitioner)?;
    let container = container(app, caller, job, package, Contract::Partition, params).await?;
    Ok(Partition::Custom(Box::new(container)))
}

pub async fn assemble(
    app: &App,
    caller: &Caller,
    job: TemplateJob<'_>,
    params: Params,
) -> Result<Assemble> {
    let tag = tag("assembler", &job.work.template.assembler)?;
    if let Some(builtin) = engine::reserved_assembler(&tag.name) {
        return Ok(Assemble::Builtin(engine::assembler(builtin, &params)?));
    }
    let alias = engine::assembler_alias(&tag.name);
    let own = own_engine(app, job, &tag).await?;
    if let (Some(builtin), None) = (alias, &own) {
        return Ok(Assemble::Builtin(engine::assembler(builtin, &params)?));
    }
    let package = find(app, job, Family::Engine, "assembler", &tag).await?;
    check_kind(&package, Kind::Assembler)?;
    let container = container(app, caller, job, package, Contract::Assemble, params).await?;
    Ok(Assemble::Custom(Box::new(container)))
}

/// The workspace's engine under a tag, active or not: it comes before a built-in of a well-known
/// name.
async fn own_engine(app: &App, job: TemplateJob<'_>, tag: &Tag) -> Result<Option<Package>> {
    let names = job.work.template.owner.unwrap_or(job.workspace);
    let (engine, any) = (Family::Engine, Which::Any);
    Ok(packages::resolve(&app.db, names, job.workspace, engine, tag, any).await?)
}

/// The app that a template's tag names for this workspace now, active or not.
pub async fn app_of(
    app: &App,
    user: WorkspaceId,
    template: &Template,
) -> Result<Option<PackageId>> {
    let Ok(tag) = template.app.parse() else { return Ok(None) };
    let names = template.owner.unwrap_or(user);
    let found = packages::resolve(&app.db, names, user, Family::App, &tag, Which::Any).await?;
    Ok(found.map(|package| package.id))
}

/// The newest package under a tag that may run: an active one, unless the job is a test.
async fn find(
    app: &App,
    job: TemplateJob<'_>,
    family: Family,
    field: &str,
    tag: &Tag,
) -> Result<Package> {
    let names = job.work.template.owner.unwrap_or(job.workspace);
    let is_test = job.work.config().is_test == Some(true);
    let which = if is_test { Which::Any } else { Which::Active };
    let found = packages::resolve(&app.db, names, job.workspace, family, tag, which).await?;
    if let Some(package) = found {
        check_consent(app, job, family, field, &package).await?;
        return Ok(package);
    }
    let there = packages::resolve(&app.db, names, job.workspace, family, tag, Which::Any).await?;
    let imported = imports::find(&app.db, names, Item::Package(family), &tag.name).await?;
    let problem = if there.is_some() {
        "is not active: activate it first"
    } else if imported.is_some() {
        "is imported, and its owner does not publish it any more: use another one"
    } else if names != job.workspace {
        "is not published by the template's owner: use another template"
    } else {
        "is unknown: push it first, or import it"
    };
    let kind = family.as_str();
    Err(Error::NotNow(format!("template.{field}: the {kind} {:?} {problem}", tag.to_string())))
}

/// Lets another workspace's package have no secrets but those that it asked for when it was
/// imported: its owner can change the list at any time.
async fn check_consent(
    app: &App,
    job: TemplateJob<'_>,
    family: Family,
    field: &str,
    package: &Package,
) -> Result<()> {
    let (manifest, user) = (&package.manifest, job.workspace);
    if package.workspace == user || manifest.secrets.is_empty() {
        return Ok(());
    }
    let import = imports::find(&app.db, user, Item::Package(family), &manifest.name).await?;
    let granted =
        import.filter(|import| import.owner == package.workspace).map(|import| import.secrets);
    let granted = granted.unwrap_or_default();
    match manifest.secrets.iter().find(|secret| !granted.contains(secret)) {
        None => Ok(()),
        Some(secret) => Err(Error::NotNow(format!(
            "template.{field}: {}@{} of another workspace asks for the secret {secret:?}, to which \
             nobody here has agreed: import it (again) if it may have it",
            manifest.name, manifest.version
        ))),
    }
}

fn check_kind(package: &Package, kind: Kind) -> Result<()> {
    if package.manifest.kind == kind {
        return Ok(());
    }
    let (name, is, not) = (&package.manifest.name, package.manifest.kind.as_str(), kind.as_str());
    Err(Error::field(format!("template.{not}"), format!("{name:?} is no {not}, it is {is}")))
}

async fn container(
    app: &App,
    caller: &Caller,
    job: TemplateJob<'_>,
    package: Package,
    contract: Contract,
    params: Params,
) -> Result<Container> {
    let phase = match contract {
        Contract::Partition => "partitioner",
        Contract::Process => "app",
        Contract::Assemble => "assembler",
    };
    params::check(package.schema.clone(), phase, params.clone()).await?;
    let manifest = &package.manifest;
    let name = format!("template.{phase}: the package {}@{}", manifest.name, manifest.version);
    secret_use::check_listed(caller, name.as_str(), &manifest.secrets)?;
    check_secrets(app, job.workspace, &manifest.secrets, &name).await?;
    let image = match &manifest.platform {
        Platform::Binary => Image::Binary,
        Platform::Docker { container, private } => {
            match images::find(&app.db, package.workspace, container).await? {
                Some(image) => Image::Stored { reference: image.reference, digest: image.digest },
                None => registry_image(app, job, &package, container, *private, &name).await?,
            }
        }
    };
    let manifest = package.manifest;
    let code = PackageCode {
        contract,
        package: PackagePin {
            id: package.id,
            owner: package.workspace,
            name: manifest.name,
            version: manifest.version.to_string(),
            revision: package.revision,
            digest: package.digest,
        },
        image,
        entrypoint: manifest.entrypoint,
        params,
        isolation: manifest.isolation,
    };
    Ok(Container {
        code: Code::Package(Box::new(code)),
        secrets: manifest.secrets,
        needs: manifest.needs,
        gpus: manifest.gpus,
        own_nodes: false,
    })
}

/// The secrets that a package lists are those of the workspace that runs it. One that is missing
/// is better told now than when a container starts.
pub async fn check_secrets(
    app: &App,
    workspace: WorkspaceId,
    ids: &[String],
    name: &str,
) -> Result<()> {
    let secrets = match app.secrets.for_container(workspace, ids).await {
        Ok(secrets) => secrets,
        Err(secrets::Error::NotFound(id)) => {
            return Err(Error::NotNow(format!(
                "{name} asks for the secret {:?}, which this workspace does not have or which \
                 has expired: store it (`fanfold secret add {id}`)",
                id.as_str()
            )));
        }
        Err(error @ secrets::Error::Misuse { .. }) => {
            return Err(Error::NotNow(format!("{name} asks for a secret, but {error}")));
        }
        Err(error) => return Err(error.into()),
    };
    if secrets.iter().map(Secret::bytes).sum::<usize>() > SECRETS_BYTES_MAX {
        return Err(Error::NotNow(format!(
            "{name} asks for secrets of more than {SECRETS_BYTES_MAX} bytes together"
        )));
    }
    Ok(())
}

/// An image at the digest that its name means now; a private one with the login that came with
/// the package.
async fn registry_image(
    app: &App,
    job: TemplateJob<'_>,
    package: &Package,
    container: &str,
    private: bool,
    name: &str,
) -> Result<Image> {
    if let (false, Some(local)) = (private, image::local_name(container)) {
        return Ok(Image::Local { name: local.to_owned() });
    }
    let refused = |why: String| Error::NotNow(format!("{name}: its image {container:?}: {why}"));
    if private && package.workspace != job.workspace {
        return Err(refused("another workspace's login to it is not lent out".to_owned()));
    }
    let secret = private.then(|| image_login::id(&package.manifest));
    match app.registries.pin(job.workspace, secret.as_ref(), container).await {
        Ok(image) => Ok(Image::Registry { image, secret }),
        Err(registry::Error::Secret(secrets::Error::NotFound(_))) => Err(refused(
            "there is no login for it: push the package with a username and token, or push the \
             image itself (`fanfold image push`)"
                .to_owned(),
        )),
        Err(registry::Error::Secret(error @ secrets::Error::Misuse { .. })) => Err(refused(
            format!("{error}; push the package with a username and token for this registry"),
        )),
        Err(registry::Error::Secret(error)) => Err(error.into()),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn tag(field: &str, text: &str) -> Result<Tag> {
    text.parse().map_err(|e: NotATag| Error::field(format!("template.{field}"), e.to_string()))
}
