//! Attributes as all attribute databases handle them: reading `NAME=VALUE`, and built-in values beside open ones.

use super::OpsError;
use crate::model::attribute::{Attribute, Attributes, Source, Value, parse_assignments};
use crate::model::time::Timestamp;
use std::collections::BTreeMap;

/// Open attributes by name.
pub type Values = BTreeMap<Box<str>, Value>;

/// Reads `--set` assignments. `reserved`: names that can't be set this way, each with what sets them.
pub fn assignments(texts: &[String], reserved: &[(&str, &str)]) -> Result<Values, OpsError> {
    let values = parse_assignments(texts).map_err(|error| OpsError::Usage(format!("--set: {error}")))?;
    for (name, instead) in reserved {
        if values.contains_key(*name) {
            return Err(OpsError::Usage(format!("--set {name}: {name} is built in; {instead}")));
        }
    }
    Ok(values)
}

/// Adds a built-in value if there is one.
pub fn put(all: &mut Attributes, name: &str, value: Option<Value>, source: Source, read_at: Timestamp) {
    if let Some(value) = value {
        all.insert(name.into(), Attribute { value, source, read_at });
    }
}

/// A text as a value; None if it is empty.
pub fn text(value: Option<&str>) -> Option<Value> {
    value.filter(|text| !text.is_empty()).map(Value::from)
}

/// The error of an `unset` of a name that is not declared.
pub fn not_declared(kind: &str, of: &str, name: &str) -> OpsError {
    OpsError::Refused(format!(
        "{kind} {of}: {name:?} is not declared; `grid {kind} show {of}` shows what is, with its source"
    ))
}

/// The error of an `add` of a name that is taken.
pub fn taken(kind: &str, name: &str) -> OpsError {
    OpsError::Refused(format!("there is a {kind} {name} already; `grid {kind} set {name}` changes it"))
}
