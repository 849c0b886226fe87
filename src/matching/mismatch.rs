//! Comparisons that are false because their sides are of different types, in words.

use super::eval::{Scope, eval};
use super::tree::{Datum, Node, Op};

/// `an int is never equal to a text`, for the first `==` of the tree whose sides are never equal.
pub(super) fn type_mismatch<S: Scope>(node: &Node, scope: &S) -> Option<String> {
    match node {
        Node::All(parts) | Node::Any(parts) => parts.iter().find_map(|part| type_mismatch(part, scope)),
        Node::Not(of) => type_mismatch(of, scope),
        Node::Binary(Op::Equal, sides) => never_equal(&eval(&sides.0, scope).ok()?, &eval(&sides.1, scope).ok()?),
        Node::Binary(Op::In, sides) => match (eval(&sides.0, scope).ok()?, eval(&sides.1, scope).ok()?) {
            (item, Datum::List(list)) if !list.is_empty() => {
                let each: Option<Vec<String>> = list.iter().map(|other| never_equal(&item, &other.into())).collect();
                each.and_then(|each| each.into_iter().next())
            }
            _ => None,
        },
        _ => None,
    }
}

fn never_equal(left: &Datum<'_>, right: &Datum<'_>) -> Option<String> {
    let number = |of: &Datum<'_>| matches!(of, Datum::Int(_) | Datum::Double(_));
    let a =
        |of: &Datum<'_>| if of.type_name() == "int" { "an int".to_owned() } else { format!("a {}", of.type_name()) };
    let differ = left.type_name() != right.type_name() && !(number(left) && number(right));
    differ.then(|| format!("{} is never equal to {}", a(left), a(right)))
}
