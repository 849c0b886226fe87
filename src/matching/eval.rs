//! Evaluates a tree. Total: every fault is a value, nothing panics, nothing runs longer than the tree and its lists are long.

use super::tree::{Datum, Each, EachKind, Fault, Function, Node, Op, PathId};
use crate::model::attribute::Value;
use crate::model::demand::Version;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Where the values of paths come from.
pub(super) trait Scope {
    /// The value of a path, `Fault::Absent` or `Fault::Volatile`.
    fn get(&self, path: PathId) -> Result<Datum<'_>, Fault>;
}

type EvalResult<'a> = Result<Datum<'a>, Fault>;

/// The value of a tree.
pub(super) fn eval<'a, S: Scope>(node: &'a Node, scope: &'a S) -> EvalResult<'a> {
    walk(node, scope, None)
}

fn walk<'a, S: Scope>(node: &'a Node, scope: &'a S, item: Option<&'a Datum<'a>>) -> EvalResult<'a> {
    match node {
        Node::Const(value) => Ok(value.into()),
        Node::Path(id) => scope.get(*id),
        Node::Absent(id) => Err(Fault::Absent(*id)),
        Node::Item => item.map(Datum::again).ok_or(Fault::NoElement),
        Node::Field(of, name) => field(walk(of, scope, item)?, name),
        Node::Has(id) => match scope.get(*id) {
            Ok(_) => Ok(Datum::Bool(true)),
            Err(Fault::Absent(_)) => Ok(Datum::Bool(false)),
            Err(fault) => Err(fault),
        },
        Node::HasField(of, name) => match walk(of, scope, item)? {
            Datum::Map(map) => Ok(Datum::Bool(map.contains_key(&**name))),
            other => Err(Fault::Types("has()", other.type_name(), "")),
        },
        Node::At(both) => index(walk(&both.0, scope, item)?, &walk(&both.1, scope, item)?),
        Node::Not(of) => match walk(of, scope, item)? {
            Datum::Bool(v) => Ok(Datum::Bool(!v)),
            other => Err(Fault::Types("!", other.type_name(), "")),
        },
        Node::Minus(of) => match walk(of, scope, item)? {
            Datum::Int(v) => v.checked_neg().map(Datum::Int).ok_or(Fault::TooLarge),
            Datum::Double(v) => Ok(Datum::Double(-v)),
            other => Err(Fault::Types("-", other.type_name(), "")),
        },
        Node::All(parts) => decide(parts.iter().map(|p| walk(p, scope, item)), false),
        Node::Any(parts) => decide(parts.iter().map(|p| walk(p, scope, item)), true),
        Node::Binary(op, sides) => binary(*op, walk(&sides.0, scope, item)?, walk(&sides.1, scope, item)?),
        Node::Versions(op, sides) => versions(*op, &walk(&sides.0, scope, item)?, &walk(&sides.1, scope, item)?),
        Node::If(parts) => match walk(&parts.0, scope, item)? {
            Datum::Bool(true) => walk(&parts.1, scope, item),
            Datum::Bool(false) => walk(&parts.2, scope, item),
            other => Err(Fault::Types("?:", other.type_name(), "")),
        },
        Node::Call(function, args) => match args.as_slice() {
            [one] => call_one(*function, walk(one, scope, item)?),
            [one, two] => call_two(*function, &walk(one, scope, item)?, &walk(two, scope, item)?),
            _ => Err(Fault::Types(function.word(), "nothing", "")),
        },
        Node::Matches(of, regex) => match walk(of, scope, item)? {
            Datum::Text(text) => Ok(Datum::Bool(regex.is_match(&text))),
            other => Err(Fault::Types("matches", other.type_name(), "text")),
        },
        Node::List(items) => {
            let values: Result<Vec<Value>, Fault> =
                items.iter().map(|i| walk(i, scope, item).map(Datum::into_value)).collect();
            Ok(Datum::List(Cow::Owned(values?)))
        }
        Node::Map(entries) => {
            let mut map = BTreeMap::new();
            for (key, value) in entries {
                let Datum::Text(key) = walk(key, scope, item)? else { return Err(Fault::NoKey) };
                map.insert(key.into(), walk(value, scope, item)?.into_value());
            }
            Ok(Datum::Map(Cow::Owned(map)))
        }
        Node::Each(each) => comprehension(each, scope, item),
    }
}

