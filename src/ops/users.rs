//! `grid user`: users with groups, share, preference and requirement.

use super::attributes::{Values, not_declared, put, taken, text};
use super::expressions::{ExpressionRole, check_some};
use super::report::DatabaseRow;
use super::{Grid, OpsError, settings};
use crate::model::attribute::{Source, Value};
use crate::model::name::Name;
use crate::model::settings::KEEP_OUTPUTS;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::store::attributes::Owner;
use crate::store::{Durability, View};

/// Attributes of a user that have an option of their own.
pub const RESERVED: [(&str, &str); 7] = [
    ("spool", "it is counted"),
    ("role", "use `grid user allow NAME --role ROLE`"),
    ("name", "a user keeps the name it was added with"),
    ("groups", "use --group NAME"),
    ("share", "use --share N"),
    ("prefer", "use --prefer EXPR"),
    ("constraint", "use --constraint EXPR"),
];

/// Changes of a user; None leaves a part as it is.
#[derive(Debug, Clone, Default)]
pub struct UserParts {
    /// Replaces the groups, if there are any here.
    pub groups: Vec<Name>,
    pub share: Option<u32>,
    pub prefer: Option<String>,
    pub constraint: Option<String>,
    pub attributes: Values,
}

impl UserParts {
    fn check(&self) -> Result<(), OpsError> {
        check_some(self.prefer.as_deref(), ExpressionRole::Preference)?;
        check_some(self.constraint.as_deref(), ExpressionRole::Constraint)
    }

    fn onto(&self, user: &mut User) {
        if !self.groups.is_empty() {
            user.groups.clone_from(&self.groups);
        }
        user.share = self.share.map_or(user.share, i64::from);
        user.prefer = self.prefer.clone().or(user.prefer.take());
        user.constraint = self.constraint.clone().or(user.constraint.take());
    }
}

/// Adds a user.
pub fn add(grid: &mut Grid, name: &Name, parts: &UserParts) -> Result<(), OpsError> {
    parts.check()?;
    let now = Timestamp::now();
    grid.store.write(Durability::Full, |tx| {
        if tx.user(name.as_str())?.is_some() {
            return Err(taken("user", name.as_str()));
        }
        tx.add_user(name, now)?;
        write(tx, find(tx, name.as_str())?, parts, now)
    })
}

/// Changes the named parts of a user.
pub fn set(grid: &mut Grid, name: &Name, parts: &UserParts) -> Result<(), OpsError> {
    parts.check()?;
    grid.store.write(Durability::Full, |tx| write(tx, find(tx, name.as_str())?, parts, Timestamp::now()))
}

fn write(tx: &crate::store::Tx<'_>, mut user: User, parts: &UserParts, now: Timestamp) -> Result<(), OpsError> {
    parts.onto(&mut user);
    tx.set_attributes(Owner::User(user.id.0), &parts.attributes, Source::Declared, now)?;
    Ok(tx.update_user(&user, now)?)
}

/// Removes declared attributes: all of them or none.
pub fn unset(grid: &mut Grid, name: &str, what: &[String]) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let mut user = find(tx, name)?;
        for word in what {
            let gone = match word.as_str() {
                "prefer" => user.prefer.take().is_some(),
                "constraint" => user.constraint.take().is_some(),
                "share" => std::mem::replace(&mut user.share, 1) != 1,
                "group" | "groups" => !std::mem::take(&mut user.groups).is_empty(),
                open => tx.unset_attribute(Owner::User(user.id.0), open)?,
            };
            if !gone {
                return Err(not_declared("user", name, word));
            }
        }
        Ok(tx.update_user(&user, Timestamp::now())?)
    })
}

/// Removes users that have no tasks.
pub fn remove(grid: &mut Grid, names: &[String]) -> Result<(), OpsError> {
    let me = grid.me.clone();
    grid.store.write(Durability::Full, |tx| {
        for name in names {
            let user = find(tx, name)?;
            if user.name == me {
                return Err(OpsError::Refused(format!("user {name} is the owner of this home and stays")));
            }
            if tx.user_has_tasks(user.id)? {
                return Err(OpsError::Refused(format!(
                    "user {name} has tasks in the database; `grid gc` removes old ones after `keep_rows`"
                )));
            }
            tx.remove_user(user.id)?;
        }
        Ok(())
    })
}

/// All users.
pub fn list(grid: &Grid) -> Result<Vec<DatabaseRow>, OpsError> {
    let view = grid.store.view();
    view.users()?.into_iter().map(|user| entry(&view, user)).collect()
}

/// One user.
pub fn show(grid: &Grid, name: &str) -> Result<DatabaseRow, OpsError> {
    let view = grid.store.view();
    let user = find(&view, name)?;
    let now = Timestamp::now();
    let kept = view.kept_for(user.id, now.minus(settings::read(&view, &KEEP_OUTPUTS)?))?.bytes;
    let mut entry = entry(&view, user)?;
    let kept = i64::try_from(kept.0).unwrap_or(i64::MAX);
    put(&mut entry.attributes, "spool", Some(Value::Int(kept)), Source::Reported, now);
    Ok(entry)
}

pub(super) fn find(view: &View<'_>, name: &str) -> Result<User, OpsError> {
    if let Some(user) = view.user(name)? {
        return Ok(user);
    }
    let known = view.users()?;
    Err(OpsError::unknown("user", name, known.iter().map(|u| u.name.as_str())))
}

fn entry(view: &View<'_>, user: User) -> Result<DatabaseRow, OpsError> {
    let at = view.user_declared_at(user.id)?;
    let mut attributes = user.attributes;
    let mut declared = |name, value| put(&mut attributes, name, value, Source::Declared, at);
    declared("groups", Some(Value::texts(&user.groups)));
    declared("share", Some(Value::Int(user.share)));
    declared("role", Some(Value::from(view.role(user.id)?.word())));
    declared("prefer", text(user.prefer.as_deref()));
    declared("constraint", text(user.constraint.as_deref()));
    Ok(DatabaseRow::plain(user.name.to_string(), "KNOWN", attributes))
}

/// The `authorized_keys` line by which a user logs in from another home. A role, if given, is set.
pub fn allow(
    grid: &mut Grid,
    name: &Name,
    role: Option<crate::model::user::Role>,
    vouch: bool,
) -> Result<String, OpsError> {
    grid.store.write(Durability::Full, |tx| {
        let user = find(tx, name.as_str())?;
        Ok::<_, OpsError>(role.map_or(Ok(()), |role| tx.set_role(user.id, role, Timestamp::now()))?)
    })?;
    let home = grid.store.home().dir().display().to_string();
    Ok(key_line(&home, name, vouch.then_some(name)))
}

/// A line for `~/.ssh/authorized_keys`, up to the key: a login with it is this user of this home and nothing else.
pub fn key_line(home: &str, user: &Name, vouch: Option<&Name>) -> String {
    let program = std::env::current_exe().map_or_else(|_| "grid".to_owned(), |path| path.display().to_string());
    let vouch = vouch.map_or_else(String::new, |front| format!(" --vouch {front}"));
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''").replace('"', "\\\""));
    format!(
        "restrict,command=\"{} serve --home {} --as {user}{vouch}\" ssh-ed25519 AAAA..THEIR-KEY",
        quoted(&program),
        quoted(home)
    )
}
