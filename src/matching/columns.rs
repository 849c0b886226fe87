//! Attributes of many servers, by name: one column for each name, so that an expression walks through memory in order.

use crate::model::attribute::Value;
use std::collections::HashMap;

/// The number of a column; they are never taken away.
pub(super) type ColumnId = u32;

/// One attribute of all servers.
#[derive(Debug)]
enum Cells {
    /// Few servers have it: ten thousand servers with names of their own must not take a square of memory.
    Sparse(HashMap<u32, Value>),
    Dense(Vec<Option<Value>>),
}

/// All columns.
#[derive(Debug, Default)]
pub(super) struct Columns {
    ids: HashMap<Box<str>, ColumnId>,
    all: Vec<Cells>,
}

impl Columns {
    /// The column of a name, if any server ever had it.
    pub(super) fn find(&self, name: &str) -> Option<ColumnId> {
        self.ids.get(name).copied()
    }

    /// The column of a name; made if there is none.
    pub(super) fn intern(&mut self, name: &str) -> ColumnId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.ids.insert(name.into(), id);
        self.all.push(Cells::Sparse(HashMap::new()));
        id
    }

    /// A value of a row.
    pub(super) fn get(&self, column: ColumnId, row: usize) -> Option<&Value> {
        match self.all.get(column as usize)? {
            Cells::Dense(cells) => cells.get(row)?.as_ref(),
            Cells::Sparse(cells) => cells.get(&(row as u32)),
        }
    }

    /// Sets or clears a value; `rows` is how many rows there are.
    pub(super) fn set(&mut self, column: ColumnId, row: usize, value: Option<Value>, rows: usize) {
        let Some(cells) = self.all.get_mut(column as usize) else { return };
        match (cells, value) {
            (Cells::Dense(cells), value) => {
                if cells.len() <= row {
                    cells.resize(row + 1, None);
                }
                cells[row] = value;
            }
            (Cells::Sparse(cells), None) => {
                cells.remove(&(row as u32));
            }
            (Cells::Sparse(cells), Some(value)) => {
                cells.insert(row as u32, value);
                if cells.len() * 4 >= rows {
                    self.thicken(column, rows);
                }
            }
        }
    }

    fn thicken(&mut self, column: ColumnId, rows: usize) {
        let cells = &mut self.all[column as usize];
        if let Cells::Sparse(sparse) = cells {
            let mut dense = vec![None; rows];
            for (row, value) in sparse.drain() {
                if let Some(cell) = dense.get_mut(row as usize) {
                    *cell = Some(value);
                }
            }
            *cells = Cells::Dense(dense);
        }
    }

    /// Clears a row.
    pub(super) fn clear(&mut self, row: usize) {
        for cells in &mut self.all {
            match cells {
                Cells::Dense(cells) => {
                    if let Some(cell) = cells.get_mut(row) {
                        *cell = None;
                    }
                }
                Cells::Sparse(cells) => {
                    cells.remove(&(row as u32));
                }
            }
        }
    }
}