/// `&&` (decided by false) and `||` (decided by true) over any number of parts: the deciding value beats every fault.
fn decide<'a, 'b>(parts: impl Iterator<Item = EvalResult<'b>>, deciding: bool) -> EvalResult<'a> {
    let mut fault = None;
    for part in parts {
        let new = match part {
            Ok(Datum::Bool(v)) if v == deciding => return Ok(Datum::Bool(deciding)),
            Ok(Datum::Bool(_)) => continue,
            Ok(other) => Fault::Types(if deciding { "||" } else { "&&" }, other.type_name(), ""),
            Err(fault) => fault,
        };
        // What is volatile might still decide, so it outranks what is merely wrong.
        if fault.is_none() || new == Fault::Volatile {
            fault = Some(new);
        }
    }
    fault.map_or(Ok(Datum::Bool(!deciding)), Err)
}

fn field<'a>(of: Datum<'a>, name: &str) -> EvalResult<'a> {
    match of {
        Datum::Map(Cow::Borrowed(map)) => map.get(name).map(Datum::from).ok_or(Fault::NoKey),
        Datum::Map(Cow::Owned(mut map)) => map.remove(name).map(owned).ok_or(Fault::NoKey),
        other => Err(Fault::Types(".", other.type_name(), "")),
    }
}

fn index<'a>(of: Datum<'a>, key: &Datum<'_>) -> EvalResult<'a> {
    match (of, key) {
        (of @ Datum::Map(_), Datum::Text(key)) => field(of, key),
        (Datum::Map(_), _) => Err(Fault::NoKey),
        (Datum::List(list), key) => {
            let at = match key {
                Datum::Int(at) => usize::try_from(*at).ok(),
                // A whole double indexes like an int.
                Datum::Double(at) if at.fract() == 0.0 && (0.0..1e9).contains(at) => Some(*at as usize),
                Datum::Double(_) => None,
                other => return Err(Fault::Types("[]", "list", other.type_name())),
            };
            let at = at.ok_or(Fault::NoElement)?;
            match list {
                Cow::Borrowed(list) => list.get(at).map(Datum::from).ok_or(Fault::NoElement),
                Cow::Owned(mut list) if at < list.len() => Ok(owned(list.swap_remove(at))),
                Cow::Owned(_) => Err(Fault::NoElement),
            }
        }
        (of, key) => Err(Fault::Types("[]", of.type_name(), key.type_name())),
    }
}

/// A value that nothing else holds.
fn owned<'a>(value: Value) -> Datum<'a> {
    match value {
        Value::Bool(v) => Datum::Bool(v),
        Value::Int(v) => Datum::Int(v),
        Value::Double(v) => Datum::Double(v),
        Value::Text(v) => Datum::Text(Cow::Owned(v.into())),
        Value::List(v) => Datum::List(Cow::Owned(v)),
        Value::Map(v) => Datum::Map(Cow::Owned(v)),
    }
}

/// Two values in order, where they have one; int and double mix.
pub(super) fn compare(left: &Datum<'_>, right: &Datum<'_>) -> Option<Ordering> {
    match (left, right) {
        (Datum::Bool(a), Datum::Bool(b)) => Some(a.cmp(b)),
        (Datum::Int(a), Datum::Int(b)) => Some(a.cmp(b)),
        (Datum::Double(a), Datum::Double(b)) => a.partial_cmp(b),
        (Datum::Int(a), Datum::Double(b)) => (*a as f64).partial_cmp(b),
        (Datum::Double(a), Datum::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Are two values equal? Values of different kinds are not; int and double mix.
pub(super) fn same(left: &Datum<'_>, right: &Datum<'_>) -> bool {
    match (left, right) {
        (Datum::List(a), Datum::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(&a.into(), &b.into()))
        }
        (Datum::Map(a), Datum::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(&a.into(), &b.into())))
        }
        _ => compare(left, right) == Some(Ordering::Equal),
    }
}

