//! `grid task`: profiles, the named sets of task attributes.

use super::attributes::{not_declared, put, taken, text};
use super::expressions::{ExpressionRole, check_some};
use super::report::DatabaseRow;
use super::{Grid, OpsError};
use crate::model::attribute::{Attributes, Source, Value};
use crate::model::name::Name;
use crate::model::profile::{Profile, ProfileSettings};
use crate::model::time::{Timestamp, clock};
use crate::store::{Durability, View};
use std::time::Duration;

/// Attributes of a task that have an option of their own.
pub const RESERVED: [(&str, &str); 15] = [
    ("cpus", "use --cpus N"),
    ("mem", "use --mem SIZE"),
    ("gpus", "GPUs are not supported yet"),
    ("apps", "use --app NAME"),
    ("time", "use --time TIME"),
    ("max_output", "use --max-output SIZE[,kill]"),
    ("constraint", "use --constraint EXPR"),
    ("prefer", "use --prefer EXPR"),
    ("priority", "use --priority N"),
    ("retries", "use --retries N"),
    ("env", "use --env NAME[=VALUE]"),
    ("environment", "use --env-all or --env-none"),
    ("name", "use `submit --name`"),
    ("profile", "it is the profile's own name"),
    ("labels", "write --set NAME=VALUE for each label"),
];

fn check(settings: &ProfileSettings) -> Result<(), OpsError> {
    check_some(settings.constraint.as_deref(), ExpressionRole::Constraint)?;
    check_some(settings.prefer.as_deref(), ExpressionRole::Preference)
}

/// Adds a profile.
pub fn add(grid: &mut Grid, name: &Name, settings: ProfileSettings) -> Result<(), OpsError> {
    check(&settings)?;
    if name.as_str().bytes().all(|b| b.is_ascii_digit()) {
        return Err(OpsError::Usage(format!("profile {name}: a name of digits alone means a task; add a letter")));
    }
    grid.store.write(Durability::Full, |tx| {
        if tx.profile(name.as_str())?.is_some() {
            return Err(taken("task", name.as_str()));
        }
        Ok(tx.put_profile(&Profile { name: name.clone(), settings }, Timestamp::now())?)
    })
}

/// Changes the named parts of a profile. Tasks keep what they were submitted with.
pub fn set(grid: &mut Grid, name: &Name, new: ProfileSettings) -> Result<(), OpsError> {
    check(&new)?;
    grid.store.write(Durability::Full, |tx| {
        let Profile { name, settings: old } = find(tx, name.as_str())?;
        let mut labels = old.labels;
        labels.extend(new.labels);
        let settings = ProfileSettings {
            cpus: new.cpus.or(old.cpus),
            mem: new.mem.or(old.mem),
            apps: if new.apps.is_empty() { old.apps } else { new.apps },
            time_limit_ms: new.time_limit_ms.or(old.time_limit_ms),
            max_output: new.max_output.or(old.max_output),
            constraint: new.constraint.or(old.constraint),
            prefer: new.prefer.or(old.prefer),
            priority: new.priority.or(old.priority),
            retries: new.retries.or(old.retries),
            environment: new.environment.or(old.environment),
            env: if new.env.is_empty() { old.env } else { new.env },
            labels,
        };
        Ok(tx.put_profile(&Profile { name, settings }, Timestamp::now())?)
    })
}

/// Removes attributes: all of them or none.
pub fn unset(grid: &mut Grid, name: &str, what: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let mut profile = find(tx, name)?;
        let settings = &mut profile.settings;
        for word in what {
            let gone = match word.as_str() {
                "cpus" => settings.cpus.take().is_some(),
                "mem" => settings.mem.take().is_some(),
                "app" | "apps" => !std::mem::take(&mut settings.apps).is_empty(),
                "time" => settings.time_limit_ms.take().is_some(),
                "max_output" | "max-output" => settings.max_output.take().is_some(),
                "constraint" => settings.constraint.take().is_some(),
                "prefer" => settings.prefer.take().is_some(),
                "priority" => settings.priority.take().is_some(),
                "retries" => settings.retries.take().is_some(),
                "env" => !std::mem::take(&mut settings.env).is_empty(),
                "environment" | "env-all" | "env-none" => settings.environment.take().is_some(),
                label => settings.labels.remove(label).is_some(),
            };
            if !gone {
                return Err(not_declared("task", name, word));
            }
        }
        Ok(tx.put_profile(&profile, Timestamp::now())?)
    })
}

/// Removes profiles; tasks keep what they were submitted with.
pub fn remove(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        for name in names {
            // Removal is the remedy for a profile that can't be read.
            let gone = name.parse().ok().map(|name| tx.remove_profile(&name)).transpose()?;
            if gone != Some(true) {
                find(tx, name)?;
            }
        }
        Ok(())
    })
}

/// All profiles.
pub fn list(grid: &Grid) -> Result<Vec<DatabaseRow>, OpsError> {
    let view = grid.store.view();
    view.profiles()?.into_iter().map(|profile| entry(&view, profile)).collect()
}

/// One profile.
pub fn show(grid: &Grid, name: &str) -> Result<DatabaseRow, OpsError> {
    let view = grid.store.view();
    entry(&view, find(&view, name)?)
}

/// A profile by name, else an error with similar names.
pub(super) fn find(view: &View<'_>, name: &str) -> Result<Profile, OpsError> {
    if let Some(profile) = view.profile(name)? {
        return Ok(profile);
    }
    let known = view.profiles()?;
    Err(OpsError::unknown("profile", name, known.iter().map(|p| p.name.as_str())))
}

fn entry(view: &View<'_>, profile: Profile) -> Result<DatabaseRow, OpsError> {
    let at = view.profile_declared_at(&profile.name)?;
    let ProfileSettings {
        cpus,
        mem,
        apps,
        time_limit_ms,
        max_output,
        constraint,
        prefer,
        priority,
        retries,
        environment,
        env,
        labels,
    } = profile.settings;
    let mut all = Attributes::new();
    let mut declared = |name: &str, value| put(&mut all, name, value, Source::Declared, at);
    for (name, value) in labels {
        declared(&name, Some(value));
    }
    declared("cpus", cpus.map(|n| Value::Int(n.into())));
    declared("mem", mem.map(|m| Value::Int(i64::try_from(m.0).unwrap_or(i64::MAX))));
    declared("apps", (!apps.is_empty()).then(|| Value::texts(apps.iter().map(ToString::to_string))));
    declared("time", time_limit_ms.map(|ms| Value::Text(clock(Duration::from_millis(ms)).into())));
    declared("max_output", max_output.map(|bound| Value::Text(bound.to_string().into())));
    declared("constraint", text(constraint.as_deref()));
    declared("prefer", text(prefer.as_deref()));
    declared("priority", priority.map(|n| Value::Int(n.into())));
    declared("retries", retries.map(|n| Value::Int(n.into())));
    declared("environment", environment.map(|choice| Value::from(choice.shown())));
    // Values may be secrets.
    let names = env.iter().map(|wish| wish.split('=').next().unwrap_or_default().to_owned());
    declared("env", (!env.is_empty()).then(|| Value::texts(names)));
    Ok(DatabaseRow::plain(profile.name.to_string(), "KNOWN", all))
}
