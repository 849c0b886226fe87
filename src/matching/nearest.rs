//! Why a class waits, in one line: found without the reasons of servers that matter less.

use super::error::shown;
use super::explain::Outlook;
use super::index::Fleet;
use super::query::Query;
use super::search::ResolvedQuery;
use crate::model::id::TaskId;
use crate::model::time::Timestamp;

impl Fleet {
    /// The reasons of the server that a waiting task may expect most of, and how many others there are. None: it fits on each.
    pub fn why_waits(&self, query: &Query, for_task: Option<TaskId>, now: Timestamp) -> Option<String> {
        let asked = ResolvedQuery::new(self, query, for_task);
        let unfit = (0..self.servers.len()).filter(|row| !asked.fits(*row));
        let unfit: Vec<(Outlook, usize)> = unfit.map(|row| (asked.outlook(row, false), row)).collect();
        let best = unfit.iter().map(|(outlook, _)| *outlook).min()?;
        let near = unfit.iter().filter(|(outlook, _)| *outlook == best).map(|(_, row)| *row);
        let (row, reasons) = near.map(|row| (row, asked.reasons(row, now))).min_by(|(a, of_a), (b, of_b)| {
            let fewer = of_a.len().cmp(&of_b.len());
            fewer.then_with(|| self.servers[*a].name.cmp(&self.servers[*b].name))
        })?;
        let reasons: Vec<String> = reasons.iter().map(|reason| shown(&reason.to_string())).collect();
        // Servers that the task itself does not want are none of its reasons, unless there are no others.
        let named_out = best == Outlook::NamedOut;
        let others = unfit.iter().filter(|(outlook, _)| (*outlook == Outlook::NamedOut) == named_out).count() - 1;
        let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
        Some(format!("{}: {}{more}", self.servers[row].name, reasons.join("; ")))
    }
}
