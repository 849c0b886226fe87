//! A named set of task attributes: `grid task add render --cpus 4 --app blender`.

use super::attribute::Value;
use super::demand::AppNeed;
use super::inherited::EnvironmentChoice;
use super::max_output::MaxOutput;
use super::name::Name;
use super::resources::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The settings of a profile; absent ones are left to the submit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem: Option<Bytes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppNeed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<MaxOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentChoice>,
    /// Variables, as `--env` takes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Open attributes: `task.NAME` in expressions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Box<str>, Value>,
}

/// A profile row.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub name: Name,
    pub settings: ProfileSettings,
}
