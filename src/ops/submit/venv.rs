//! The note of a submit on its virtual environment: on another host it counts only if it exists there, which only a start shows.

use crate::model::command::Environment;
use crate::model::id::TaskId;
use crate::model::inherited::PREFIXES;
use crate::model::server::Engine;
use crate::store::{StoreError, View};
use std::collections::BTreeSet;

/// The note on a task that was placed on servers over ssh, or in another home. A task that waits has none: where it starts, `grid show`
/// says what was not there.
pub(super) fn note(view: &View<'_>, task: TaskId, env: &Environment) -> Result<Option<String>, StoreError> {
    let dirs = PREFIXES.iter().filter_map(|name| Some((name, env.get(name).filter(|dir| !dir.as_bytes().is_empty())?)));
    let dirs: Vec<String> = dirs.map(|(name, dir)| format!("{} ({name})", dir.lossy())).collect();
    if dirs.is_empty() {
        return Ok(None);
    }
    let Some(place) = elsewhere(view, task)? else { return Ok(None) };
    let (is, it) = if dirs.len() == 1 { ("is", "it is") } else { ("are", "they are") };
    let dirs = dirs.join(" and ");
    Ok(Some(format!("{dirs} {is} used {place} only if {it} there; if not, `grid show {task}` says so")))
}

/// The place of a task outside of this host.
fn elsewhere(view: &View<'_>, task: TaskId) -> Result<Option<String>, StoreError> {
    if view.away(task)?.is_some() {
        return Ok(view.task(task)?.map(|row| format!("in {}", row.holder())));
    }
    let hosts: BTreeSet<_> = view.live_of(task)?.into_iter().map(|live| live.host).collect();
    let mut names = BTreeSet::new();
    for host in hosts {
        names
            .extend(view.server_by_id(host)?.filter(|server| server.engine != Engine::Local).map(|server| server.name));
    }
    let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
    Ok(names.first().map(|first| format!("on {first}{more}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ssh::SshTarget;
    use crate::model::time::Timestamp;
    use crate::ops::fixture::{self, name};
    use crate::store::Durability;

    #[test]
    fn virtual_environment_is_doubted_only_of_a_task_on_another_host() {
        let (_dir, mut grid) = fixture::grid();
        let env = Environment(vec![("VIRTUAL_ENV".into(), "/home/me/venv".into()), ("CONDA_PREFIX".into(), "".into())]);
        let task = |grid: &mut _| fixture::add_task(grid, fixture::draft());
        let (waits, here, there) = (task(&mut grid), task(&mut grid), task(&mut grid));
        fixture::start(&mut grid, here);
        let server = grid.store.write::<_, StoreError>(Durability::Normal, |tx| {
            let target = SshTarget::new("h1", vec![], None).unwrap();
            let tier2 = tx.distributor("tier2")?.unwrap().id;
            tx.add_server(&name("s1"), tier2, &Engine::Ssh(target), Timestamp::now())
        });
        fixture::start_on(&mut grid, there, server.unwrap());
        let view = grid.store.view();
        for task in [waits, here] {
            assert_eq!(note(&view, task, &env).unwrap(), None);
        }
        assert_eq!(note(&view, there, &Environment::default()).unwrap(), None);
        let said = format!(
            "/home/me/venv (VIRTUAL_ENV) is used on s1 only if it is there; if not, `grid show {there}` says so"
        );
        assert_eq!(note(&view, there, &env).unwrap(), Some(said));
    }
}
