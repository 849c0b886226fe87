//! Expressions that make no sense, would never end, or would overflow a stack: refused when typed, by every command that takes one.

use super::Kept;
use std::time::Instant;

/// The caret stands under this word of the expression.
#[track_caller]
fn caret_under(kept: &Kept, expression: &str, word: &str, said: &str) {
    let done = kept.refuses(["submit", "-C", expression, "--", "true"], 2, &[said]);
    let lines: Vec<String> = done.err().lines().map(str::to_owned).collect();
    let shown = lines.iter().position(|line| line.trim() == expression).unwrap_or_else(|| panic!("{done:?}"));
    let caret = lines[shown + 1].find('^').unwrap_or_else(|| panic!("no caret: {done:?}"));
    assert!(lines[shown][caret..].starts_with(word), "the caret stands under {:?}: {done:?}", &lines[shown][caret..]);
}

#[test]
fn a_caret_stands_under_the_place() {
    let kept = Kept::new();
    caret_under(&kept, "servr.cpus > 1", "servr", "servr is not known");
    caret_under(&kept, "server.cpus = 1", "= 1", "write ==");
    caret_under(&kept, r#"server.cpus == "a""#, r#"== "a""#, "never equal");
    caret_under(&kept, "server.cpus +", "", "the end");
    caret_under(&kept, r#"server.site == "brno"#, r#""brno"#, "closing quote");
    caret_under(&kept, "server.cpus", ".cpus", "true or false");
}

#[test]
fn every_command_that_takes_an_expression_refuses_a_bad_one() {
    let kept = Kept::new();
    for line in [
        "submit --prefer servr.x -- true",
        "run -C servr.x -- true",
        "submit -n -C servr.x -- true",
        "server add x --local --accepts servr.x",
        "server set local --accepts servr.x",
        "user add x --prefer servr.x",
        "user add x -C servr.x",
        "task add x --prefer servr.x",
        "task add x -C servr.x",
    ] {
        kept.refuses(line.split(' '), 2, &["servr is not known", "^"]);
    }
    kept.refuses(["submit", "-C", "", "--", "true"], 2, &["empty"]);
}

#[test]
fn expression_that_would_never_end_or_overflow_is_refused_at_once() {
    let kept = Kept::new();
    let begun = Instant::now();
    let nested = "[1,2,3].all(a, [1,2,3].all(b, [1,2,3].all(c, a + b + c > 0)))".to_owned();
    let chain = "server.cpus > 0".to_owned() + &" && server.cpus > 0".repeat(100);
    for (expression, word) in [
        ("(".repeat(2000), "256 words"),
        ("(".repeat(120) + "true" + &")".repeat(120), "nest"),
        ("!".repeat(2000) + "true", "256 words"),
        ("1".to_owned() + &"-1".repeat(900) + " > 0", "256 words"),
        ("[".repeat(2000) + &"]".repeat(2000), "2048"),
        ("x".repeat((1 << 17) - 1), "2048"),
        (chain, "256 words"),
        (nested, "none inside another"),
        ("\u{202e}true".to_owned(), ""),
        ("tr\u{0}ue".replace('\u{0}', "\u{1}"), ""),
    ] {
        kept.refuses(["submit", "-C", &expression, "--", "true"], 2, &[word]);
        kept.refuses(["submit", "--prefer", &expression, "--", "true"], 2, &[word]);
    }
    // Regular expressions that other engines never come back from.
    let slow = r#"server.hostname.matches("^(([a-z])+.)+[A-Z]([a-z])+$")"#;
    let code = kept.grid.grid(["submit", "-n", "-C", slow, "--", "true"]).code();
    assert!([0, 2, 75].contains(&code), "{code}");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
