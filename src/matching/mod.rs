//! Does it fit, how well, and why not? Pure: facts in, verdict and reasons out.
//!
//! An expression passes `guard` (limits), is parsed by the `cel` crate and lowered by `lower` to a small typed tree that
//! `eval` walks. A `Query` is a class of tasks with its expressions folded to what depends on the server; a `Fleet` is the
//! servers of a distributor in columns. `search` finds the best, `explain` tells every server's verdict, `relax` what
//! smaller wish would match.

mod booked;
mod capacity;
mod circumstances;
mod columns;
mod comprehension;
mod conjunct;
mod error;
mod eval;
mod ever;
mod explain;
mod expression;
mod fold;
mod guard;
mod index;
mod looked_at;
mod lower;
mod mismatch;
mod nearest;
mod query;
mod reason;
mod relax;
mod row_order;
mod score;
mod search;
mod text_order;
mod tree;
mod types;
mod typos;

pub use error::{ExpressionError, ExpressionRole};
pub use explain::{Outlook, Verdict};
pub use expression::check;
pub use index::{Fleet, Place, Placement};
pub use query::Query;
pub use reason::{Avoidance, Reason};
pub use relax::{Relaxation, Relaxations, RelaxedPart, Waiting, When};
pub use search::Choice;
pub use text_order::remarks;

#[cfg(test)]
mod tests;
