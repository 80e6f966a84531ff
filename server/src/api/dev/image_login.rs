//! Where the login for a package's private image is kept: as a secret that no list shows.

use std::collections::BTreeMap;

use common::package::manifest::Manifest;

use crate::store::packages::Family;
use crate::store::secrets::Secret;

pub const KIND: &str = "other";

/// The secret's id. It has a slash, which the ids of other secrets cannot have.
pub fn id(manifest: &Manifest) -> String {
    let family = Family::of(manifest.kind).as_str();
    format!("image/{family}/{}@{}", manifest.name, manifest.version)
}

/// The secret without its secret half, the token. A later push of the same version replaces it.
pub fn secret(manifest: &Manifest, username: String) -> Secret {
    Secret {
        id: id(manifest),
        kind: KIND.to_owned(),
        name: String::new(),
        access_key: username,
        params: BTreeMap::new(),
        hidden: true,
        expires_at: None,
    }
}
