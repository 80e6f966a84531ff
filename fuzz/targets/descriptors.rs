#![no_main]

// The module alone: the rest of the server would take minutes to build with a sanitizer.
#[path = "../../server/src/api/bytenite/descriptor/mod.rs"]
mod descriptor;
#[path = "../descriptors.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::descriptors(bytes));
