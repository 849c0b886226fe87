//! Names that would be an option, a path or a trick on a terminal.

use super::Kept;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

fn hostile() -> Vec<OsString> {
    let long = "x".repeat(64);
    let texts = [
        "",
        &long,
        "-x",
        "--local",
        "-oProxyCommand=x",
        "a b",
        "a\tb",
        "a\nb",
        "a\u{1b}[31m",
        "a\u{7f}",
        "a/b",
        "/a",
        ".",
        "..",
        "../a",
        "a..b",
        "a\u{202e}b",
        "a\u{2066}b",
        "\u{feff}a",
        "\u{200b}",
        "é",
        "a,b",
        "a=b",
        "$(x)",
        "`x`",
        "a;b",
        "a'b",
        "a\"b",
    ];
    let mut all: Vec<OsString> = texts.iter().map(OsString::from).collect();
    all.push(OsStr::from_bytes(b"a\xffb").to_owned());
    all
}

/// What disturbs a terminal does not come out of the complaint either.
#[track_caller]
fn refused(kept: &Kept, before: &[&str], name: &OsStr, after: &[&str]) {
    let line = before.iter().map(OsStr::new).chain([name]).chain(after.iter().map(OsStr::new));
    let done = kept.refuses(line, 2, &[]);
    assert!(!done.err().contains(['\u{1b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{200b}', '\u{7f}']), "{done:?}");
    assert!(std::str::from_utf8(&done.err).is_ok(), "{done:?}");
}

#[test]
fn names_are_letters_digits_and_few_signs() {
    let kept = Kept::new();
    for name in hostile() {
        // Where a list is taken, a comma parts names.
        let listed = name.as_bytes().contains(&b',');
        refused(&kept, &["server", "add"], &name, &["--local"]);
        refused(&kept, &["user", "add"], &name, &["--share", "2"]);
        refused(&kept, &["task", "add"], &name, &["--cpus", "1"]);
        refused(&kept, &["distributor", "add"], &name, &["--tier", "2"]);
        refused(&kept, &["submit", "--user"], &name, &["--", "true"]);
        refused(&kept, &["submit", "--profile"], &name, &["--", "true"]);
        if !listed {
            refused(&kept, &["user", "add", "bob", "--group"], &name, &[]);
            refused(&kept, &["submit", "-x"], &OsString::from_iter([OsStr::new("a/"), &name]), &["--", "true"]);
        }
    }
    // After `--` a dash is no option, and still no name.
    for verb in
        [&["server", "add", "--local", "--"][..], &["user", "add", "--"], &["client", "set", "--set", "a=1", "--"]]
    {
        refused(&kept, verb, OsStr::new("-x"), &[]);
    }
}

#[test]
fn client_names_are_host_names() {
    let kept = Kept::new();
    for name in hostile().into_iter().chain(["x".repeat(254).into()]) {
        if name.len() == 64 {
            continue; // A host name may be longer than other names.
        }
        refused(&kept, &["client", "set"], &name, &["--set", "a=1"]);
    }
}

#[test]
fn name_of_a_task_may_have_blanks_but_no_control_characters() {
    let kept = Kept::new();
    let long = "x".repeat(201);
    for name in ["", "a\nb", "a\u{1b}[31mb", "a\u{202e}b", "\u{200b}", &long] {
        refused(&kept, &["submit", "-J"], OsStr::new(name), &["--", "true"]);
    }
    kept.grid.grid(["submit", "-n", "-J", "scene 4, à propos", "--", "true"]).ok();
}

#[test]
fn attributes_reasons_and_values_are_safe_to_show() {
    let kept = Kept::new();
    let long = format!("a={}", "x".repeat(5000));
    for set in ["a=x\u{1b}[31m", "a=x\ny", "a b=1", "=1", "a.b=1", &long] {
        kept.refuses(["server", "set", "local", "--set", set], 2, &["--set"]);
    }
    kept.grid.grid(["server", "drain", "local", "--reason", "loud\u{1b}[31m\u{202e}\nfan"]).ok();
    let listed = kept.grid.grid(["server", "list"]).ok();
    assert!(listed.contains("loud") && !listed.contains(['\u{1b}', '\u{202e}']), "{listed}");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    kept.grid.grid(["server", "resume", "local"]).ok();
}
