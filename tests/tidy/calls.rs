//! Who may print, and who may ask for the time.

use crate::source::{shipped, sources};
use std::collections::BTreeSet;

#[test]
fn only_the_output_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        for print in ["print!", "println!", "eprint!", "eprintln!", "dbg!"] {
            if source.code.contain(print) && !source.path.starts_with("cli/output/") && !source.path.contains("test") {
                wrong.push(format!("src/{}: {print}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Folders in which time and chance come from outside, and those of their parts that are the outside: they wait, measure, or have a
/// thread or a process of their own.
const AMBIENT: &[(&str, &[&str])] = &[
    ("agent", &["probe.rs", "spool_lock.rs", "tool.rs"]),
    ("dispatch", &["client/", "process/"]),
    ("distributor", &[]),
    ("link", &[]),
];

/// The calls that ask a clock.
const CLOCKS: &[&str] = &[
    "Instant::now",
    "Timestamp::now",
    "Moment::now",
    "Reading::now",
    ".elapsed",
    "SystemTime::now",
    "since_boot()",
    "Uuid::now_v7",
    "ambient::System",
];

#[test]
fn decisions_are_given_the_time() {
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<String> = AMBIENT
        .iter()
        .flat_map(|(folder, outside)| outside.iter().map(move |part| format!("{folder}/{part}")))
        .collect();
    for source in shipped() {
        let Some((folder, outside)) = AMBIENT.iter().find(|(folder, _)| source.folder() == *folder) else { continue };
        let part = outside.iter().map(|part| format!("{folder}/{part}")).find(|part| source.path.starts_with(part));
        let calls: Vec<&str> = CLOCKS.iter().copied().filter(|call| source.shipped_code.contain(call)).collect();
        match part {
            Some(part) if !calls.is_empty() => drop(unused.remove(&part)),
            Some(_) => {}
            None => wrong.extend(calls.iter().map(|call| format!("src/{}: {call}", source.path))),
        }
    }
    assert!(wrong.is_empty(), "time comes from Ambient:\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}
