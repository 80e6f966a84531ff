//! What is let in, and what is not.

use std::path::{Component, Path};

use proptest::prelude::*;
use tar::EntryType;

use super::super::packing::tests::{gzip, zstd};
use super::super::tarball::tests::{archive, record};
use super::*;

const MANIFEST: &str =
    r#"{"name": "a", "version": "0.1", "platform_config": {"container": "python:3"}}"#;

fn file<'a>(name: &'a str, text: &'a str) -> (&'a str, EntryType, &'a [u8]) {
    (name, EntryType::Regular, text.as_bytes())
}

#[test]
fn package_is_read_at_the_top_or_in_one_folder() {
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
        (("app/l", EntryType::Symlink, &b"/etc/passwd"[..]), "link"),
        (("app/h", EntryType::Link, &b"/etc/passwd"[..]), "link"),
        (("app/c", EntryType::Char, &b""[..]), "neither"),
        (("app/b", EntryType::Block, &b""[..]), "neither"),
        (("app/f", EntryType::Fifo, &b""[..]), "neither"),
        (("app/s", EntryType::GNUSparse, &b""[..]), "sparse"),
    ] {
        let bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", "x"), entry]);

        let refused = check(&bytes).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn missing_entry_is_named() {
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
fn archive_beyond_its_limits_is_refused() {
    let many: Vec<String> = (0..=ENTRIES_MAX).map(|i| format!("app/{i}")).collect();
    let many: Vec<_> = many.iter().map(|name| file(name, "")).collect();
    let huge = vec![0; usize::try_from(ARCHIVE_BYTES_MAX).unwrap() + 1];

    let deep: Vec<String> =
        (0..ENTRIES_MAX / 20).map(|i| format!("{i}/{}x", "d/".repeat(25))).collect();
    let deep: Vec<_> = deep.iter().map(|name| file(name, "")).collect();
    let manifest = " ".repeat(usize::try_from(MANIFEST_BYTES_MAX).unwrap() + 1);

    for entries in [many, deep] {
        let refused = check(&archive(&entries)).unwrap_err().to_string();
        assert!(refused.contains("more than 10000 files and folders"), "{refused}");
    }
    let large = check(&archive(&[file("manifest.json", &manifest)])).unwrap_err();
    assert!(large.to_string().contains("too large"), "{large}");
    assert!(matches!(check(&huge), Err(Error::TooLarge)));
    let refused = check(&gzip(&huge)).unwrap_err().to_string();
    assert!(refused.contains("unpacks to more than 32 MiB"), "{refused}");
}

#[test]
fn compressed_package_is_kept_without_compression() {
    let plain = archive(&[file("manifest.json", MANIFEST), file("app/main.py", "print()")]);

    for packed in [gzip(&plain), zstd(&plain)] {
        let checked = check(&packed).unwrap();

        assert_eq!(checked.manifest.name, "a");
        assert_eq!(checked.rewritten.as_ref(), Some(&plain));
    }
    assert_eq!(check(&plain).unwrap().rewritten, None);
    for (broken, says) in [
        (gzip(&plain)[..60].to_vec(), "damaged or cut off"),
        (zstd(&plain)[..60].to_vec(), "damaged or cut off"),
        (b"PK\x03\x04 a zip".to_vec(), "zip"),
        (b"BZh91AY".to_vec(), "bzip2"),
        (b"a text".to_vec(), "not a tar archive"),
    ] {
        let refused = check(&broken).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn package_is_read_as_git_and_macos_write_it() {
    let (comment, long) =
        (record("comment", "0123abcd"), "a-folder-with-a-long-name/".repeat(8) + "a.py");
    let path = record("path", &format!("hello/{long}"));
    let git = archive(&[
        ("pax_global_header", EntryType::XGlobalHeader, &comment),
        ("hello/", EntryType::Directory, b""),
        file("hello/manifest.json", MANIFEST),
        file("hello/app/main.py", "print()"),
        ("hello/a.data", EntryType::XHeader, &path),
        file("hello/a.data", "long"),
    ]);
    let (quarantine, mac) =
        (record("LIBARCHIVE.xattr.com.apple.quarantine", "MDA4"), "\0\x05\x16\x07");
    let macos = archive(&[
        file("._hello", mac),
        ("hello/", EntryType::Directory, b""),
        file("hello/._manifest.json", mac),
        ("PaxHeader/manifest.json", EntryType::XHeader, &quarantine),
        file("hello/manifest.json", MANIFEST),
        file("hello/.DS_Store", "x"),
        file("hello/app/._main.py", mac),
        ("hello/app/main.py", EntryType::Continuous, b"print()"),
        file("hello/test/source/._one", mac),
        file("hello/test/source/one", "1"),
        file(".DS_Store", "x"),
    ]);

    for archive in [&git, &macos] {
        assert_eq!(check(archive).unwrap().manifest.name, "a");
    }
    assert_eq!(sample(&macos).unwrap().unwrap().path, "test/source/one");
}

#[test]
fn empty_entrypoint_is_refused() {
    let bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", "")]);

    let refused = check(&bytes).unwrap_err().to_string();

    assert!(refused.contains("\"app/main.py\" of manifest.json is an empty file"), "{refused}");
}

#[test]
fn schema_is_read_and_an_invalid_one_is_refused() {
    let package = |schema: &str| {
        let files = [
            file("p/manifest.json", MANIFEST),
            file("p/app/main.py", "x"),
            file("p/schema.json", schema),
        ];
        check(&archive(&files))
    };

    assert_eq!(package(r#"{"type": "object"}"#).unwrap().schema.unwrap()["type"], "object");
    let refused = package(r#"{"type": 7}"#).unwrap_err().to_string();
    assert!(refused.starts_with("schema.json.type: "), "{refused}");
}

#[test]
fn sample_is_the_first_file_to_test_with() {
    let package = |more: &[_]| {
        let mut files = vec![file("p/manifest.json", MANIFEST), file("p/app/main.py", "x")];
        files.extend_from_slice(more);
        sample(&archive(&files)).unwrap()
    };

    let found = package(&[file("p/test/source/b", "bb"), file("p/test/source/a", "aa")]);

    let expected = Sample { path: "test/source/a".to_owned(), bytes: b"aa".to_vec() };
    assert_eq!(found, Some(expected));
    assert_eq!(package(&[file("p/test/results/a", "")]), None);
}

#[test]
fn header_that_promises_more_than_follows_is_refused() {
    let mut bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", "x")]);
    bytes.truncate(512 + 40);

    assert!(check(&bytes).is_err());
}

proptest! {
    #[test]
    fn archive_reader_does_not_panic_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = check(&bytes);
    }

    /// Whatever happens to a real archive on its way, what is let through can be unpacked:
    /// every path is plain, and none leads out.
    #[test]
    fn damaged_archive_is_refused_or_harmless(
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
            contents::walk(&bytes[..], LIMITS, |item| {
                let (Item::Folder { path } | Item::File { path, .. }) = item;
                let plain = |part| matches!(part, Component::Normal(_));
                assert!(Path::new(path).components().all(plain), "{path}");
                Ok::<_, Error>(())
            })
            .unwrap();
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
