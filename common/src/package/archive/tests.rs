//! What is let in, and what is not.

use std::path::Component;

use proptest::prelude::*;
use tar::Header;

use super::*;

const MANIFEST: &str =
    r#"{"name": "a", "version": "0.1", "platform_config": {"container": "python:3"}}"#;

/// An archive of entries; names are written as they are, hostile ones included.
fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, bytes) in entries {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file<'a>(name: &'a str, text: &'a str) -> (&'a str, EntryType, &'a [u8]) {
    (name, EntryType::Regular, text.as_bytes())
}

#[test]
fn a_package_is_read_at_the_top_or_in_one_folder() {
    for root in ["", "./", "pkg/", "./pkg/"] {
        let (manifest, main) = (format!("{root}manifest.json"), format!("{root}app/main.py"));
        let bytes = archive(&[file(&manifest, MANIFEST), file(&main, "print()")]);

        assert_eq!(check(&bytes).unwrap().manifest.name, "a", "{root}");
    }
}

#[test]
fn hostile_entries_are_refused_by_name() {
    for (entry, says) in [
        (file("../evil", ""), "leads out"),
        (file("app/../../evil", ""), "leads out"),
        (file("/etc/cron.d/evil", ""), "absolute"),
        (file("app\\..\\evil", ""), "backslashes"),
        (file("app/main.py", ""), "twice"),
        (file("app/./main.py", ""), "twice"),
        (file("app//main.py", ""), "twice"),
        (file("app/main\u{200b}.py", ""), "invisible"),
        (file("app/\u{202e}yp.niam", ""), "invisible"),
        (file("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/a/b/c/d/e/f/g", ""), "many"),
        (file("app/main.py/x", ""), "at once"),
        (file("app", ""), "at once"),
        (("app/l", EntryType::Symlink, &b""[..]), "link"),
        (("app/h", EntryType::Link, &b""[..]), "link"),
        (("app/c", EntryType::Char, &b""[..]), "neither"),
        (("app/b", EntryType::Block, &b""[..]), "neither"),
        (("app/f", EntryType::Fifo, &b""[..]), "neither"),
        (("app/s", EntryType::GNUSparse, &b""[..]), ""),
    ] {
        let bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", ""), entry]);

        let refused = check(&bytes).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let said = |entries: &[_]| check(&archive(entries)).unwrap_err().to_string();

    assert!(said(&[file("app/main.py", "")]).contains("no manifest.json"));
    assert!(said(&[file("manifest.json", MANIFEST)]).contains("app/main.py"));
    assert!(said(&[file("manifest.json", "{")]).contains("is not JSON"));
    assert!(
        said(&[file("a/manifest.json", MANIFEST), file("b/manifest.json", MANIFEST)])
            .contains("no manifest.json")
    );
    assert!(
        said(&[file("a/manifest.json", MANIFEST), file("a/app/main.py", ""), file("b/x", "")])
            .contains("outside")
    );
}

#[test]
fn too_much_is_refused() {
    let many: Vec<String> = (0..=ENTRIES_MAX).map(|i| format!("app/{i}")).collect();
    let many: Vec<_> = many.iter().map(|name| file(name, "")).collect();
    let huge = vec![0; usize::try_from(ARCHIVE_BYTES_MAX).unwrap() + 1];

    let deep: Vec<String> =
        (0..ENTRIES_MAX / 20).map(|i| format!("{i}/{}x", "d/".repeat(25))).collect();
    let deep: Vec<_> = deep.iter().map(|name| file(name, "")).collect();
    let manifest = " ".repeat(usize::try_from(MANIFEST_BYTES_MAX).unwrap() + 1);

    assert!(matches!(check(&archive(&many)), Err(Error::TooMany)));
    assert!(matches!(check(&archive(&deep)), Err(Error::TooMany)));
    let large = check(&archive(&[file("manifest.json", &manifest)])).unwrap_err();
    assert!(large.to_string().contains("too large"), "{large}");
    assert!(matches!(check(&huge), Err(Error::TooLarge)));
    assert!(matches!(check(&[0x1f, 0x8b, 8, 0]), Err(Error::Compressed)));
}

#[test]
fn a_schema_is_read_and_one_that_is_none_is_refused() {
    let package = |schema: &str| {
        let files = [
            file("p/manifest.json", MANIFEST),
            file("p/app/main.py", ""),
            file("p/schema.json", schema),
        ];
        check(&archive(&files))
    };

    assert_eq!(package(r#"{"type": "object"}"#).unwrap().schema.unwrap()["type"], "object");
    let refused = package(r#"{"type": 7}"#).unwrap_err().to_string();
    assert!(refused.starts_with("schema.json.type: "), "{refused}");
}

#[test]
fn a_sample_is_the_first_file_to_test_with() {
    let package = |more: &[_]| {
        let mut files = vec![file("p/manifest.json", MANIFEST), file("p/app/main.py", "")];
        files.extend_from_slice(more);
        sample(&archive(&files)).unwrap()
    };

    let found = package(&[file("p/test/source/b", "bb"), file("p/test/source/a", "aa")]);

    let expected = Sample { path: "test/source/a".to_owned(), bytes: b"aa".to_vec() };
    assert_eq!(found, Some(expected));
    assert_eq!(package(&[file("p/test/results/a", "")]), None);
}

#[test]
fn a_header_that_promises_more_than_follows_is_refused() {
    let mut bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", "x")]);
    bytes.truncate(512 + 40);

    assert!(check(&bytes).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = check(&bytes);
    }

    /// Whatever happens to a real archive on its way, what is let through can be unpacked:
    /// every path is plain, and none leads out.
    #[test]
    fn a_damaged_archive_is_refused_or_harmless(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = archive(&[
            file("manifest.json", MANIFEST),
            file("app/main.py", "x"),
            file("schema.json", r#"{"properties": {"a": {"type": "string"}}}"#),
            ("app/lib", EntryType::Directory, &b""[..]),
            file("test/source/a", "sample"),
        ]);
        for (at, with) in damage {
            // Headers are where it hurts; sums are made right again, as an attacker would.
            let at = at.index(bytes.len() / 512) * 512 + usize::from(with) * 2 % 512;
            bytes[at] = with;
            mend(&mut bytes[at / 512 * 512..][..512]);
        }
        bytes.truncate(bytes.len() - cut.index(512));

        if check(&bytes).is_ok() {
            let mut tar = tar::Archive::new(bytes.as_slice());
            for entry in tar.entries().unwrap() {
                let entry = entry.unwrap();
                let kind = entry.header().entry_type();
                prop_assert!(kind.is_file() || kind.is_dir() || kind.is_contiguous()
                    || kind == EntryType::XGlobalHeader);
                let path = entry.path().unwrap();
                prop_assert!(kind == EntryType::XGlobalHeader || path.components().all(|part|
                    matches!(part, Component::Normal(_) | Component::CurDir)));
            }
        }
        let _ = sample(&bytes);
    }
}

/// Writes the sum that a header's bytes have into it.
fn mend(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
