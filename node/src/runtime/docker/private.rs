//! Images that not everybody may pull. The server gives a token that pulls this one image; the
//! image then has a name that only the workspace's own runs can come by, for an image under its
//! registry's name is anybody's who knows it.

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptionsBuilder};
use common::digest::Digest;
use common::ids::WorkspaceId;
use common::task::Lease;

use super::images::{PRIVATE, Ready, gone, ready, with_tag};
use super::{Docker, engine};
use crate::remote::Remote;
use crate::runtime::Error;
use crate::transfer;

impl Docker {
    /// The private image with this digest in its name.
    pub(super) async fn private<R: Remote>(
        &self,
        reference: &str,
        workspace: WorkspaceId,
        remote: &R,
        lease: Lease,
    ) -> Result<Ready, Error> {
        let name = with_tag(reference)
            .filter(|name| name.contains('@'))
            .ok_or_else(|| Error::Unusable(format!("{reference:?} is no image at a digest")))?;
        let tag = Digest::of(format!("{workspace} {name}").as_bytes()).to_string()[..32].to_owned();
        let own = format!("{PRIVATE}:{tag}");
        // The same lock as that of whoever would look for the image under its registry's name.
        let _only = self.images.fetching.lock(name.clone()).await;
        if let Some(found) = self.inspect(&own).await? {
            return ready(found);
        }
        let token = transfer::pull_token(remote, lease).await.map_err(not_granted)?;
        let credentials = token.map(|token| DockerCredentials {
            registrytoken: Some(token.0),
            ..DockerCredentials::default()
        });
        self.pull(&name, credentials).await?;
        let options = TagImageOptionsBuilder::new().repo(PRIVATE).tag(&tag).build();
        self.client.tag_image(&name, Some(options)).await.map_err(engine("name an image"))?;
        self.client
            .remove_image(&name, None::<RemoveImageOptions>, None)
            .await
            .map_err(engine("take an image's name away"))?;
        tracing::info!(tag, "private image pulled");
        ready(self.inspect(&own).await?.ok_or_else(|| gone("pull an image"))?)
    }
}

/// A token that the server refuses for good is the customer's business: the login has changed.
fn not_granted(error: transfer::Error) -> Error {
    match error.refusal() {
        Some(why) => Error::Unusable(format!("the private image cannot be pulled: {why}")),
        None => Error::Fetch(error),
    }
}
