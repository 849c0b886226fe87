//! What an expression becomes: a small typed tree that is evaluated without allocating.

use crate::model::attribute::Value;
use regex::Regex;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Whose attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum AttributeRoot {
    Server,
    Task,
    User,
    Client,
}

impl AttributeRoot {
    pub(super) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "server" => Self::Server,
            "task" => Self::Task,
            "user" => Self::User,
            "client" => Self::Client,
            _ => return None,
        })
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Task => "task",
            Self::User => "user",
            Self::Client => "client",
        }
    }
}

/// `server.site`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttributePath {
    pub root: AttributeRoot,
    pub name: Box<str>,
}

/// A number that names one of the expression's paths.
pub(super) type PathId = u16;

/// One node.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Const(Value),
    Path(PathId),
    /// Known not to be set; what a folded path of task, user or client may become.
    Absent(PathId),
    /// The variable of the one comprehension.
    Item,
    Field(Box<Self>, Box<str>),
    Has(PathId),
    HasField(Box<Self>, Box<str>),
    At(Box<(Self, Self)>),
    Not(Box<Self>),
    Minus(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Binary(Op, Box<(Self, Self)>),
    /// A comparison of two versions, each a text or a number.
    Versions(Op, Box<(Self, Self)>),
    If(Box<(Self, Self, Self)>),
    Call(Function, Vec<Self>),
    Matches(Box<Self>, Regex),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Each(Box<Each>),
}

impl Node {
    /// Adds the paths that the tree reads, each once, in order.
    pub(super) fn paths(&self, ids: &mut Vec<PathId>) {
        match self {
            Self::Path(id) | Self::Absent(id) | Self::Has(id) if !ids.contains(id) => ids.push(*id),
            node => node.each_part(&mut |part| part.paths(ids)),
        }
    }

    /// Calls for each node right below this one, in order.
    pub(super) fn each_part(&self, call: &mut dyn FnMut(&Self)) {
        match self {
            Self::Const(_) | Self::Item | Self::Path(_) | Self::Absent(_) | Self::Has(_) => {}
            Self::Field(of, _) | Self::HasField(of, _) | Self::Not(of) | Self::Minus(of) | Self::Matches(of, _) => {
                call(of);
            }
            Self::At(both) | Self::Binary(_, both) | Self::Versions(_, both) => {
                [&both.0, &both.1].into_iter().for_each(call);
            }
            Self::If(parts) => [&parts.0, &parts.1, &parts.2].into_iter().for_each(call),
            Self::All(nodes) | Self::Any(nodes) | Self::Call(_, nodes) | Self::List(nodes) => {
                nodes.iter().for_each(call);
            }
            Self::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).for_each(call),
            Self::Each(each) => [&each.range].into_iter().chain(&each.guard).chain([&each.body]).for_each(call),
        }
    }
}

/// `range.exists(x, body)` and its like.
#[derive(Debug, Clone)]
pub(super) struct Each {
    pub kind: EachKind,
    pub range: Node,
    /// `filter`, and `map` with three arguments.
    pub guard: Option<Node>,
    pub body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EachKind {
    Exists,
    All,
    ExistsOne,
    Collect,
}

/// An operator with two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Op {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::More => ">",
            Self::MoreOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Op {
    /// The operator with its sides changed; None for those that do not compare.
    pub(super) const fn turned(self) -> Option<Self> {
        Some(match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::More,
            Self::LessOrEqual => Self::MoreOrEqual,
            Self::More => Self::Less,
            Self::MoreOrEqual => Self::LessOrEqual,
            _ => return None,
        })
    }

    /// Does a comparison hold for sides in this order?
    pub(super) const fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::More => order.is_gt(),
            Self::MoreOrEqual => order.is_ge(),
            _ => false,
        }
    }
}

/// A function of one or two arguments; `x.f(y)` is `f(x, y)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    Int,
    Double,
    Text,
}

impl Function {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
        }
    }
}

/// A value while it is computed: borrowed from the attributes where it can be.
#[derive(Debug, Clone)]
pub(super) enum Datum<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    List(Cow<'a, [Value]>),
    Map(Cow<'a, BTreeMap<Box<str>, Value>>),
}

impl<'a> From<&'a Value> for Datum<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Bool(v) => Self::Bool(*v),
            Value::Int(v) => Self::Int(*v),
            Value::Double(v) => Self::Double(*v),
            Value::Text(v) => Self::Text(Cow::Borrowed(v)),
            Value::List(v) => Self::List(Cow::Borrowed(v)),
            Value::Map(v) => Self::Map(Cow::Borrowed(v)),
        }
    }
}

impl Datum<'_> {
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Double(v) => Value::Double(v),
            Self::Text(v) => Value::Text(v.into()),
            Self::List(v) => Value::List(v.into_owned()),
            Self::Map(v) => Value::Map(v.into_owned()),
        }
    }

    /// The same value, borrowed from this one.
    pub(super) fn again(&self) -> Datum<'_> {
        match self {
            Self::Bool(v) => Datum::Bool(*v),
            Self::Int(v) => Datum::Int(*v),
            Self::Double(v) => Datum::Double(*v),
            Self::Text(v) => Datum::Text(Cow::Borrowed(v)),
            Self::List(v) => Datum::List(Cow::Borrowed(v)),
            Self::Map(v) => Datum::Map(Cow::Borrowed(v)),
        }
    }

    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Text(_) => "text",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }
}

/// Why there is no value. Copied about in the inner loop, so it owns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// An attribute that is not set.
    Absent(PathId),
    /// A value that changes: asked for in "could this ever match?".
    Volatile,
    /// An operator or function on types that it does not take.
    Types(&'static str, &'static str, &'static str),
    NoKey,
    NoElement,
    ByZero,
    TooLarge,
    NoNumber,
}

impl Fault {
    /// In words; `paths` are those of the expression.
    pub(super) fn words(self, paths: &[AttributePath]) -> String {
        match self {
            Self::Absent(id) => match paths.get(usize::from(id)) {
                Some(path) => format!("{}.{} is not set", path.root.word(), path.name),
                None => "an attribute is not set".into(),
            },
            Self::Volatile => "it depends on what changes".into(),
            Self::Types(op, left, "") => format!("{op} does not take a {left}"),
            Self::Types(op, left, right) => format!("{op} does not take a {left} and a {right}"),
            Self::NoKey => "the map has no such key".into(),
            Self::NoElement => "the list has no such element".into(),
            Self::ByZero => "division by zero".into(),
            Self::TooLarge => "the number is too large".into(),
            Self::NoNumber => "the text is no number".into(),
        }
    }
}
