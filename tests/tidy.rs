//! The house keeps its shape: who may know whom, who may print, how files are named and how long they are.
//! A small scan of the text of `src/`. Exceptions stand in lists with their reason; one that is no longer needed fails too.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "tidy/pages.rs"]
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may import whom, as in src/lib.rs. A folder may always use itself.
const LADDER: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("matching", &["model"]),
    ("store", &["model"]),
    ("protocol", &["model"]),
    ("archive", &["model"]),
    ("agent", &["archive", "protocol", "model"]),
    ("link", &["protocol", "model"]),
    ("engine", &["link", "protocol", "model"]),
    ("distributor", &["link", "matching", "store", "protocol", "model"]),
    ("dispatch", &["engine", "link", "distributor", "matching", "store", "archive", "protocol", "model"]),
    ("ops", &["dispatch", "distributor", "matching", "store", "archive", "protocol", "model"]),
    ("cli", &["ops", "model"]),
];

/// Single files that may know more than their folder.
const ALSO: &[(&str, &str, &str)] = &[("cli/commands/mod.rs", "agent", "`grid agent` and `grid supervise` become it")];

/// Crates that belong to one folder.
const CRATES: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("comfy_table", &["cli"]),
    ("indicatif", &["cli"]),
];

/// A file may be longer than this only for a reason.
const LONGEST: usize = 400;
const LONGER: &[(&str, &str)] = &[];

