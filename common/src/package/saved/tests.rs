//! Archives of many tools, and what is wrong with others.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tar::EntryType;

use super::super::packing::tests::{gzip, zstd};
use super::super::tarball::tests::{Raw, archive};
use super::*;

const CONFIG: &str = r#"{"rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]}}"#;

fn layer(text: &[u8]) -> Vec<u8> {
    archive(&[("file", EntryType::Regular, text)])
}

fn file<'a>(name: &'a str, text: &'a [u8]) -> Raw<'a> {
    (name, EntryType::Regular, text)
}

fn list(config: &str, layers: [&str; 2]) -> String {
    json!([{"Config": config, "RepoTags": ["python:3"], "Layers": layers}]).to_string()
}

/// What an engine is given.
fn rewritten(archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut out = Vec::new();
    Saved::read(archive)?.rewrite(archive, &mut out)?;
    let mut files = BTreeMap::new();
    tarball::each(&out[..], |entry| {
        let mut bytes = Vec::new();
        entry.bytes.read_to_end(&mut bytes).unwrap();
        files.insert(String::from_utf8(entry.name.to_vec()).unwrap(), bytes);
        Ok::<_, Error>(())
    })?;
    Ok(files)
}

/// The archive's image as an engine reads it: its configuration and layers.
fn loaded(archive: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), Error> {
    let files = rewritten(archive)?;
    let list: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(list[0]["RepoTags"], Value::Null);
    assert!(!files.values().any(|bytes| bytes.windows(8).any(|part| part == b"python:3")));
    let of = |path: &Value| files[path.as_str().unwrap()].clone();
    let layers = list[0]["Layers"].as_array().unwrap().iter().map(of).collect();
    Ok((of(&list[0]["Config"]), layers))
}

/// As older engines save.
fn docker() -> Vec<u8> {
    let list = list("abc.json", ["1/layer.tar", "2/layer.tar"]);
    let (one, two) = (layer(b"one"), layer(b"two"));
    archive(&[
        file("abc.json", CONFIG.as_bytes()),
        ("1", EntryType::Directory, b""),
        file("1/VERSION", b"1.0"),
        file("1/json", b"{}"),
        file("1/layer.tar", &one),
        file("2/layer.tar", &two),
        file("./manifest.json", list.as_bytes()),
        file("repositories", br#"{"python:3": {}}"#),
    ])
}

fn oci(index: &str, manifest: &[u8], compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (one, two) = (compress(&layer(b"one")), compress(&layer(b"two")));
    archive(&[
        file("oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#),
        file("index.json", index.as_bytes()),
        file("blobs/sha256/aa", manifest),
        file("blobs/sha256/cc", CONFIG.as_bytes()),
        file("blobs/sha256/11", &one),
        file("blobs/sha256/22", &two),
    ])
}

const MANIFEST: &[u8] = br#"{"config": {"digest": "sha256:cc"},
    "layers": [{"digest": "sha256:11"}, {"digest": "sha256:22"}]}"#;

#[test]
fn image_archives_of_all_tools_give_the_same_image() {
    let (one, two) = (layer(b"one"), layer(b"two"));
    let podman_list = list("cc.json", ["1/layer.tar", "2/layer.tar"]);
    let podman = archive(&[
        file("aa.tar", &one),
        ("1/layer.tar", EntryType::Symlink, b"../aa.tar"),
        file("bb.tar", &two),
        ("2/layer.tar", EntryType::Link, b"bb.tar"),
        file("cc.json", CONFIG.as_bytes()),
        file("manifest.json", podman_list.as_bytes()),
        ("latest", EntryType::Symlink, b"/nowhere"),
    ]);
    let index = r#"{"manifests": [{"digest": "sha256:aa", "annotations":
        {"org.opencontainers.image.ref.name": "python:3"}}]}"#;
    let buildx = r#"{"manifests": [{"digest": "sha256:aa", "platform": {"os": "linux"}},
        {"digest": "sha256:99", "platform": {"os": "unknown"}}]}"#;
    let plain = <[u8]>::to_vec;

    for archive in [
        docker(),
        gzip(&docker()),
        zstd(&docker()),
        podman,
        oci(index, MANIFEST, plain),
        oci(buildx, MANIFEST, zstd),
    ] {
        let (config, layers) = loaded(&archive).unwrap();

        assert_eq!(config, CONFIG.as_bytes());
        assert_eq!(layers, [one.clone(), two.clone()]);
    }
    let packed = loaded(&oci(index, MANIFEST, gzip)).unwrap().1;
    assert_eq!(packed, [gzip(&one), gzip(&two)]);
}

