//! Bytes that fuzzing found worth keeping, through the same functions as there.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn known_inputs_of_each_target_break_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz");
    for (name, take) in targets::TARGETS {
        let mut files: Vec<_> =
            std::fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "no inputs for {name}");
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            if let Err(panic) = std::panic::catch_unwind(|| take(&bytes)) {
                eprintln!("{}", file.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
}
