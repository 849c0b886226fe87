//! The conjuncts of a requirement, each in the cheapest form that asks the same: is it true for this row?

use super::columns::{ColumnId, Dictionary};
use super::eval::{compare, eval};
use super::index::{Fleet, NO_COLUMN};
use super::search::RowScope;
use super::tree::{Datum, Node, Op, PathId};
use crate::model::attribute::Value;
use std::cell::Cell;

/// What was found for a value of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DictionaryHit {
    Not,
    True,
    Untrue,
}

/// Remembers an answer for each different value of a column, for as long as one search lasts.
pub(super) struct Memo<'a> {
    dictionary: &'a Dictionary,
    known: Vec<Cell<DictionaryHit>>,
}

impl<'a> Memo<'a> {
    pub(super) fn new(dictionary: &'a Dictionary) -> Self {
        Self { dictionary, known: vec![Cell::new(DictionaryHit::Not); dictionary.len() + 1] }
    }

    /// The answer for a row's value; asks only for the first row that has it.
    pub(super) fn get(&self, row: usize, ask: impl FnOnce() -> bool) -> bool {
        let Some(known) = self.known.get(self.dictionary.code(row)) else { return ask() };
        if known.get() == DictionaryHit::Not {
            known.set(if ask() { DictionaryHit::True } else { DictionaryHit::Untrue });
        }
        known.get() == DictionaryHit::True
    }
}

/// One conjunct.
pub(super) enum Test<'a> {
    /// Reads a single column of few different values: asked once for each of them.
    ByValue(Memo<'a>, &'a Node),
    /// A column against a number.
    Compare(ColumnId, Op, &'a Value),
    General(&'a Node),
}

impl<'a> Test<'a> {
    /// The tests of a folded tree.
    pub(super) fn all(fleet: &'a Fleet, node: &'a Node, columns: &[ColumnId]) -> Vec<Self> {
        match node {
            Node::All(parts) => parts.iter().map(|part| Self::of(fleet, part, columns)).collect(),
            node => vec![Self::of(fleet, node, columns)],
        }
    }

    fn of(fleet: &'a Fleet, node: &'a Node, columns: &[ColumnId]) -> Self {
        let column = |id: PathId| columns.get(usize::from(id)).copied().filter(|column| *column != NO_COLUMN);
        let mut paths = Vec::new();
        node.paths(&mut paths);
        if let [only] = paths.as_slice()
            && let Some(dictionary) = column(*only).and_then(|column| fleet.columns.dictionary(column))
        {
            return Self::ByValue(Memo::new(dictionary), node);
        }
        if let Node::Binary(op, sides) = node {
            let number = |value: &Value| matches!(value, Value::Int(_) | Value::Double(_));
            let compared = match (&sides.0, &sides.1) {
                (Node::Path(id), Node::Const(value)) if number(value) => column(*id).map(|id| (id, Some(*op), value)),
                (Node::Const(value), Node::Path(id)) if number(value) => column(*id).map(|id| (id, op.turned(), value)),
                _ => None,
            };
            if let Some((column, Some(op), value)) = compared
                && op.turned().is_some()
            {
                return Self::Compare(column, op, value);
            }
        }
        Self::General(node)
    }

    /// Is it true, and not false or faulty?
    pub(super) fn holds(&self, scope: &RowScope<'_>) -> bool {
        let is_true = |node: &Node| matches!(eval(node, scope), Ok(Datum::Bool(true)));
        match self {
            Self::ByValue(memo, node) => memo.get(scope.row, || is_true(node)),
            Self::Compare(column, op, with) => match scope.fleet.columns.get(*column, scope.row) {
                Some(value) => match compare(&value.into(), &(*with).into()) {
                    Some(order) => op.allows(order),
                    // No order between them: unequal, and nothing else.
                    None => *op == Op::NotEqual,
                },
                None => false,
            },
            Self::General(node) => is_true(node),
        }
    }

    /// Cheaper than ranking a row?
    pub(super) const fn is_quick(&self) -> bool {
        !matches!(self, Self::General(_))
    }
}
