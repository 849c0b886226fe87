//! A class of tasks made ready: its expressions compiled, all that does not depend on a server folded to constants.

use super::error::{ExpressionError, Role};
use super::eval::{Scope, eval};
use super::expression::Expression;
use super::tree::{Datum, Each, Fault, Node, Path, PathId, Root};
use crate::model::attribute::{Attributes, Value};
use crate::model::client::Client;
use crate::model::demand::Demand;
use crate::model::resources::Needs;
use crate::model::user::User;
use std::collections::BTreeMap;

/// What expressions see of task, user and client.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    task: BTreeMap<Box<str>, Value>,
    user: BTreeMap<Box<str>, Value>,
    client: BTreeMap<Box<str>, Value>,
}

impl Facts {
    fn new(demand: &Demand, user: &User, client: &Client) -> Self {
        let mut of_user = declared(&user.attributes);
        of_user.insert("name".into(), user.name.as_str().into());
        of_user.insert("groups".into(), Value::texts(&user.groups));
        of_user.insert("share".into(), Value::Int(user.share));
        let mut of_client = declared(&client.attributes);
        for (name, text) in [("host", &client.host), ("user", &client.user), ("os", &client.os), ("arch", &client.arch)]
        {
            of_client.insert(name.into(), text.as_str().into());
        }
        Self { task: of_task(demand), user: of_user, client: of_client }
    }

    /// The value of a path that is not a server's.
    pub(super) fn get(&self, path: &Path) -> Option<&Value> {
        match path.root {
            Root::Server => None,
            Root::Task => self.task.get(&path.name),
            Root::User => self.user.get(&path.name),
            Root::Client => self.client.get(&path.name),
        }
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
    fn new(text: Option<&str>, role: Role, facts: &Facts) -> Result<Option<Self>, ExpressionError> {
        text.map(|text| Expression::compile(text, role).map(|whole| Self::of(whole, facts))).transpose()
    }

    pub(super) fn of(whole: Expression, facts: &Facts) -> Self {
        let node = fold(&whole.node, &whole.paths, facts);
        Self { whole, node }
    }
}

/// A class of tasks made ready: demand, user and client with their expressions compiled. Made once for a class, asked often.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) demand: Demand,
    pub(super) facts: Facts,
    pub(super) constraint: Option<Folded>,
    pub(super) prefer: Option<Folded>,
    pub(super) user_constraint: Option<Folded>,
    pub(super) user_prefer: Option<Folded>,
}

impl Query {
    /// Compiles the expressions of a demand and its user; refuses what no receiver would take.
    pub fn new(demand: &Demand, user: &User, client: &Client) -> Result<Self, ExpressionError> {
        let facts = Facts::new(demand, user, client);
        Ok(Self {
            constraint: Folded::new(demand.constraint.as_deref(), Role::Constraint, &facts)?,
            prefer: Folded::new(demand.prefer.as_deref(), Role::Preference, &facts)?,
            user_constraint: Folded::new(user.constraint.as_deref(), Role::Constraint, &facts)?,
            user_prefer: Folded::new(user.prefer.as_deref(), Role::Preference, &facts)?,
            demand: demand.clone(),
            facts,
        })
    }

    /// The query of a demand that was changed in place, with expressions that were left out or kept.
    pub(super) fn again(mut self) -> Self {
        self.facts.task = of_task(&self.demand);
        let all = [&mut self.constraint, &mut self.prefer, &mut self.user_constraint, &mut self.user_prefer];
        for folded in all.into_iter().flatten() {
            folded.node = fold(&folded.whole.node, &folded.whole.paths, &self.facts);
        }
        self
    }

    /// What one member of the class takes from its server.
    pub const fn needs(&self) -> Needs {
        self.demand.needs
    }
}

/// Nothing is known of the server while folding.
struct NoServer;

impl Scope for NoServer {
    fn get(&self, _: PathId) -> Result<Datum<'_>, Fault> {
        Err(Fault::Volatile)
    }
}

/// Replaces what does not depend on the server by its value.
pub(super) fn fold(node: &Node, paths: &[Path], facts: &Facts) -> Node {
    let again = |node: &Node| fold(node, paths, facts);
    let boxed = |node: &Node| Box::new(again(node));
    let known = |id: PathId| paths.get(usize::from(id)).filter(|path| path.root != Root::Server);
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
        Node::Const(_) | Node::Absent(_) | Node::Path(_) | Node::Has(_) => false,
        Node::Field(of, _) | Node::HasField(of, _) | Node::Not(of) | Node::Minus(of) | Node::Matches(of, _) => {
            holds_item(of)
        }
        Node::At(both) | Node::Binary(_, both) => holds_item(&both.0) || holds_item(&both.1),
        Node::If(parts) => holds_item(&parts.0) || holds_item(&parts.1) || holds_item(&parts.2),
        Node::All(nodes) | Node::Any(nodes) | Node::Call(_, nodes) | Node::List(nodes) => nodes.iter().any(holds_item),
        Node::Map(entries) => entries.iter().any(|(key, value)| holds_item(key) || holds_item(value)),
        // Comprehensions do not nest.
        Node::Each(each) => holds_item(&each.range),
    }
}