#[test]
fn image_archives_keep_only_their_image() {
    let names: Vec<_> = rewritten(&docker()).unwrap().into_keys().collect();

    assert_eq!(names, ["1/layer.tar", "2/layer.tar", "abc.json", "manifest.json"]);
}

#[test]
fn image_archive_that_no_engine_could_load_is_refused_by_its_error() {
    let said = |archive: &[u8]| Saved::read(archive).unwrap_err().to_string();
    let of = |entries: &[Raw<'_>]| said(&archive(entries));
    let one = list("c", ["a", "b"]);
    let (config, manifest) = (file("c", CONFIG.as_bytes()), file("manifest.json", one.as_bytes()));
    let (tar, text) = (layer(b""), [b'x'; 1000]);
    let (a, b) = (file("a", &tar), file("b", &tar));
    let (docker, gzipped) = (docker(), gzip(&docker()));
    let fifo = ("f", EntryType::Fifo, &b""[..]);
    let loop_ = ("b", EntryType::Symlink, &b"b"[..]);

    for (said, expected) in [
        (said(b"an image"), "not a tar archive"),
        (said(&docker[..docker.len() * 2 / 3]), "cut off"),
        (said(&gzipped[..gzipped.len() * 2 / 3]), "cut off"),
        (said(b"BZh91AY"), "bzip2"),
        (of(&[config, a, b]), "neither manifest.json nor index.json"),
        (of(&[file("manifest.json", b"[]")]), "no image"),
        (of(&[file("manifest.json", b"[{}, {}]")]), "save one alone"),
        (of(&[file("manifest.json", b"{")]), "no JSON"),
        (of(&[file("manifest.json", &[b'['; 2 << 20])]), "too large"),
        (of(&[config, a, manifest]), "it has no b"),
        (of(&[config, a, loop_, manifest]), "it has no b"),
        (of(&[a, b, manifest]), "it has no c"),
        (of(&[config, a, a, b, manifest]), "has a twice"),
        (of(&[config, a, b, manifest, manifest]), "manifest.json twice"),
        (of(&[config, a, file("b", &text), manifest]), "no tar archive: b"),
        (of(&[file("c", b"{}"), a, b, manifest]), "2 layers, and a configuration for 0"),
        (of(&[file("../manifest.json", b"[]")]), "leads out"),
        (of(&[fifo]), "neither"),
        (said(&oci(r#"{"manifests": []}"#, MANIFEST, gzip)), "no image"),
        (
            said(&oci(r#"{"manifests": [{"digest": "sha256:ee"}]}"#, MANIFEST, gzip)),
            "blobs/sha256/ee",
        ),
        (said(&oci(r#"{"manifests": [{}, {}]}"#, MANIFEST, gzip)), "save one alone"),
    ] {
        assert!(said.contains(expected), "{said:?} without {expected:?}");
    }
}

proptest! {
    #[test]
    fn image_archive_reader_does_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut archive = docker();
        for (at, with) in damage {
            *at.get_mut(&mut archive) = with;
        }

        for archive in [&archive, &gzip(&archive), &bytes, &gzip(&bytes)] {
            if let Ok(saved) = Saved::read(&archive[..]) {
                saved.rewrite(&archive[..], io::sink()).unwrap();
            }
        }
    }
}
