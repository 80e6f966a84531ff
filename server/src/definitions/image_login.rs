//! Where the login for a package's private image is kept: as a secret that no list shows, bound to
//! the image's registry.

use std::collections::BTreeMap;

use common::package::manifest::{Login, Manifest, Platform};
use common::secret::{Hidden, Purpose, SecretId};

use crate::error::{Error, Result};
use crate::registry;
use crate::store::catalogue::packages::Family;
use crate::store::secrets::Secret;

/// The secret's id.
pub fn id(manifest: &Manifest) -> SecretId {
    let family = Family::of(manifest.kind).as_str();
    SecretId::of_image(family, &manifest.name, manifest.version)
}

/// The secret without its secret half, and that half: the token. A later push of the same version
/// replaces it.
///
/// # Errors
/// Names the field where the package has no image of a registry.
pub fn secret(manifest: &Manifest, login: Login) -> Result<(Secret, Hidden)> {
    let field = "platform_config.container";
    let Platform::Docker { container, .. } = &manifest.platform else {
        return Err(Error::field(field, "is missing: there is nothing to log in to"));
    };
    let host = registry::host_of(container).map_err(|bad| Error::field(field, bad.to_string()))?;
    let secret = Secret {
        id: id(manifest),
        purpose: Purpose::Registry { host },
        name: String::new(),
        access_key: login.username,
        params: BTreeMap::new(),
        expires_at: None,
    };
    Ok((secret, login.token))
}
