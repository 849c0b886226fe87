//! Folds what does not depend on the server into constants, once for a class of tasks.

use super::eval::{Scope, eval};
use super::query::QueryFacts;
use super::tree::{AttributePath, AttributeRoot, Datum, Each, Fault, Node, PathId};
use crate::model::attribute::Value;

/// Nothing is known of the server while folding.
struct NoServer;

impl Scope for NoServer {
    fn get(&self, _: PathId) -> Result<Datum<'_>, Fault> {
        Err(Fault::Volatile)
    }
}

/// Replaces what does not depend on the server by its value.
pub(super) fn fold(node: &Node, paths: &[AttributePath], facts: &QueryFacts) -> Node {
    let again = |node: &Node| fold(node, paths, facts);
    let boxed = |node: &Node| Box::new(again(node));
    let known = |id: PathId| paths.get(usize::from(id)).filter(|path| path.root != AttributeRoot::Server);
    let folded = match node {
        Node::Path(id) => match known(*id) {
            Some(path) => match facts.get(path) {
                Some(value) => return Node::Const(value.clone()),
                None => return Node::Absent(*id),
            },
            None => return node.clone(),
        },
        Node::Has(id) => match known(*id) {
            Some(path) => return Node::Const(Value::Bool(facts.get(path).is_some())),
            None => return node.clone(),
        },
        Node::Const(_) | Node::Absent(_) | Node::Item => return node.clone(),
        Node::Field(of, name) => Node::Field(boxed(of), name.clone()),
        Node::HasField(of, name) => Node::HasField(boxed(of), name.clone()),
        Node::At(both) => Node::At(Box::new((again(&both.0), again(&both.1)))),
        Node::Not(of) => Node::Not(boxed(of)),
        Node::Minus(of) => Node::Minus(boxed(of)),
        Node::All(parts) => Node::All(undecided(parts.iter().map(again), true)),
        Node::Any(parts) => Node::Any(undecided(parts.iter().map(again), false)),
        Node::Binary(op, sides) => Node::Binary(*op, Box::new((again(&sides.0), again(&sides.1)))),
        Node::Versions(op, sides) => Node::Versions(*op, Box::new((again(&sides.0), again(&sides.1)))),
        Node::If(parts) => Node::If(Box::new((again(&parts.0), again(&parts.1), again(&parts.2)))),
        Node::Call(function, args) => Node::Call(*function, args.iter().map(again).collect()),
        Node::Matches(of, regex) => Node::Matches(boxed(of), regex.clone()),
        Node::List(items) => Node::List(items.iter().map(again).collect()),
        Node::Map(entries) => Node::Map(entries.iter().map(|(k, v)| (again(k), again(v))).collect()),
        Node::Each(each) => Node::Each(Box::new(Each {
            kind: each.kind,
            range: again(&each.range),
            guard: each.guard.as_ref().map(again),
            body: again(&each.body),
        })),
    };
    if holds_item(&folded) {
        return folded;
    }
    // Whatever comes out without looking at the server is the value for every server.
    match eval(&folded, &NoServer).map(Datum::into_value) {
        Ok(value) => Node::Const(value),
        Err(_) => folded,
    }
}

/// The parts that still matter: `true` decides nothing in `&&`, `false` nothing in `||`.
fn undecided(parts: impl Iterator<Item = Node>, neutral: bool) -> Vec<Node> {
    parts.filter(|part| !matches!(part, Node::Const(Value::Bool(v)) if *v == neutral)).collect()
}

/// Does the tree use a comprehension's variable that it does not bind itself?
fn holds_item(node: &Node) -> bool {
    match node {
        Node::Item => true,
        // Comprehensions do not nest.
        Node::Each(each) => holds_item(&each.range),
        node => {
            let mut holds = false;
            node.each_part(&mut |part| holds |= holds_item(part));
            holds
        }
    }
}