fn binary<'a>(op: Op, left: Datum<'a>, right: Datum<'a>) -> EvalResult<'a> {
    let order = |test: fn(Ordering) -> bool| match compare(&left, &right) {
        Some(order) => Ok(Datum::Bool(test(order))),
        None => Err(Fault::Types(op.sign(), left.type_name(), right.type_name())),
    };
    match op {
        Op::Equal => Ok(Datum::Bool(same(&left, &right))),
        Op::NotEqual => Ok(Datum::Bool(!same(&left, &right))),
        Op::Less => order(Ordering::is_lt),
        Op::LessOrEqual => order(Ordering::is_le),
        Op::More => order(Ordering::is_gt),
        Op::MoreOrEqual => order(Ordering::is_ge),
        Op::In => match (&left, &right) {
            (item, Datum::List(list)) => Ok(Datum::Bool(list.iter().any(|other| same(item, &other.into())))),
            (Datum::Text(key), Datum::Map(map)) => Ok(Datum::Bool(map.contains_key(&**key))),
            // The keys are texts, so no number or bool is one; what could never be a key is a mistake.
            (Datum::Int(_) | Datum::Bool(_) | Datum::Double(_), Datum::Map(_)) => Ok(Datum::Bool(false)),
            _ => Err(Fault::Types("in", left.type_name(), right.type_name())),
        },
        _ => arithmetic(op, left, right),
    }
}

/// Two versions in order. A number is the version that it is written as.
fn versions<'a>(op: Op, left: &Datum<'_>, right: &Datum<'_>) -> EvalResult<'a> {
    match (version(left), version(right)) {
        (Some(left), Some(right)) => Ok(Datum::Bool(op.allows(left.cmp_parts(&right)))),
        (None, _) => Err(Fault::Types("version()", left.type_name(), "")),
        (_, None) => Err(Fault::Types("version()", right.type_name(), "")),
    }
}

fn version(of: &Datum<'_>) -> Option<Version> {
    let text = match of {
        Datum::Text(text) => text.clone().into(),
        Datum::Int(number) => number.to_string().into(),
        Datum::Double(number) => number.to_string().into(),
        _ => return None,
    };
    Some(Version(text))
}

fn arithmetic<'a>(op: Op, left: Datum<'a>, right: Datum<'a>) -> EvalResult<'a> {
    let doubles = match (left, right) {
        (Datum::Int(a), Datum::Int(b)) => {
            let result = match op {
                Op::Add => a.checked_add(b),
                Op::Subtract => a.checked_sub(b),
                Op::Multiply => a.checked_mul(b),
                Op::Divide | Op::Remainder if b == 0 => return Err(Fault::ByZero),
                Op::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            return result.map(Datum::Int).ok_or(Fault::TooLarge);
        }
        (Datum::Double(a), Datum::Double(b)) => (a, b),
        (Datum::Int(a), Datum::Double(b)) => (a as f64, b),
        (Datum::Double(a), Datum::Int(b)) => (a, b as f64),
        (Datum::Text(a), Datum::Text(b)) if op == Op::Add => return Ok(Datum::Text(a + b)),
        (Datum::List(a), Datum::List(b)) if op == Op::Add => {
            return Ok(Datum::List(Cow::Owned([a, b].concat())));
        }
        (left, right) => return Err(Fault::Types(op.sign(), left.type_name(), right.type_name())),
    };
    let (a, b) = doubles;
    Ok(Datum::Double(match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::Multiply => a * b,
        Op::Divide => a / b,
        _ => return Err(Fault::Types(op.sign(), "double", "double")),
    }))
}

