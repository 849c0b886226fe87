//! Versions that an expression orders as texts, as in `"6.18" < "6.9"`: a remark names `version()`.

use super::error::ExpressionRole;
use super::expression::Expression;
use super::tree::{Node, Op};
use crate::model::attribute::Value;

/// A line for each requirement that orders a text that looks like a version. None for a text that can't be read.
pub fn remarks(text: &str, role: ExpressionRole) -> Vec<String> {
    // The cheap question first: most expressions order no texts.
    if !text.contains(['<', '>']) || !text.contains(['"', '\'']) {
        return Vec::new();
    }
    let Ok(expression) = Expression::compile(text, role) else { return Vec::new() };
    let said = |(part, node): (&str, &Node)| {
        let version = ordered(node)?;
        Some(format!(
            "{part}: texts are ordered letter by letter, \"6.18\" before \"6.9\"; version(\"{version}\") is ordered as a version"
        ))
    };
    expression.conjuncts().into_iter().filter_map(said).collect()
}

/// The first text in a tree that looks like a version and is ordered.
fn ordered(node: &Node) -> Option<String> {
    if let Node::Binary(Op::Less | Op::LessOrEqual | Op::More | Op::MoreOrEqual, sides) = node {
        for side in [&sides.0, &sides.1] {
            if let Node::Const(Value::Text(text)) = side
                && looks_like_version(text)
            {
                return Some(text.to_string());
            }
        }
    }
    let mut found = None;
    node.each_part(&mut |part| {
        if found.is_none() {
            found = ordered(part);
        }
    });
    found
}

/// `6.9`, `v0.10.2`, `12.2-rc1`: a digit first, and a number behind a point. A date such as `2026-11-30` is none.
fn looks_like_version(text: &str) -> bool {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let digits = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let mut parts = text.split('.');
    parts.next().is_some_and(|first| !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit()))
        && parts.next().is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_versions_are_named_with_the_remedy() {
        let said = |text: &str| remarks(text, ExpressionRole::Constraint);
        assert_eq!(
            said(r#"server.os == "linux" && server.kernel >= "6.9""#),
            [
                r#"server.kernel >= "6.9": texts are ordered letter by letter, "6.18" before "6.9"; version("6.9") is ordered as a version"#
            ]
        );
        assert_eq!(said(r#"!('v0.10.2' > server.app_version.hq)"#).len(), 1);
        for quiet in [
            r#"server.kernel >= version("6.9")"#,
            r#"server.kernel == "6.9""#,
            r#"server.kernel.startsWith("6.9") && server.cpus > 3"#,
            r#"server.name < "m" && server.bought < "2026-11-30" && server.fw < "12""#,
            r#"server.kernel >= "6.9"#,
        ] {
            assert_eq!(said(quiet), Vec::<String>::new(), "{quiet}");
        }
    }
}