/// One file of src/, with its text without comments and literals.
struct Source {
    /// Relative to src/.
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn folder(&self) -> &str {
        self.path.split_once('/').map_or("", |(folder, _)| folder)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    assert!(files.len() > 50, "the scan sees {} files only", files.len());
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let code = strip(&text);
        Source { path: path.strip_prefix(&root).unwrap().display().to_string(), text, code }
    };
    files.iter().map(read).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The code without comments, and with empty literals.
fn strip(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let is = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| bytes.get(at + i) == Some(&c));
    while at < bytes.len() {
        if is(at, "//") {
            while at < bytes.len() && bytes[at] != '\n' {
                at += 1;
            }
        } else if is(at, "/*") {
            let mut depth = 0;
            while at < bytes.len() {
                if is(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if is(at, "*/") {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        break;
                    }
                } else {
                    at += 1;
                }
            }
        } else if bytes[at] == 'r' && raw_hashes(&bytes, at).is_some() && !word_before(&bytes, at) {
            let hashes = raw_hashes(&bytes, at).unwrap();
            let end = format!("\"{}", "#".repeat(hashes));
            at += 2 + hashes;
            while at < bytes.len() && !is(at, &end) {
                at += 1;
            }
            at += end.len();
            out.push_str("\"\"");
        } else if bytes[at] == '"' {
            at += 1;
            while at < bytes.len() && bytes[at] != '"' {
                at += if bytes[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
            out.push_str("\"\"");
        } else if bytes[at] == '\'' && (is(at + 2, "'") || bytes.get(at + 1) == Some(&'\\')) {
            at += if bytes[at + 1] == '\\' { 3 } else { 2 };
            while at < bytes.len() && bytes[at] != '\'' {
                at += 1;
            }
            at += 1;
            out.push_str("' '");
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn word_before(bytes: &[char], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_alphanumeric() || bytes[at - 1] == '_') && bytes[at - 1] != 'b'
}

/// How many hashes a raw string literal that begins here has; None if none begins here.
fn raw_hashes(bytes: &[char], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|c| **c == '#').count();
    (bytes.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// The first names of all paths that begin with `prefix::`, also of those in braces.
fn named_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let begin = format!("{prefix}::");
    for (at, _) in code.match_indices(&begin) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = code[at + begin.len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut fresh, mut word) = (0, true, String::new());
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        names.insert(std::mem::take(&mut word));
                        fresh = true;
                    }
                    c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => word.push(c),
                    // The first name of each path only: not `as ..`, not what follows `::`.
                    c if depth == 0 && (!c.is_whitespace() || !word.is_empty()) => fresh = false,
                    _ => {}
                }
            }
            names.insert(word);
        } else {
            names.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names.remove("");
    names
}

/// What a file names of the top of the crate: `crate::x`, `grid::x`, and `super::..` where that leads up there.
fn imports(source: &Source) -> BTreeSet<String> {
    let mut found = named_after(&source.code, "crate");
    found.extend(named_after(&source.code, "grid"));
    // From src/a/b.rs two steps lead to the top, from src/a/mod.rs one; the tests inside a file are a module deeper.
    let outside = source.code.split("#[cfg(test)]").next().unwrap();
    let depth = source.path.matches('/').count() + usize::from(!source.path.ends_with("/mod.rs"));
    if source.path.contains('/') {
        found.extend(named_after(outside, &vec!["super"; depth].join("::")));
    }
    found
}

#[test]
fn everybody_knows_only_those_below() {
    let ladder: BTreeMap<&str, &[&str]> = LADDER.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut unused: Vec<_> = ALSO.iter().map(|(file, whom, _)| (*file, *whom)).collect();
    for source in sources() {
        let folder = source.folder();
        if folder.is_empty() {
            assert!(matches!(source.path.as_str(), "lib.rs" | "main.rs"), "src/{}: files lie in folders", source.path);
            continue;
        }
        let Some(below) = ladder.get(folder) else {
            wrong.push(format!("src/{folder}/ has no place in the ladder"));
            continue;
        };
        for name in imports(&source) {
            let other = name != folder && ladder.contains_key(name.as_str()) && !below.contains(&name.as_str());
            let listed = unused.len();
            unused.retain(|known| *known != (source.path.as_str(), name.as_str()));
            if other && unused.len() == listed {
                wrong.push(format!("src/{}: {folder} may not know {name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}

#[test]
fn the_map_in_lib_rs_shows_this_ladder() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (folder, below) in LADDER {
        let row = map.lines().find(|line| {
            line.starts_with("//! | ") && line.split('|').nth(1).is_some_and(|c| c.contains(&format!("[`{folder}`]")))
        });
        let row = row.unwrap_or_else(|| panic!("{folder} is not in the table of src/lib.rs"));
        let cell = row.split('|').nth(2).unwrap().split(';').next().unwrap();
        let shown: BTreeSet<&str> = cell.split(',').map(str::trim).filter(|word| *word != "nothing of ours").collect();
        assert_eq!(shown, below.iter().copied().collect(), "{folder}: the table of src/lib.rs and this ladder differ");
    }
}

#[test]
fn each_crate_stays_in_its_folder() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, folders) in CRATES {
            let used = source.code.match_indices(name).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                let after = source.code[at + name.len()..].chars().next();
                let whole = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
                whole(before) && after == Some(':') || source.code[..at].ends_with("use ") && whole(after)
            });
            if used && !folders.contains(&source.folder()) {
                wrong.push(format!("src/{}: {name} belongs to {}", source.path, folders.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_output_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        for print in ["print!", "println!", "eprint!", "eprintln!", "dbg!"] {
            let prints = source
                .code
                .match_indices(print)
                .any(|(at, _)| !source.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if prints && !source.path.starts_with("cli/output/") && !source.path.contains("test") {
                wrong.push(format!("src/{}: {print}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first tier sees a sealed envelope and the second tier's records, and has no type through which it could see more.
#[test]
fn the_first_tier_can_not_look_at_task_or_client() {
    let all = sources();
    let tier1 = all.into_iter().find(|s| s.path == "distributor/tier1.rs").unwrap();
    // Its tests are another module, compiled for tests only.
    let code = tier1.code.split("#[cfg(test)]").next().unwrap().to_owned();
    let tier1 = Source { code, ..tier1 };
    let names = imports(&tier1);
    for forbidden in ["matching", "store", "dispatch", "ops"] {
        assert!(!names.contains(forbidden), "tier1.rs knows {forbidden}");
    }
    for module in ["task", "client", "demand", "user", "profile", "command", "expression", "resources"] {
        assert!(!named_after(&tier1.code, "crate::model").contains(module), "tier1.rs knows model::{module}");
    }
    assert!(!named_after(&tier1.code, "crate::protocol").contains("seal"), "tier1.rs could open the envelope");
    for opened in ["seal::", "open(", ".sealed", "rmp_serde", "serde_json"] {
        assert!(!tier1.code.contains(opened), "tier1.rs could open the envelope: {opened}");
    }
    // A glob would bring in what this scan does not see.
    assert!(!tier1.code.contains("::*"), "tier1.rs imports with a glob");
}

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
    let silent: Vec<String> = sources().into_iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path).collect();
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

#[test]
fn the_scan_itself_sees() {
    let code = strip(
        "use crate::{model::{a, b}, store as s, ops}; // crate::cli\n let x = \"crate::cli\"; crate::agent::x(); r#\"crate::cli\"# '\"' crate::link::y()",
    );
    let names: Vec<String> = named_after(&code, "crate").into_iter().collect();
    assert_eq!(names, ["agent", "link", "model", "ops", "store"]);
    assert_eq!(strip("/* a /* b */ c */x'a'"), "x' '");
    assert_eq!(strip("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
}

/// Names that several types have, each with the reason. At most ten.
const SAME_NAMES: &[(&str, &str)] = &[];

#[test]
fn type_names_are_unique() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| !is_test(source)) {
        let code = source.code.split("#[cfg(test)]\nmod tests").next().unwrap();
        for line in code.lines() {
            let words: Vec<&str> =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
            let at = words.iter().position(|word| matches!(*word, "struct" | "enum" | "trait" | "type" | "union"));
            let Some(at) = at.filter(|at| {
                words[..*at].iter().all(|word| matches!(*word, "pub" | "crate" | "super" | "in" | "dispatch" | "ops"))
            }) else {
                continue;
            };
            // The types of a trait belong to it.
            let inner = words[at] == "type" && line.starts_with("    ");
            if let Some(name) = words.get(at + 1).filter(|_| !inner) {
                defined.entry((*name).to_owned()).or_default().push(source.path.clone());
            }
        }
    }
    assert!(SAME_NAMES.len() <= 10, "{} exceptions", SAME_NAMES.len());
    let excused = |name: &str| SAME_NAMES.iter().any(|(known, _)| *known == name);
    let twice: Vec<_> = defined.iter().filter(|(name, at)| at.len() > 1 && !excused(name)).collect();
    assert!(
        twice.is_empty(),
        "one name, one type:\n{}",
        twice.iter().map(|(n, at)| format!("{n}: {}\n", at.join(" "))).collect::<String>()
    );
    let unused: Vec<_> =
        SAME_NAMES.iter().filter(|(name, _)| defined.get(*name).is_none_or(|at| at.len() < 2)).collect();
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}

fn is_test(source: &Source) -> bool {
    let path = &source.path;
    path.ends_with("_test.rs")
        || ["/tests/", "/tests.rs", "/testing/", "/scenarios/", "fixture.rs"].iter().any(|part| path.contains(part))
}

/// Folders in which time and chance come from outside, and those of their parts that are the outside: they wait, measure, or have a
/// thread or a process of their own.
const AMBIENT: &[(&str, &[&str])] = &[
    ("agent", &["power.rs", "probe.rs", "spool_lock.rs", "tool.rs"]),
    ("dispatch", &["client/", "homes/chores.rs", "process/"]),
    ("distributor", &[]),
];

/// The calls that ask a clock.
const CLOCKS: &[&str] = &[
    "Instant::now",
    "Timestamp::now",
    "Moment::now",
    "Reading::now",
    ".elapsed()",
    "SystemTime::now",
    "since_boot()",
    "Uuid::now_v7",
];

#[test]
fn decisions_are_given_the_time() {
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<String> = AMBIENT
        .iter()
        .flat_map(|(folder, outside)| outside.iter().map(move |part| format!("{folder}/{part}")))
        .collect();
    for source in sources().iter().filter(|source| !is_test(source)) {
        let Some((folder, outside)) = AMBIENT.iter().find(|(folder, _)| source.folder() == *folder) else { continue };
        let part = outside.iter().map(|part| format!("{folder}/{part}")).find(|part| source.path.starts_with(part));
        let code = source.code.split("#[cfg(test)]\nmod tests").next().unwrap();
        let mut calls: Vec<&str> = CLOCKS.iter().copied().filter(|call| code.contains(call)).collect();
        if named_after(code, "crate::model::ambient").contains("System") {
            calls.push("ambient::System");
        }
        match part {
            Some(part) if !calls.is_empty() => drop(unused.remove(&part)),
            Some(_) => {}
            None => wrong.extend(calls.iter().map(|call| format!("src/{}: {call}", source.path))),
        }
    }
    assert!(wrong.is_empty(), "time comes from Ambient:\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}

/// A struct with more fields than this is several.
const FIELDS: usize = 12;

#[test]
fn parts_of_the_dispatcher_have_few_fields() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.folder() == "dispatch" && !is_test(source)) {
        for (at, _) in source.code.match_indices("struct ") {
            let Some(body) = source.code[at..].split_once('{').map(|(_, rest)| rest) else { continue };
            let name: String = source.code[at + 7..].chars().take_while(|c| c.is_alphanumeric()).collect();
            let body = body.split("\n}").next().unwrap();
            let fields = body.lines().filter(|line| line.starts_with("    pub") && line.contains(':')).count();
            if fields > FIELDS {
                wrong.push(format!("src/{}: {name} has {fields}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "more than {FIELDS} fields that others reach:\n{}", wrong.join("\n"));
}
