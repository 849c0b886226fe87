//! The best server for a task now.

use super::columns::ColumnId;
use super::conjunct::{Memo, Test};
use super::eval::{Scope, eval};
use super::fold::fold;
use super::index::{Fleet, NO_COLUMN, Place};
use super::query::{Folded, Query, QueryFacts};
use super::reason::Avoidance;
use super::score::Rank;
use super::tree::{AttributePath, Datum, Fault, Node, PathId};
use super::typos::Typos;
use crate::model::attribute::Value;
use crate::model::demand::{AppNeed, Target, Version};
use crate::model::id::{ServerId, TaskId};
use crate::model::name::Name;
use crate::model::server::{Engine, Server};
use std::cell::OnceCell;

/// The best server for a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pub place: Place,
    /// The preference that decided, else idle computing power; None where a preference gives no number.
    pub score: Option<f64>,
}

/// From so many servers with one `accepts` on, folding it for the task pays.
const SHARED: u32 = 4;

/// A query with its names looked up in one fleet.
pub(super) struct ResolvedQuery<'a> {
    pub fleet: &'a Fleet,
    pub query: &'a Query,
    pub for_task: Option<TaskId>,
    /// Servers that are left out.
    without: &'a [ServerId],
    /// Of those the ones that a waiting task is kept from, each with the reason.
    pub(super) avoided: &'a [(ServerId, Avoidance)],
    constraint: Option<BoundExpression<'a>>,
    user_constraint: Option<BoundExpression<'a>>,
    wall: Option<BoundExpression<'a>>,
    pub prefer: Option<BoundExpression<'a>>,
    pub user_prefer: Option<BoundExpression<'a>>,
    /// `accepts` of the fleet, folded for this task when first needed.
    accepts: Vec<OnceCell<Node>>,
    pub(super) typos: Typos,
    /// Does the fleet have a server that `-w` names? Looked up when first needed.
    has_named: OnceCell<bool>,
    apps: Option<ColumnId>,
    versions: Option<ColumnId>,
    /// For each application that is needed, what was found for each different list or map of versions.
    known: Vec<Option<Memo<'a>>>,
}

/// A folded expression with its columns.
pub(super) struct BoundExpression<'a> {
    pub folded: &'a Folded,
    pub columns: Vec<ColumnId>,
    tests: Vec<Test<'a>>,
}

/// One row of a fleet, as expressions see it.
pub(super) struct RowScope<'a> {
    pub fleet: &'a Fleet,
    pub columns: &'a [ColumnId],
    pub row: usize,
    pub paths: &'a [AttributePath],
    pub facts: &'a QueryFacts,
}

impl Scope for RowScope<'_> {
    fn get(&self, path: PathId) -> Result<Datum<'_>, Fault> {
        let at = usize::from(path);
        let value = match self.columns.get(at) {
            Some(&column) if column != NO_COLUMN => self.fleet.columns.get(column, self.row),
            _ => self.paths.get(at).and_then(|path| self.facts.get(path)),
        };
        value.map(Datum::from).ok_or(Fault::Absent(path))
    }
}

