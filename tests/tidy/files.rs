//! How files are named, how they begin, and how long they are.

use crate::source::sources;

/// A file may be longer than this only for a reason.
const LONGEST: usize = 400;
const LONGER: &[(&str, &str)] = &[];

#[test]
fn names_say_what_is_inside() {
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            assert!(
                !matches!(part, "util" | "utils" | "helper" | "helpers" | "common" | "misc" | "shared"),
                "src/{}",
                source.path
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> =
        sources().iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path.clone()).collect();
    assert!(silent.is_empty(), "no `//!` at the top of: {}", silent.join(", "));
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    let mut unused: Vec<&str> = LONGER.iter().map(|(file, _)| *file).collect();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines <= LONGEST {
            continue;
        }
        let listed = unused.len();
        unused.retain(|file| *file != source.path);
        if unused.len() == listed {
            wrong.push(format!("src/{}: {lines} lines", source.path));
        }
    }
    assert!(wrong.is_empty(), "longer than {LONGEST} lines:\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}