fn call_one<'a>(function: Function, of: Datum<'a>) -> EvalResult<'a> {
    let length = |n: usize| Ok(Datum::Int(i64::try_from(n).unwrap_or(i64::MAX)));
    match (function, of) {
        (Function::Size, Datum::Text(text)) => length(text.chars().count()),
        (Function::Size, Datum::List(list)) => length(list.len()),
        (Function::Size, Datum::Map(map)) => length(map.len()),
        (Function::Int, Datum::Int(v)) => Ok(Datum::Int(v)),
        // -2^63 and 2^63 are doubles exactly; what lies strictly between has an int.
        (Function::Int, Datum::Double(v)) if v > i64::MIN as f64 && v < i64::MAX as f64 => Ok(Datum::Int(v as i64)),
        (Function::Int, Datum::Double(_)) => Err(Fault::TooLarge),
        (Function::Int, Datum::Text(text)) => text.parse().map(Datum::Int).map_err(|_| Fault::NoNumber),
        (Function::Double, Datum::Int(v)) => Ok(Datum::Double(v as f64)),
        (Function::Double, Datum::Double(v)) => Ok(Datum::Double(v)),
        (Function::Double, Datum::Text(text)) => text.parse().map(Datum::Double).map_err(|_| Fault::NoNumber),
        (Function::Text, text @ Datum::Text(_)) => Ok(text),
        (Function::Text, Datum::Bool(v)) => Ok(Datum::Text(Cow::Owned(v.to_string()))),
        (Function::Text, Datum::Int(v)) => Ok(Datum::Text(Cow::Owned(v.to_string()))),
        (Function::Text, Datum::Double(v)) => Ok(Datum::Text(Cow::Owned(v.to_string()))),
        (_, other) => Err(Fault::Types(function.word(), other.type_name(), "")),
    }
}

fn call_two<'a>(function: Function, of: &Datum<'_>, with: &Datum<'_>) -> EvalResult<'a> {
    match (function, of, with) {
        (Function::StartsWith, Datum::Text(a), Datum::Text(b)) => Ok(Datum::Bool(a.starts_with(&**b))),
        (Function::EndsWith, Datum::Text(a), Datum::Text(b)) => Ok(Datum::Bool(a.ends_with(&**b))),
        (Function::Contains, Datum::Text(a), Datum::Text(b)) => Ok(Datum::Bool(a.contains(&**b))),
        _ => Err(Fault::Types(function.word(), of.type_name(), with.type_name())),
    }
}

fn comprehension<'a, S: Scope>(each: &'a Each, scope: &'a S, item: Option<&'a Datum<'a>>) -> EvalResult<'a> {
    let range = walk(&each.range, scope, item)?;
    match &range {
        Datum::List(list) => over(each, scope, list.iter().map(Datum::from)),
        Datum::Map(map) => over(each, scope, map.keys().map(|key| Datum::Text(Cow::Borrowed(key)))),
        other => Err(Fault::Types("a comprehension", other.type_name(), "")),
    }
}

fn over<'a, 'i, S: Scope>(each: &Each, scope: &S, mut items: impl Iterator<Item = Datum<'i>>) -> EvalResult<'a> {
    match each.kind {
        EachKind::Exists | EachKind::All => {
            let deciding = each.kind == EachKind::Exists;
            let verdict = |item: Datum<'i>| match walk(&each.body, scope, Some(&item)) {
                Ok(Datum::Bool(v)) => Ok(Datum::Bool(v)),
                Ok(other) => Err(Fault::Types(if deciding { "||" } else { "&&" }, other.type_name(), "")),
                Err(fault) => Err(fault),
            };
            decide(items.map(verdict), deciding)
        }
        EachKind::ExistsOne => {
            let mut count = 0u32;
            for item in items {
                count += u32::from(truth(walk(&each.body, scope, Some(&item))?)?);
            }
            Ok(Datum::Bool(count == 1))
        }
        EachKind::Collect => {
            let mut out = Vec::new();
            items.try_for_each(|item| {
                let wanted = match &each.guard {
                    Some(guard) => truth(walk(guard, scope, Some(&item))?)?,
                    None => true,
                };
                if wanted {
                    out.push(walk(&each.body, scope, Some(&item))?.into_value());
                }
                Ok(())
            })?;
            Ok(Datum::List(Cow::Owned(out)))
        }
    }
}

fn truth(of: Datum<'_>) -> Result<bool, Fault> {
    match of {
        Datum::Bool(v) => Ok(v),
        other => Err(Fault::Types("?:", other.type_name(), "")),
    }
}
