//! What the images of a job of containers mean now, and whether its secrets are there.

use std::collections::BTreeSet;

use common::compute::image::{self, Reference};
use common::ids::WorkspaceId;
use common::order::container::{ContainerWork, ImageName};
use common::order::ordered_plan::{OrderedPlan, Pins};
use common::plan::{Image, Plan};

use super::packages::check_secrets;
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::{queues, secret_use};
use crate::people::caller::Caller;
use crate::store::catalogue::images;
use crate::store::nodes;
use crate::store::nodes::devices;
use crate::{registry, secrets};

/// The plan of a run of these containers, with everything pinned.
///
/// # Errors
/// Names the image or the secret that cannot be used.
pub async fn plan(
    app: &App,
    caller: &Caller,
    workspace: WorkspaceId,
    work: &ContainerWork,
) -> Result<Plan> {
    let secrets: Vec<_> = work.secrets.iter().map(|id| id.as_str().to_owned()).collect();
    secret_use::check_listed(caller, "secrets", &secrets)?;
    check_secrets(app, workspace, &secrets, "the job").await?;
    let mut pinned = Vec::new();
    for name in work.images() {
        if name.secret.is_some() {
            secret_use::check(caller, "image.secret")?;
        }
        pinned.push(pin(app, workspace, name).await?);
    }
    Ok(work.plan(pinned, app.coordinator.task_timeout_secs()))
}

/// The same of a plan that a customer has ordered whole.
pub async fn ordered_plan(app: &App, workspace: WorkspaceId, work: &OrderedPlan) -> Result<Plan> {
    let mut pinned = Vec::new();
    for name in &work.images {
        pinned.push(pin(app, workspace, name).await?);
    }
    let mut in_queues = Vec::new();
    for id in work.plan.queues() {
        in_queues.push(queues::pinned(app, workspace, id).await?);
    }
    let plan = work.pinned(&Pins {
        images: &pinned,
        queues: &in_queues,
        timeout_secs: app.coordinator.task_timeout_secs(),
        call_price: app.settings.wallet.call_price,
    });
    plan.map_err(|refused| Error::Invalid(refused.to_string()))
}

/// The image that a name means now: one that the workspace has pushed, else the registry's, else
/// one of the engine of a node of the workspace's own.
async fn pin(app: &App, workspace: WorkspaceId, image: &ImageName) -> Result<Image> {
    let ImageName { name, secret } = image;
    let refused = |why: String| Error::NotNow(format!("image: {name:?}: {why}"));
    if let (None, Some(local)) = (secret, image::local_name(name)) {
        return Ok(Image::Local { name: local.to_owned() });
    }
    name.parse::<Reference>().map_err(|error| Error::field("image", error.to_string()))?;
    if let (None, Some(stored)) = (secret, images::find(&app.db, workspace, name).await?) {
        return Ok(Image::Stored { reference: stored.reference, digest: stored.digest });
    }
    match app.registries.pin(workspace, secret.as_ref(), name).await {
        Ok(image) => Ok(Image::Registry { image, secret: secret.clone() }),
        Err(registry::Error::Secret(secrets::Error::NotFound(id))) => {
            Err(refused(format!("there is no secret {:?} that opens it", id.as_str())))
        }
        Err(registry::Error::Secret(error @ secrets::Error::Misuse { .. })) => {
            Err(refused(error.to_string()))
        }
        Err(registry::Error::Secret(error)) => Err(error.into()),
        Err(_) if secret.is_none() && has_lending_node(app, workspace).await? => {
            Ok(Image::Local { name: name.clone() })
        }
        Err(error) => Err(refused(format!(
            "{error}; an image that only the engine of a node of your own has needs that node to be \
             started with --local-images"
        ))),
    }
}

/// Whether some node of the workspace lends the images of its engine.
async fn has_lending_node(app: &App, workspace: WorkspaceId) -> Result<bool> {
    let own = nodes::of_operator(&app.db, workspace).await?;
    let ids: BTreeSet<_> = own.into_iter().map(|node| node.id).collect();
    let devices = devices::find(&app.db, &ids).await?;
    Ok(devices.values().any(|device| device.grants.local_images))
}
