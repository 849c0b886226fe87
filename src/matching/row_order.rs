//! The servers with a free slot, the best placed first: without a preference, the first one that fits is the best.

use crate::model::id::ServerId;
use crate::model::name::Name;
use crate::model::server::Server;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of a fleet in the order in which equals are taken.
#[derive(Debug, Default)]
pub(super) struct RowOrder {
    rows: BTreeMap<Position, usize>,
    of_row: Vec<Option<Position>>,
}

/// The position of a server: best placed first, equals by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    placed: Reverse<Number>,
    /// Its name and its distributor's.
    names: Arc<(Name, Name)>,
    id: ServerId,
}

#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl RowOrder {
    /// Sets how well the row's server is placed; the higher the better.
    pub(super) fn set(&mut self, row: usize, server: &Server, placed: f64) {
        let placed = Reverse(Number(placed));
        if self.of_row.get(row).is_some_and(|at| at.as_ref().is_some_and(|at| at.placed == placed)) {
            return;
        }
        let names = match self.leave(row) {
            Some(before) => before.names,
            None => Arc::new((server.name.clone(), server.distributor_name.clone())),
        };
        let position = Position { placed, names, id: server.id };
        self.rows.insert(position.clone(), row);
        if self.of_row.len() <= row {
            self.of_row.resize(row + 1, None);
        }
        self.of_row[row] = Some(position);
    }

    /// Removes a row that has no free slot any more, or is another server's.
    pub(super) fn clear(&mut self, row: usize) {
        self.leave(row);
    }

    fn leave(&mut self, row: usize) -> Option<Position> {
        let position = self.of_row.get_mut(row).and_then(Option::take)?;
        self.rows.remove(&position);
        Some(position)
    }

    /// All rows, the best placed first.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        self.rows.values().copied()
    }
}
