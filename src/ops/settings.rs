//! `grid config`: the settings of a home, by their names.

use super::report::{Refreshed, Setting};
use super::{Grid, OpsError, refresh};
use crate::model::server::Health;
use crate::model::settings::{ALL, AnyKey, PROBE_SCRIPT, SSH_COMMAND, SettingKey, WATCH};
use crate::store::{Durability, View};

/// The text of a setting, or its default.
pub fn text<T>(view: &View<'_>, key: &SettingKey<T>) -> Result<String, OpsError> {
    Ok(view.setting(key.name)?.unwrap_or_else(|| key.default.to_owned()))
}

/// The value of a setting; a text that can't be read is an error.
pub fn read<T>(view: &View<'_>, key: &SettingKey<T>) -> Result<T, OpsError> {
    Ok(key.read(view.setting(key.name)?.as_deref())?)
}

/// All settings.
pub fn list(grid: &Grid) -> Result<Vec<Setting>, OpsError> {
    ALL.into_iter().map(|key| report(grid, key)).collect()
}

/// One setting.
pub fn get(grid: &Grid, name: &str) -> Result<Setting, OpsError> {
    report(grid, find(name)?)
}

/// Changes a setting, once its text is understood. Gives the servers that were probed again for it.
pub fn set(grid: &mut Grid, name: &str, value: &str) -> Result<Vec<Refreshed>, OpsError> {
    let key = find(name)?;
    key.check(value)?;
    put(grid, key, Some(value))
}

/// Returns to the default. Gives the servers that were probed again for it.
pub fn unset(grid: &mut Grid, name: &str) -> Result<Vec<Refreshed>, OpsError> {
    put(grid, find(name)?, None)
}

fn put(grid: &mut Grid, key: &dyn AnyKey, value: Option<&str>) -> Result<Vec<Refreshed>, OpsError> {
    grid.store.write(Durability::Full, |tx| {
        tx.set_setting(key.name(), value)?;
        if key.name() == SSH_COMMAND.name {
            tx.home_ssh_changed(value.is_some())?;
        }
        Ok::<_, OpsError>(())
    })?;
    if ![WATCH.name, PROBE_SCRIPT.name].contains(&key.name()) {
        return Ok(Vec::new());
    }
    // What is looked for is known when it has been looked for. Servers that are not there are probed when they are.
    let up = grid.store.view().servers()?.into_iter().filter(|server| server.health == Health::Up);
    let names: Vec<String> = up.map(|server| server.name.to_string()).collect();
    if names.is_empty() { Ok(Vec::new()) } else { refresh::refresh(grid, &names) }
}

fn find(name: &str) -> Result<&'static dyn AnyKey, OpsError> {
    let found = ALL.into_iter().find(|key| key.name() == name.replace('-', "_"));
    found.ok_or_else(|| match OpsError::unknown("setting", name, ALL.iter().map(|key| key.name())) {
        OpsError::Unknown { kind, name, hint } if hint.is_empty() => {
            OpsError::Unknown { kind, name, hint: "; `grid config list` shows them".to_owned() }
        }
        near => near,
    })
}

fn report(grid: &Grid, key: &dyn AnyKey) -> Result<Setting, OpsError> {
    let view = grid.store.view();
    let set = view.setting(key.name())?;
    let default = if key.name() == SSH_COMMAND.name { view.home_ssh(None)?.0 } else { key.default().to_owned() };
    Ok(Setting {
        name: key.name(),
        set: set.is_some(),
        value: set.unwrap_or(default),
        default: key.default().to_owned(),
        about: key.help(),
    })
}
