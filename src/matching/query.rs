//! A class of tasks made ready: its expressions compiled, all that does not depend on a server folded to constants.

use super::error::{ExpressionError, ExpressionRole};
use super::expression::Expression;
use super::fold::fold;
use super::tree::{AttributePath, AttributeRoot, Node};
use crate::model::attribute::{Attributes, Value};
use crate::model::client::Client;
use crate::model::demand::Demand;
use crate::model::resources::Needs;
use crate::model::server::SHARED_ACCOUNT;
use crate::model::user::User;
use std::collections::BTreeMap;

/// What expressions see of task, user and client.
#[derive(Debug, Clone, Default)]
pub(super) struct QueryFacts {
    task: BTreeMap<Box<str>, Value>,
    user: BTreeMap<Box<str>, Value>,
    client: BTreeMap<Box<str>, Value>,
}

impl QueryFacts {
    fn new(demand: &Demand, user: &User, client: &Client, told: bool) -> Self {
        let mut of_user = declared(&user.attributes);
        of_user.insert("name".into(), user.name.as_str().into());
        of_user.insert("groups".into(), Value::texts(&user.groups));
        of_user.insert("share".into(), Value::Int(user.share));
        let mut of_client = if told { demand.client.clone() } else { BTreeMap::new() };
        of_client.extend(declared(&client.attributes));
        for (name, text) in [("host", &client.host), ("user", &client.user), ("os", &client.os), ("arch", &client.arch)]
        {
            of_client.insert(name.into(), text.as_str().into());
        }
        Self { task: of_task(demand), user: of_user, client: of_client }
    }

    /// The value of a path that is not a server's.
    pub(super) fn get(&self, path: &AttributePath) -> Option<&Value> {
        match path.root {
            AttributeRoot::Server => None,
            AttributeRoot::Task => self.task.get(&path.name),
            AttributeRoot::User => self.user.get(&path.name),
            AttributeRoot::Client => self.client.get(&path.name),
        }
    }
}

impl QueryFacts {
    /// The names of what is set of a task, user or client.
    pub(super) fn names(&self, root: AttributeRoot) -> Vec<&str> {
        let of = match root {
            AttributeRoot::Server => return Vec::new(),
            AttributeRoot::Task => &self.task,
            AttributeRoot::User => &self.user,
            AttributeRoot::Client => &self.client,
        };
        of.keys().map(|name| &**name).collect()
    }
}

/// Built-in names stand above labels of the same name.
fn of_task(demand: &Demand) -> BTreeMap<Box<str>, Value> {
    let int = |v: u64| Value::Int(i64::try_from(v).unwrap_or(i64::MAX));
    let mut task = demand.labels.clone();
    task.insert("labels".into(), Value::Map(demand.labels.clone()));
    task.insert("cpus".into(), int(demand.needs.cpus.into()));
    // Memory that is not asked for is none: 0, not unset.
    task.insert("mem".into(), int(demand.needs.mem.map_or(0, |mem| mem.0)));
    task.insert("gpus".into(), Value::Int(0));
    task.insert("apps".into(), Value::texts(demand.apps.iter().map(|app| app.name.as_str())));
    task.insert("priority".into(), Value::Int(demand.priority.into()));
    for (name, text) in [("name", demand.name.as_deref()), ("profile", demand.profile.as_ref().map(|p| p.as_str()))] {
        match text {
            Some(text) => task.insert(name.into(), text.into()),
            None => task.remove(name),
        };
    }
    task
}

fn declared(attributes: &Attributes) -> BTreeMap<Box<str>, Value> {
    attributes.iter().map(|(name, attribute)| (name.clone(), attribute.value.clone())).collect()
}

/// An expression with the tree that is left when task, user and client are known.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    pub whole: Expression,
    pub node: Node,
}

impl Folded {
    fn new(text: Option<&str>, role: ExpressionRole, facts: &QueryFacts) -> Result<Option<Self>, ExpressionError> {
        text.map(|text| Expression::compile(text, role).map(|whole| Self::of(whole, facts))).transpose()
    }

    pub(super) fn of(whole: Expression, facts: &QueryFacts) -> Self {
        let node = fold(&whole.node, &whole.paths, facts);
        Self { whole, node }
    }
}

/// A class of tasks made ready: demand, user and client with their expressions compiled. Made once for a class, asked often.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) demand: Demand,
    /// What this home's requirements see.
    pub(super) facts: QueryFacts,
    /// What the task's own expressions see, if they see more: what a client says of itself lifts no requirement of the home.
    own: Option<QueryFacts>,
    pub(super) constraint: Option<Folded>,
    pub(super) prefer: Option<Folded>,
    pub(super) user_constraint: Option<Folded>,
    /// What the home requires of tasks of others.
    pub(super) wall: Option<Folded>,
    pub(super) user_prefer: Option<Folded>,
}

impl Query {
    /// Compiles the expressions of a demand and its user; refuses what no receiver would take.
    pub fn new(demand: &Demand, user: &User, client: &Client) -> Result<Self, ExpressionError> {
        let trusted = !demand.shared_account;
        let facts = QueryFacts::new(demand, user, client, trusted);
        let more = !trusted && !demand.client.is_empty();
        let own = more.then(|| QueryFacts::new(demand, user, client, true));
        let seen = own.as_ref().unwrap_or(&facts);
        let wall = demand.shared_account.then(|| format!("server.{SHARED_ACCOUNT} == true"));
        Ok(Self {
            constraint: Folded::new(demand.constraint.as_deref(), ExpressionRole::Constraint, seen)?,
            prefer: Folded::new(demand.prefer.as_deref(), ExpressionRole::Preference, seen)?,
            user_constraint: Folded::new(user.constraint.as_deref(), ExpressionRole::Constraint, &facts)?,
            wall: Folded::new(wall.as_deref(), ExpressionRole::Constraint, &facts)?,
            user_prefer: Folded::new(user.prefer.as_deref(), ExpressionRole::Preference, &facts)?,
            demand: demand.clone(),
            facts,
            own,
        })
    }

    /// The query of a demand that was changed in place, with expressions that were left out or kept.
    pub(super) fn again(mut self) -> Self {
        for facts in [Some(&mut self.facts), self.own.as_mut()].into_iter().flatten() {
            facts.task = of_task(&self.demand);
        }
        let seen = self.own.as_ref().unwrap_or(&self.facts);
        // The wall looks at nothing but servers.
        let all = [
            (&mut self.constraint, seen),
            (&mut self.prefer, seen),
            (&mut self.user_constraint, &self.facts),
            (&mut self.user_prefer, &self.facts),
        ];
        for (folded, facts) in all {
            if let Some(folded) = folded {
                folded.node = fold(&folded.whole.node, &folded.whole.paths, facts);
            }
        }
        self
    }

    /// Does it need applications?
    pub const fn wants_apps(&self) -> bool {
        !self.demand.apps.is_empty()
    }

    /// What the task's own expressions see.
    pub(super) fn own_facts(&self) -> &QueryFacts {
        self.own.as_ref().unwrap_or(&self.facts)
    }

    /// What one member of the class takes from its server.
    pub const fn needs(&self) -> Needs {
        self.demand.needs
    }
}
