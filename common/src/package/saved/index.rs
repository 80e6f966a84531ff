//! The image of an OCI layout, where there is no list of the older form beside it.

use serde_json::Value;

use super::{Error, refused};

/// Lists within lists: one for the platforms of an image is usual.
const DEPTH_MAX: usize = 4;

/// The paths of the one image's configuration and layers.
pub fn only_image(
    index: &Value,
    document: impl Fn(&str) -> Option<Result<Value, Error>>,
) -> Result<(String, Vec<String>), Error> {
    let mut current = index.clone();
    for _ in 0..DEPTH_MAX {
        let Some(list) = current["manifests"].as_array() else { return image(&current) };
        let images: Vec<_> = list.iter().filter(|entry| !is_attestation(entry)).collect();
        let entry = match images.as_slice() {
            [entry] => entry,
            [] => return Err(refused("holds no image")),
            _ => return Err(refused("holds several images or platforms: save one alone")),
        };
        let path = blob(entry)?;
        current =
            document(&path).ok_or_else(|| refused(format!("is not whole: it has no {path}")))??;
    }
    Err(refused("has lists within lists"))
}

fn image(manifest: &Value) -> Result<(String, Vec<String>), Error> {
    let odd = || refused("has a manifest that names no configuration and layers");
    let config = manifest.get("config").ok_or_else(odd)?;
    let layers = manifest["layers"].as_array().ok_or_else(odd)?;
    Ok((blob(config)?, layers.iter().map(blob).collect::<Result<_, _>>()?))
}

/// What some builders add says how an image was built.
fn is_attestation(entry: &Value) -> bool {
    entry["platform"]["os"] == "unknown"
        || entry["annotations"].get("vnd.docker.reference.type").is_some()
}

/// Where a layout has the bytes of a descriptor.
fn blob(descriptor: &Value) -> Result<String, Error> {
    let digest = descriptor["digest"].as_str().and_then(|digest| digest.split_once(':'));
    let (kind, hex) = digest.ok_or_else(|| refused("has a list with an entry without digest"))?;
    Ok(format!("blobs/{kind}/{hex}"))
}