impl<'a> ResolvedQuery<'a> {
    pub(super) fn new(fleet: &'a Fleet, query: &'a Query, for_task: Option<TaskId>) -> Self {
        let bound = |folded: &'a Option<Folded>| {
            folded.as_ref().map(|folded| {
                let columns = fleet.bind(&folded.whole.paths);
                BoundExpression { folded, tests: Test::all(fleet, &folded.node, &columns), columns }
            })
        };
        let (apps, versions) = (fleet.columns.find("apps"), fleet.columns.find("app_version"));
        let known = query.demand.apps.iter().map(|need| {
            let column = if need.version.is_some() { versions } else { apps };
            column.and_then(|column| fleet.columns.dictionary(column)).map(Memo::new)
        });
        Self {
            fleet,
            query,
            for_task,
            without: &[],
            avoided: &[],
            constraint: bound(&query.constraint),
            user_constraint: bound(&query.user_constraint),
            wall: bound(&query.wall),
            prefer: bound(&query.prefer),
            user_prefer: bound(&query.user_prefer),
            accepts: fleet.accepts.iter().map(|_| OnceCell::new()).collect(),
            known: known.collect(),
            typos: Typos::default(),
            has_named: OnceCell::new(),
            apps,
            versions,
        }
    }

    /// The same, for a task that is kept from these servers.
    pub(super) fn avoiding(self, without: &'a [ServerId], avoided: &'a [(ServerId, Avoidance)]) -> Self {
        Self { without, avoided, ..self }
    }

    pub(super) fn value<'b>(&'b self, bound: &'b BoundExpression<'_>, row: usize) -> RowScope<'b> {
        RowScope {
            fleet: self.fleet,
            columns: &bound.columns,
            row,
            paths: &bound.folded.whole.paths,
            facts: &self.query.facts,
        }
    }

    fn holds(&self, bound: &Option<BoundExpression<'_>>, row: usize) -> bool {
        match bound {
            Some(bound) => {
                let scope = self.value(bound, row);
                bound.tests.iter().all(|test| test.holds(&scope))
            }
            None => true,
        }
    }

    /// Does the server take the task?
    pub(super) fn accepted(&self, row: usize) -> bool {
        let Some(at) = self.fleet.hot[row].accepts else { return true };
        let accepts = &self.fleet.accepts[at as usize];
        let Ok(expression) = &accepts.expression else { return false };
        let facts = &self.query.facts;
        let scope = RowScope { fleet: self.fleet, columns: &accepts.columns, row, paths: &expression.paths, facts };
        let node = match accepts.servers {
            0..SHARED => &expression.node,
            _ => self.accepts[at as usize].get_or_init(|| fold(&expression.node, &expression.paths, facts)),
        };
        matches!(eval(node, &scope), Ok(Datum::Bool(true)))
    }

    /// What task, user and home require.
    const fn required(&self) -> [&Option<BoundExpression<'a>>; 3] {
        [&self.constraint, &self.user_constraint, &self.wall]
    }

    /// Do the expressions of task, user, home and server hold?
    pub(super) fn expressions_hold(&self, row: usize) -> bool {
        self.required().into_iter().all(|bound| self.holds(bound, row)) && self.accepted(row)
    }

    /// Open, not kept for another, with room, load and applications.
    pub(super) fn takes(&self, row: usize) -> bool {
        let hot = &self.fleet.hot[row];
        hot.open
            && self.fleet.is_fresh(row)
            && hot.load_allows
            && hot.room.fits(self.query.needs())
            && self.fleet.kept_from(row, self.for_task).is_none()
            // A group has what the member has that runs the task.
            && (hot.group || self.has_apps(row))
    }

    fn has_apps(&self, row: usize) -> bool {
        self.query.demand.apps.iter().zip(&self.known).all(|(need, known)| match known {
            Some(memo) => memo.get(row, || self.has_app(row, need)),
            None => self.has_app(row, need),
        })
    }

    pub(super) fn has_app(&self, row: usize, need: &AppNeed) -> bool {
        let value = |column: Option<ColumnId>| column.and_then(|column| self.fleet.columns.get(column, row));
        match (&need.version, value(self.versions)) {
            (None, _) => resides(value(self.apps), &need.name),
            (Some((compare, wanted)), Some(Value::Map(versions))) => match versions.get(need.name.as_str()) {
                Some(Value::Text(found)) => compare.holds(&Version(found.clone()), wanted),
                _ => false,
            },
            _ => false,
        }
    }

    /// Can a task that is given to this row start now?
    pub(super) fn fits(&self, row: usize) -> bool {
        self.host(row).is_some() && self.targeted(row) && self.expressions_hold(row)
    }

    pub(super) fn targeted(&self, row: usize) -> bool {
        let server = &self.fleet.servers[row];
        !self.is_named_out(row) && !self.without.contains(&server.id)
    }

    /// Does the task itself name other servers?
    pub(super) fn is_named_out(&self, row: usize) -> bool {
        let server = &self.fleet.servers[row];
        let on = self.query.demand.on.as_ref();
        on.is_some_and(|target| !names(target, server)) || self.excludes(server)
    }

    /// The distributor of this server, if `-w` names a server that it does not have.
    pub(super) fn lacking(&self, wanted: &Target, server: &Server) -> Option<Name> {
        let own = wanted.distributor.as_ref().is_none_or(|named| *named == server.distributor_name);
        if !own || wanted.elsewhere {
            return None;
        }
        let has = self.has_named.get_or_init(|| self.fleet.servers.iter().any(|server| names(wanted, server)));
        (!has).then(|| server.distributor_name.clone())
    }

    fn excludes(&self, server: &Server) -> bool {
        self.query.demand.exclude.iter().any(|target| names(target, server))
    }

    /// Is the row one that the task excludes, or that is left out? Also as a member of a group.
    fn excluded(&self, row: usize) -> bool {
        let server = &self.fleet.servers[row];
        self.without.contains(&server.id) || self.excludes(server)
    }

    /// The rows where a task given to this row can run: the row itself, or the members of a group that fit.
    fn hosts(&self, row: usize) -> impl Iterator<Item = usize> {
        let takes = self.takes(row);
        let members: &[ServerId] = match &self.fleet.servers[row].engine {
            Engine::Group { members } if takes => members,
            _ => &[],
        };
        let fits = |at: &usize| !self.fleet.hot[*at].group && !self.excluded(*at) && self.takes(*at);
        let own = Some(row).filter(|_| takes && !self.fleet.hot[row].group);
        own.into_iter().chain(members.iter().filter_map(|id| self.fleet.row(*id)).filter(fits))
    }

    /// Where a task given to this row runs: the row itself, or the best member of a group. None if it does not fit.
    pub(super) fn host(&self, row: usize) -> Option<usize> {
        self.hosts(row).max_by(|a, b| self.placed(*a).total_cmp(&self.placed(*b)).then_with(|| self.by_name(*a, *b)))
    }

    /// How well a row is placed by the server policy; the higher the better.
    pub(super) fn placed(&self, row: usize) -> f64 {
        self.fleet.placement.placed(self.fleet.hot[row].idle_power)
    }

    /// Greater is the one that is first by name.
    pub(super) fn by_name(&self, a: usize, b: usize) -> std::cmp::Ordering {
        let key = |row: usize| {
            let server = &self.fleet.servers[row];
            (&server.name, &server.distributor_name, server.id)
        };
        key(b).cmp(&key(a))
    }
}

