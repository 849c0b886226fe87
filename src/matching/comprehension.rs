//! Which macro a comprehension was: the parser has written `exists`, `all`, `filter` and `map` out as loops.

use super::tree::EachKind;
use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, operators};

/// The macro that a comprehension was made of: its kind, guard and body.
pub(super) fn shape(inner: &ComprehensionExpr) -> Option<(EachKind, Option<&IdedExpr>, &IdedExpr)> {
    let Expr::Call(step) = &inner.loop_step.expr else { return None };
    match (step.func_name.as_str(), step.args.as_slice()) {
        (operators::LOGICAL_OR, [_, body]) => Some((EachKind::Exists, None, body)),
        (operators::LOGICAL_AND, [_, body]) => Some((EachKind::All, None, body)),
        (operators::ADD, [_, item]) => Some((EachKind::Collect, None, single(item)?)),
        (operators::CONDITIONAL, [test, then, _]) => {
            let Expr::Call(add) = &then.expr else { return None };
            match &add.args.get(1)?.expr {
                Expr::Literal(_) => Some((EachKind::ExistsOne, None, test)),
                _ => Some((EachKind::Collect, Some(test), single(add.args.get(1)?)?)),
            }
        }
        _ => None,
    }
}

fn single(list: &IdedExpr) -> Option<&IdedExpr> {
    match &list.expr {
        Expr::List(list) => match list.elements.as_slice() {
            [one] => Some(one),
            _ => None,
        },
        _ => None,
    }
}
