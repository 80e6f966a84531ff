//! Takes the login for a private image out of a package's archive.

use super::archive::contents::{is_manifest, plain_path};
use crate::input::json;

const BLOCK: usize = 512;

/// The archive with no username and no token in its manifests; `None` where that cannot be done.
/// All other bytes stay as they are. Callers check the outcome like any archive.
pub fn taken_out(archive: &[u8]) -> Option<Vec<u8>> {
    let mut rewritten = Vec::with_capacity(archive.len() + BLOCK);
    let mut copied = 0;
    let mut tar = tar::Archive::new(archive);
    for entry in tar.entries().ok()? {
        let entry = entry.ok()?;
        let path = plain_path(&entry.path_bytes()).ok()?;
        if !is_manifest(&path) || !entry.header().entry_type().is_file() {
            continue;
        }
        let (at, data) =
            (position(entry.raw_header_position())?, position(entry.raw_file_position())?);
        let end = data.checked_add(position(entry.size())?)?;
        // Of several manifests only the package's own must be one.
        let Some(json) = without_login(archive.get(data..end)?) else { continue };
        let mut header = entry.header().clone();
        header.set_size(json.len() as u64);
        header.set_cksum();
        rewritten.extend_from_slice(archive.get(copied..at)?);
        rewritten.extend_from_slice(header.as_bytes());
        rewritten.extend_from_slice(&json);
        rewritten.resize(rewritten.len().next_multiple_of(BLOCK), 0);
        copied = end.next_multiple_of(BLOCK).min(archive.len());
    }
    rewritten.extend_from_slice(archive.get(copied..)?);
    Some(rewritten)
}

fn position(n: u64) -> Option<usize> {
    usize::try_from(n).ok()
}

fn without_login(json: &[u8]) -> Option<Vec<u8>> {
    let mut manifest = json::read("manifest.json", json).ok()?;
    for (key, config) in manifest.as_object_mut()? {
        if let (true, Some(config)) = (is(key, "platformconfig"), config.as_object_mut()) {
            config.retain(|key, _| !is(key, "username") && !is(key, "token"));
        }
    }
    serde_json::to_vec_pretty(&manifest).ok()
}

/// Whether a key is this one, as loosely as manifests are read.
fn is(key: &str, plain: &str) -> bool {
    super::loose::plain(key) == plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::archive::check;

    fn pack(manifest: &str, root: &str, long: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in
            [("app/main.py", "one"), ("manifest.json", manifest), (&format!("app/{long}"), "two")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o755);
            tar.append_data(&mut header, format!("{root}{name}"), text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    proptest! {
        #[test]
        fn login_is_removed_from_the_archive_and_all_else_stays(
            token in "[A-Za-z0-9]{8,2000}",
            key in prop::sample::select(vec!["token", "Token", "TO_KEN"]),
            root in prop::sample::select(vec!["", "./", "pack/"]),
            long in "[a-z]{1,200}",
        ) {
            let manifest = serde_json::json!({"name": "a", "version": "1.0", "more": [1, "x"],
                "Platform_Config": {"container": "c", "private_image": true,
                    "username": "a-user-of-it", key: format!("T{token}")}});
            let archive = pack(&manifest.to_string(), root, &long);

            let checked = check(&archive).unwrap();

            let rewritten = checked.rewritten.unwrap();
            let text = String::from_utf8_lossy(&rewritten);
            prop_assert!(!text.contains(&token) && !text.contains("a-user-of-it"));
            prop_assert_eq!(checked.login.unwrap().token.0, format!("T{token}"));
            let mut names = Vec::new();
            for entry in tar::Archive::new(&rewritten[..]).entries().unwrap() {
                let entry = entry.unwrap();
                names.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap()));
            }
            prop_assert_eq!(names.len(), 3);
            prop_assert!(names[0].0.ends_with("app/main.py") && names[0].1 == 0o755, "{:?}", names);
            prop_assert!(names[2].0.ends_with(&format!("app/{long}")), "{:?}", names);
        }
    }

    #[test]
    fn archive_without_login_is_unchanged() {
        let manifest = r#"{"name": "a", "version": "1.0", "platform_config":
            {"container": "c", "private_image": false, "username": "", "token": ""}}"#;

        let checked = check(&pack(manifest, "", "x")).unwrap();

        assert!(checked.login.is_none() && checked.rewritten.is_none());
    }
}
