//! Which folder may import which, and which crates belong to one folder.

use crate::source::{Source, Tokens, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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

/// What code of a file names of the top of the crate: `crate::x`, `grid::x`, and `super::..` where that leads up there.
fn imports(path: &str, code: &Tokens, outside: &Tokens) -> BTreeSet<String> {
    let mut found = code.named_after("crate");
    found.extend(code.named_after("grid"));
    // From src/a/b.rs two steps lead to the top, from src/a/mod.rs one; the tests inside a file are a module deeper.
    let depth = path.matches('/').count() + usize::from(!path.ends_with("/mod.rs"));
    if path.contains('/') {
        found.extend(outside.named_after(&vec!["super"; depth].join("::")));
    }
    found
}

fn all_imports(source: &Source) -> BTreeSet<String> {
    imports(&source.path, &source.code, &source.shipped_code)
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
        for name in all_imports(source) {
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
            let used = source.code.contain(&format!("{name}::")) || source.code.contain(&format!("use {name}"));
            if used && !folders.contains(&source.folder()) {
                wrong.push(format!("src/{}: {name} belongs to {}", source.path, folders.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first tier sees a sealed envelope and the second tier's records, and has no type through which it could see more.
#[test]
fn the_first_tier_can_not_look_at_task_or_client() {
    let tier1 = sources().iter().find(|source| source.path == "distributor/tier1.rs").unwrap();
    let code = &tier1.shipped_code;
    let names = imports(&tier1.path, code, code);
    for forbidden in ["matching", "store", "dispatch", "ops"] {
        assert!(!names.contains(forbidden), "tier1.rs knows {forbidden}");
    }
    for module in ["task", "client", "demand", "user", "profile", "command", "expression", "resources"] {
        assert!(!code.named_after("crate::model").contains(module), "tier1.rs knows model::{module}");
    }
    assert!(!code.named_after("crate::protocol").contains("seal"), "tier1.rs could open the envelope");
    for opened in ["seal::", "open", ".sealed", "rmp_serde", "serde_json"] {
        assert!(!code.contain(opened), "tier1.rs could open the envelope: {opened}");
    }
    // A glob would bring in what this scan does not see.
    assert!(!code.contain("::*"), "tier1.rs imports with a glob");
}
