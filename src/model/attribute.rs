//! Attributes: a name, a typed value, where it came from and when it was read.

use super::time::Timestamp;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A typed value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    List(Vec<Value>),
    Map(BTreeMap<Box<str>, Value>),
}

/// Attributes of servers that grid itself sets, or that only their owner may declare: no probe script sets them.
const BUILT_IN: [&str; 21] = [
    "name",
    "distributor",
    "engine",
    "cpus",
    "slots",
    "max_load",
    "accepts",
    "load1",
    "idle_cpus",
    "power",
    "mem_total",
    "mem_available",
    "disk_free",
    "gpus",
    "os",
    "arch",
    "kernel",
    "hostname",
    "boot_id",
    "apps",
    "app_version",
];

/// Is this the name of such an attribute?
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name) || name == super::server::SHARED_ACCOUNT
}

impl Value {
    /// The type of a declared value by its look: `90` int, `90.5` double, `true`/`false` bool, else text: `007`, and `3.10`, which
    /// as a number would be the version 3.1.
    pub fn of_text(text: &str) -> Self {
        match Self::printed(text) {
            Self::Double(double) if !reads_back(double, text) => Self::Text(text.into()),
            value => value,
        }
    }

    /// The same for what a script printed, where `45.20` is the number that `45.25` is a moment later.
    pub fn printed(text: &str) -> Self {
        match text {
            "true" => return Self::Bool(true),
            "false" => return Self::Bool(false),
            _ => {}
        }
        let digits = text.trim_start_matches(['+', '-']).as_bytes();
        let padded = matches!(digits, [b'0', second, ..] if second.is_ascii_digit());
        let number_like = !padded && text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        if number_like && let Ok(int) = text.parse::<i64>() {
            return Self::Int(int);
        }
        match text.parse::<f64>() {
            Ok(double) if number_like && double.is_finite() => Self::Double(double),
            _ => Self::Text(text.into()),
        }
    }

    /// A list of texts.
    pub fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(|t| Self::Text(t.as_ref().into())).collect())
    }

    /// The name of the type in messages.
    pub fn type_name(&self) -> &'static str {
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::Double(v) if v.fract() == 0.0 && v.abs() < 1e15 => write!(f, "{v:.1}"),
            Self::Double(v) => write!(f, "{v:.2}"),
            Self::Text(v) => f.write_str(v),
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Map(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}={value}", if at > 0 { "," } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// Written by hand: serde's untagged form copies the content once for each level of nested lists.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bool, a number, a text, a list or a map")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Value, E> {
        Ok(i64::try_from(v).map_or(Value::Double(v as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Double(v))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry()? {
            all.insert(name, value);
        }
        Ok(Value::Map(all))
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Self::Double(v)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.into())
    }
}

/// Is a number printed again as it was typed?
fn reads_back(number: f64, text: &str) -> bool {
    let text = text.strip_prefix('+').unwrap_or(text);
    number.to_string() == text || format!("{number:?}") == text
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Declared by a person; survives every refresh.
    Declared,
    /// Read on the host by an agent.
    Probed,
    /// Sent by another distributor or derived from other rows of this home.
    Reported,
}

impl Source {
    /// The word that the database and JSON use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Probed => "probed",
            Self::Reported => "reported",
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub value: Value,
    pub source: Source,
    pub read_at: Timestamp,
}

/// Attributes by name.
pub type Attributes = BTreeMap<Box<str>, Attribute>;

/// Why a text is no attribute assignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAttribute {
    #[error("{0:?}: write an attribute as NAME=VALUE")]
    NoEquals(String),
    #[error(
        "attribute name {0:?}: a letter or '_' first, then letters, digits and '_' (at most 63), so that expressions can name it"
    )]
    Name(String),
    #[error("attribute {name}: the value is longer than 4 KiB")]
    TooLong { name: String },
    #[error("attribute {name}: the value holds a control character")]
    Control { name: String },
}

/// Checks that a name can be used in expressions.
pub fn check_attribute_name(name: &str) -> Result<(), BadAttribute> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 63
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if good { Ok(()) } else { Err(BadAttribute::Name(name.to_owned())) }
}

/// Reads `NAME=VALUE` assignments; a name that is given several times becomes a list.
pub fn parse_assignments<T: AsRef<str>>(texts: &[T]) -> Result<BTreeMap<Box<str>, Value>, BadAttribute> {
    let mut all: BTreeMap<Box<str>, Vec<Value>> = BTreeMap::new();
    for text in texts {
        let text = text.as_ref();
        let (name, value) = text.split_once('=').ok_or_else(|| BadAttribute::NoEquals(text.to_owned()))?;
        check_attribute_name(name)?;
        if value.len() > 4096 {
            return Err(BadAttribute::TooLong { name: name.to_owned() });
        }
        if value.chars().any(char::is_control) {
            return Err(BadAttribute::Control { name: name.to_owned() });
        }
        all.entry(name.into()).or_default().push(Value::of_text(value));
    }
    Ok(all
        .into_iter()
        .map(|(name, mut values)| {
            let value = if values.len() == 1 { values.remove(0) } else { Value::List(values) };
            (name, value)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_values_take_the_type_they_look_like() {
        assert_eq!(Value::of_text("90"), Value::Int(90));
        assert_eq!(Value::of_text("90.5"), Value::Double(90.5));
        assert_eq!((Value::of_text("0"), Value::of_text("-0.5")), (Value::Int(0), Value::Double(-0.5)));
        assert_eq!(Value::of_text("true"), Value::Bool(true));
        for text in ["brno", "inf", "NaN", "1.2.3", "", "-", "007", "-01", "00", "01.5"] {
            assert_eq!(Value::of_text(text), Value::Text(text.into()));
            assert_eq!(Value::printed(text), Value::Text(text.into()));
        }
        // What a number could not give back: a version, a hash, a serial number.
        for text in ["3.10", "1234e56", "123456789012345678901"] {
            assert_eq!(Value::of_text(text), Value::Text(text.into()));
            assert!(matches!(Value::printed(text), Value::Double(_)), "{text}");
        }
        assert_eq!((Value::of_text("4.0"), Value::of_text("+2.5")), (Value::Double(4.0), Value::Double(2.5)));
    }

    #[test]
    fn repeating_a_name_makes_a_list() {
        let all = parse_assignments(&["disk=a", "disk=b", "rack=7"]).unwrap();
        assert_eq!(all["disk"], Value::texts(["a", "b"]));
        assert_eq!(all["rack"], Value::Int(7));
    }
}
