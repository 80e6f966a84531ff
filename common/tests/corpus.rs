//! Everything that fuzzing has found worth keeping, once more, without the fuzzer. What only the
//! server reads is replayed beside its reader.

#[path = "../../fuzz/inputs.rs"]
mod inputs;

use std::fs;
use std::path::Path;

/// What a target gives its bytes to.
type Reader = fn(&[u8]);

const TARGETS: [(&str, Reader); 7] = [
    ("archives", inputs::archives),
    ("chunk_tables", inputs::chunk_tables),
    ("expressions", inputs::expressions),
    ("frames", inputs::frames),
    ("job_files", inputs::job_files),
    ("manifests", inputs::manifests),
    ("receipts", inputs::receipts),
];

#[test]
fn corpus_of_each_fuzz_target_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, read) in TARGETS {
        let files: Vec<_> = fs::read_dir(corpus.join(target)).unwrap().collect();
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();

            let outcome = std::panic::catch_unwind(|| read(&bytes));

            assert!(outcome.is_ok(), "{}", path.display());
        }
    }
}
