//! Builds the small programs of `guest/`, which run inside containers: one static executable for
//! each `NAME.rs` or `NAME/main.rs`, called `NAME`, in `OUT_DIR`, for `include_bytes!`.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// An executable that needs nothing of the image it runs in, and is small enough to embed.
const OPTIONS: [&str; 10] = [
    "--edition=2024",
    "--crate-type=bin",
    "-Dwarnings",
    "-Ctarget-feature=+crt-static",
    "-Crelocation-model=static",
    "-Cpanic=abort",
    "-Copt-level=s",
    "-Clto=fat",
    "-Ccodegen-units=1",
    "-Cstrip=symbols",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=guest");
    // The supervisor is compiled with it, too.
    println!("cargo::rerun-if-changed=src/runtime/warm/protocol.rs");
    let out = env::var_os("OUT_DIR").expect("Cargo sets it");
    for entry in fs::read_dir("guest").expect("guest is a folder of this crate") {
        let path = entry.expect("guest can be listed").path();
        let name = path.file_stem().expect("an entry has a name");
        let program = Path::new(&out).join(name);
        if path.is_dir() {
            build(&path.join("main.rs"), &program);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            build(&path, &program);
        }
    }
}

fn build(source: &Path, program: &Path) {
    let mut rustc = Command::new(env::var_os("RUSTC").expect("Cargo sets it"));
    rustc.args(OPTIONS).arg("--target").arg(env::var_os("TARGET").expect("Cargo sets it"));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("-Clinker=");
        option.push(linker);
        rustc.arg(option);
    }
    let status = rustc.arg("-o").arg(program).arg(source).status();
    let built = status.is_ok_and(|status| status.success());
    assert!(
        built,
        "{} cannot be built as a static executable; it needs the static C library (Debian package libc6-dev)",
        source.display()
    );
}
