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
    /// Numbers and bools.
    Dense(Vec<Option<Value>>),
    /// Texts, lists and maps: many servers have few different ones.
    Coded(Dictionary),
}

/// Each different value once, and for each row the number of its value; 0 is none.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    codes: Vec<u32>,
    values: Vec<Option<Value>>,
    uses: Vec<u32>,
    free: Vec<u32>,
    by_key: HashMap<Box<str>, u32>,
}

impl Dictionary {
    /// The number of a row's value, at most `len`.
    pub(super) fn code(&self, row: usize) -> usize {
        self.codes.get(row).map_or(0, |code| *code as usize)
    }

    /// The highest number in use.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    fn get(&self, row: usize) -> Option<&Value> {
        self.values.get(self.code(row).checked_sub(1)?)?.as_ref()
    }

    fn set(&mut self, row: usize, value: Option<Value>) {
        let code = value.map_or(0, |value| self.encode(value));
        if self.codes.len() <= row {
            if code == 0 {
                return;
            }
            self.codes.resize(row + 1, 0);
        }
        let old = std::mem::replace(&mut self.codes[row], code);
        let Some(at) = (old as usize).checked_sub(1) else { return };
        self.uses[at] -= 1;
        if self.uses[at] == 0 {
            if let Some(value) = self.values[at].take() {
                self.by_key.remove(&*key(&value));
            }
            self.free.push(old);
        }
    }

    fn encode(&mut self, value: Value) -> u32 {
        let key = key(&value);
        if let Some(code) = self.by_key.get(&key) {
            self.uses[*code as usize - 1] += 1;
            return *code;
        }
        let code = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            self.uses.push(0);
            u32::try_from(self.values.len()).unwrap_or(u32::MAX)
        });
        self.values[code as usize - 1] = Some(value);
        self.uses[code as usize - 1] = 1;
        self.by_key.insert(key, code);
        code
    }
}

/// Different for values that differ in any way that an expression can see.
fn key(value: &Value) -> Box<str> {
    match value {
        Value::Text(text) => format!("t{text}").into(),
        other => format!("{other:?}").into(),
    }
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
            Cells::Coded(dictionary) => dictionary.get(row),
            Cells::Sparse(cells) => cells.get(&(row as u32)),
        }
    }

    /// The values of a column, some of them once for all rows that have them.
    pub(super) fn values(&self, column: ColumnId) -> Box<dyn Iterator<Item = &Value> + '_> {
        match self.all.get(column as usize) {
            Some(Cells::Dense(cells)) => Box::new(cells.iter().flatten()),
            Some(Cells::Coded(dictionary)) => Box::new(dictionary.values.iter().flatten()),
            Some(Cells::Sparse(cells)) => Box::new(cells.values()),
            None => Box::new(std::iter::empty()),
        }
    }

    /// The names of columns in which a row has a value.
    pub(super) fn in_use(&self) -> Vec<&str> {
        let used = self.ids.iter().filter(|(_, column)| self.values(**column).next().is_some());
        used.map(|(name, _)| &**name).collect()
    }

    /// The dictionary of a column that has one.
    pub(super) fn dictionary(&self, column: ColumnId) -> Option<&Dictionary> {
        match self.all.get(column as usize)? {
            Cells::Coded(dictionary) => Some(dictionary),
            _ => None,
        }
    }

    /// Sets or clears a value; `rows` is how many rows there are.
    pub(super) fn set(&mut self, column: ColumnId, row: usize, value: Option<Value>, rows: usize) {
        let Some(cells) = self.all.get_mut(column as usize) else { return };
        let plain = matches!(value, None | Some(Value::Int(_) | Value::Double(_) | Value::Bool(_)));
        match cells {
            Cells::Coded(dictionary) => dictionary.set(row, value),
            Cells::Dense(cells) if plain => {
                if cells.len() <= row {
                    cells.resize(row + 1, None);
                }
                cells[row] = value;
            }
            Cells::Dense(dense) => {
                let old = std::mem::take(dense);
                let mut dictionary = Dictionary::default();
                for (at, value) in old.into_iter().enumerate() {
                    dictionary.set(at, value);
                }
                dictionary.set(row, value);
                *cells = Cells::Coded(dictionary);
            }
            Cells::Sparse(sparse) => {
                match value {
                    Some(value) => drop(sparse.insert(row as u32, value)),
                    None => drop(sparse.remove(&(row as u32))),
                }
                if sparse.len() * 4 >= rows && !sparse.is_empty() {
                    self.thicken(column, rows);
                }
            }
        }
    }

    fn thicken(&mut self, column: ColumnId, rows: usize) {
        let old = std::mem::replace(&mut self.all[column as usize], Cells::Dense(Vec::new()));
        if let Cells::Sparse(sparse) = old {
            for (row, value) in sparse {
                self.set(column, row as usize, Some(value), rows);
            }
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
                Cells::Coded(dictionary) => dictionary.set(row, None),
                Cells::Sparse(cells) => drop(cells.remove(&(row as u32))),
            }
        }
    }
}
