//! What a registry tells of an image: its manifest, the list of platforms, and its configuration.

use common::digest::Digest;
use serde::Deserialize;
use serde_json::Value;

use super::{Error, IMAGE_BYTES_MAX};

/// The manifests that are understood.
pub const TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// No engine takes more.
const LAYERS_MAX: usize = 127;
const OS: &str = "linux";

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub config: Blob,
    /// From the lowest to the highest.
    pub layers: Vec<Blob>,
}

/// Bytes of the registry under their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    pub packing: Packing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Manifest {
    pub fn read(document: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Document {
            config: Descriptor,
            layers: Vec<Descriptor>,
        }
        let document: Document = serde_json::from_slice(document)
            .map_err(|_| unusable("has a manifest that no node understands: push it again"))?;
        if document.layers.is_empty() || document.layers.len() > LAYERS_MAX {
            return Err(Error::Unusable(format!("must have 1 to {LAYERS_MAX} layers")));
        }
        let layers: Vec<Blob> =
            document.layers.iter().map(Descriptor::layer).collect::<Result<_, _>>()?;
        let bytes = layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
        if bytes > IMAGE_BYTES_MAX {
            let gib = IMAGE_BYTES_MAX >> 30;
            return Err(Error::Unusable(format!("has more than {gib} GiB")));
        }
        Ok(Self { config: document.config.blob(Packing::None)?, layers })
    }
}

impl Descriptor {
    fn blob(&self, packing: Packing) -> Result<Blob, Error> {
        let digest = common::compute::image::digest(&self.digest);
        let digest = digest.ok_or_else(|| unusable("has a part whose digest is no SHA-256"))?;
        Ok(Blob { digest, size: self.size, packing })
    }

    fn layer(&self) -> Result<Blob, Error> {
        let packing = match self.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Packing::None,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Packing::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd" => {
                return Err(unusable("has layers in zstd: push it with layers in gzip"));
            }
            _ => return Err(unusable("has a layer that is none of tar or tar+gzip")),
        };
        self.blob(packing)
    }
}

/// The manifest for this machine, where the document is a list of platforms; `None` where it is
/// itself a manifest.
pub fn for_this_machine(document: &[u8]) -> Result<Option<Digest>, Error> {
    #[derive(Deserialize)]
    struct List {
        manifests: Vec<Descriptor>,
    }
    let value: Value = serde_json::from_slice(document)
        .map_err(|_| unusable("has a manifest that is no JSON: push it again"))?;
    if value.get("manifests").is_none() {
        return Ok(None);
    }
    let list: List = serde_json::from_value(value)
        .map_err(|_| unusable("has a list of platforms that no node understands: push it again"))?;
    let ours = |platform: &Platform| {
        platform.os == OS && platform.architecture == architecture() && is_ours(platform)
    };
    let found = list.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(ours));
    let found = found.ok_or_else(|| other_platform("none for"))?;
    Ok(Some(found.blob(Packing::None)?.digest))
}

/// Variants are of what a machine can do beyond the least: only ARM's names its usual one.
fn is_ours(platform: &Platform) -> bool {
    match platform.variant.as_deref() {
        None | Some("" | "v1") => true,
        Some("v8") => platform.architecture == "arm64",
        Some("v7") => platform.architecture == "arm",
        Some(_) => false,
    }
}

/// This machine's architecture, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// An image's configuration, if it is for this machine and has this many layers.
pub fn checked_config(text: Vec<u8>, layers: usize) -> Result<Vec<u8>, Error> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        os: String,
        #[serde(default)]
        architecture: String,
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<String>,
    }
    let config: Config = serde_json::from_slice(&text)
        .map_err(|_| unusable("has a configuration that no node understands: push it again"))?;
    let fits = |text: &str, ours: &str| text.is_empty() || text == ours;
    if !fits(&config.os, OS) || !fits(&config.architecture, architecture()) {
        return Err(other_platform("not for"));
    }
    if config.rootfs.diff_ids.len() != layers {
        return Err(unusable("has another number of layers than its configuration says"));
    }
    Ok(text)
}

fn unusable(problem: &str) -> Error {
    Error::Unusable(problem.to_owned())
}

fn other_platform(what: &str) -> Error {
    Error::Unusable(format!("is {what} this node's platform, {OS}/{}", architecture()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn digest(text: &str) -> String {
        format!("sha256:{}", Digest::of(text.as_bytes()))
    }

    fn manifest(layers: &[(&str, u64)]) -> Result<Manifest, Error> {
        let layer = |(kind, size): &(&str, u64)| json!({"mediaType": kind, "digest": digest("l"), "size": size});
        let document = json!({
            "config": {"digest": digest("c"), "size": 2},
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        Manifest::read(document.to_string().as_bytes())
    }

    #[test]
    fn layers_are_plain_or_gzip_and_limited() {
        let read = manifest(&[(GZIP, 7), ("application/vnd.docker.image.rootfs.diff.tar", 8)]);
        let packings: Vec<_> = read.unwrap().layers.iter().map(|layer| layer.packing).collect();
        assert_eq!(packings, [Packing::Gzip, Packing::None]);

        let zstd = manifest(&[("application/vnd.oci.image.layer.v1.tar+zstd", 1)]).unwrap_err();
        assert!(zstd.to_string().contains("gzip"), "{zstd}");
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        for layers in
            [&[(foreign, 1)][..], &[], &[(GZIP, 1); LAYERS_MAX + 1], &[(GZIP, u64::MAX), (GZIP, 9)]]
        {
            assert!(matches!(manifest(layers), Err(Error::Unusable(_))), "{}", layers.len());
        }
    }

    #[test]
    fn manifest_list_selects_the_image_of_this_machine() {
        let entry = |os: &str, architecture: &str, variant: Option<&str>, name: &str| {
            json!({"digest": digest(name), "size": 1,
                   "platform": {"os": os, "architecture": architecture, "variant": variant}})
        };
        let list = json!({"manifests": [
            entry("unknown", "unknown", None, "attestation"),
            entry("windows", architecture(), None, "windows"),
            entry("linux", "s390", None, "other"),
            entry("linux", architecture(), Some("v4"), "too new"),
            entry("linux", architecture(), None, "ours"),
        ]});
        let of = |value: &Value| for_this_machine(value.to_string().as_bytes());

        assert_eq!(of(&list).unwrap(), Some(Digest::of(b"ours")));
        assert_eq!(of(&json!({"layers": []})).unwrap(), None);
        let none = of(&json!({"manifests": [entry("linux", "s390", None, "other")]})).unwrap_err();
        assert!(none.to_string().contains(architecture()), "{none}");
        assert!(of(&json!({"manifests": [{"digest": "md5:x"}]})).is_err());
    }

    #[test]
    fn configuration_must_match_this_machine_and_its_layers() {
        let config = |os: &str, architecture: &str, layers: usize| {
            let ids = vec![digest("x"); layers];
            let config = json!({"os": os, "architecture": architecture,
                                "rootfs": {"diff_ids": ids}});
            checked_config(config.to_string().into_bytes(), 2)
        };
        assert!(config("linux", architecture(), 2).is_ok());
        assert!(config("linux", architecture(), 1).is_err());
        assert!(config("windows", architecture(), 2).is_err());
        assert!(config("linux", "s390", 2).is_err());
        assert!(checked_config(b"[]".to_vec(), 0).is_err());
    }
}
