//! Expressions that want to hurt: refused quickly, with a word, and never a crash.

use crate::matching::{ExpressionRole, check};
use std::time::{Duration, Instant};

fn refused(text: &str, word: &str) {
    let start = Instant::now();
    let error = check(text, ExpressionRole::Constraint).expect_err(text);
    // Printing is part of it: the parser's own errors panic when printed.
    let shown = error.to_string();
    assert!(shown.contains(word), "{shown}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?} for {shown}", start.elapsed());
}

#[test]
fn long_and_deep_expressions_are_refused() {
    for link in ["+1", "==1", ".b", ".size()", "<1", "&&true", "||true"] {
        refused(&format!("1{}", link.repeat(20_000)), "bytes long");
    }
    refused(&format!("1{} == 1", "+1".repeat(100)), "chain of more than 32");
    refused(&format!("true{}", "?true:true".repeat(60)), "chain of more than 32");
    refused(&format!("{}true{}", "(".repeat(900), ")".repeat(900)), "more than 256");
    refused(&format!("{}true{}", "(".repeat(40), ")".repeat(40)), "more than 32 deep");
    // The parser makes two signs none, so these are short after all.
    assert!(check(&format!("{}true", "!".repeat(200)), ExpressionRole::Constraint).is_ok());
    assert!(check(&format!("{}(1) < 0", "-".repeat(201)), ExpressionRole::Constraint).is_ok());
    refused(&"a".repeat(20_000), "bytes long");
    refused(&format!("{} sever", " ".repeat(70_000)), "bytes long");
    refused("[1,2].exists(a, [1,2].exists(b, a == b))", "one exists");
    refused("[1].all(a, true) && [1].all(b, true)", "one exists");
    refused(r#"server.os.matches("(a{1000}){1000}")"#, "bad pattern");
    refused(
        r#"server.os.matches("((((((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))))))")"#,
        "bad pattern",
    );
}

#[test]
fn control_characters_are_escaped_in_errors() {
    let shown = check("server.os == \u{202e}1", ExpressionRole::Constraint).unwrap_err().to_string();
    assert!(!shown.contains('\u{202e}'), "{shown:?}");
    let shown = check("server.os == \"\u{1b}[2J\u{202e}\" + 1", ExpressionRole::Constraint).unwrap_err().to_string();
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()) && !shown.contains('\u{202e}'), "{shown:?}");
}