/// Is an application on the list?
pub(super) fn resides(apps: Option<&Value>, name: &Name) -> bool {
    match apps {
        Some(Value::List(apps)) => apps.iter().any(|app| matches!(app, Value::Text(text) if **text == *name.as_str())),
        // A single `--app` may have become a plain text on its way.
        Some(Value::Text(text)) => **text == *name.as_str(),
        _ => false,
    }
}

/// Does a target name this server?
pub(super) fn names(target: &Target, server: &Server) -> bool {
    !target.elsewhere
        && target.server == server.name
        && target.distributor.as_ref().is_none_or(|d| *d == server.distributor_name)
}

impl Fleet {
    /// The best server that can start a task of this class now. A server kept for another task than `for_task` is not.
    pub fn best(&self, query: &Query, for_task: Option<TaskId>) -> Option<Choice> {
        self.best_without(query, for_task, &[])
    }

    /// The same, with these servers left out, also as members of groups.
    pub fn best_without(&self, query: &Query, for_task: Option<TaskId>, without: &[ServerId]) -> Option<Choice> {
        let asked = ResolvedQuery { without, ..ResolvedQuery::new(self, query, for_task) };
        if asked.has_preferences() {
            return asked.best_of(self.row_order().chain(self.groups()));
        }
        // They stand in the order that counts: the first one that fits is the best, but for groups.
        let first =
            self.row_order().find(|row| asked.takes(*row) && asked.targeted(*row) && asked.expressions_hold(*row));
        asked.best_of(first.into_iter().chain(self.groups()))
    }

    /// Every place that can start a task of this class now: servers, and members of groups.
    pub fn places(&self, query: &Query, for_task: Option<TaskId>) -> Vec<Place> {
        let asked = ResolvedQuery::new(self, query, for_task);
        let rows = (0..self.servers.len()).filter(|row| asked.targeted(*row) && asked.expressions_hold(*row));
        let id = |row: usize| self.servers[row].id;
        rows.flat_map(|row| asked.hosts(row).map(move |host| Place { server: id(row), host: id(host) })).collect()
    }

    /// How many servers but these can start a task of this class now.
    pub fn fitting(&self, query: &Query, without: &[ServerId]) -> usize {
        let asked = ResolvedQuery { without, ..ResolvedQuery::new(self, query, None) };
        (0..self.servers.len()).filter(|row| asked.fits(*row)).count()
    }

    /// The best of these servers alone: what a waiting class is asked again for when only they changed.
    pub fn best_among<'s>(
        &self,
        query: &Query,
        for_task: Option<TaskId>,
        servers: impl IntoIterator<Item = &'s ServerId>,
    ) -> Option<Choice> {
        ResolvedQuery::new(self, query, for_task).best_of(servers.into_iter().filter_map(|id| self.row(*id)))
    }
}

impl ResolvedQuery<'_> {
    /// Does more than the server policy rank the servers?
    fn has_preferences(&self) -> bool {
        self.prefer.is_some() || self.user_prefer.is_some()
    }

    fn best_of(&self, rows: impl Iterator<Item = usize>) -> Option<Choice> {
        let mut best: Option<(usize, usize, Rank)> = None;
        // The cheaper question first: without preferences the rank is at hand, and few rows rank above the best so far.
        let slow =
            |bound: &Option<BoundExpression<'_>>| bound.as_ref().is_some_and(|b| !b.tests.iter().all(Test::is_quick));
        let quick = self.has_preferences() && !self.required().into_iter().any(slow);
        for row in rows {
            let Some(host) = self.host(row) else { continue };
            if !self.targeted(row) {
                continue;
            }
            if quick && !self.expressions_hold(row) {
                continue;
            }
            let rank = self.rank(row, host);
            let better = match &best {
                Some((other, _, best)) => rank.order(best).then_with(|| self.by_name(row, *other)).is_gt(),
                None => true,
            };
            if better && (quick || self.expressions_hold(row)) {
                best = Some((row, host, rank));
            }
        }
        best.map(|(row, host, rank)| Choice {
            place: Place { server: self.fleet.servers[row].id, host: self.fleet.servers[host].id },
            score: self.score(&rank),
        })
    }
}
