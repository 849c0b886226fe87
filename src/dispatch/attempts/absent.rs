//! Notes which virtual environment of its submit an attempt runs without, because it is not on its server.

use crate::model::id::AttemptKey;
use crate::model::inherited::{PREFIXES, absent_words};
use crate::model::time::Timestamp;
use crate::store::{StoreError, Tx};

/// Notes the variables that an agent names, as a step of the task: once for all members on one server.
pub(in crate::dispatch) fn note_absent(
    tx: &Tx<'_>,
    key: AttemptKey,
    without: &[String],
    now: Timestamp,
) -> Result<(), StoreError> {
    if without.is_empty() {
        return Ok(());
    }
    let member = tx.member(key.task, key.index)?.filter(|member| member.number == key.number && member.is_live());
    let server = member.and_then(|member| member.host()).map(|host| tx.server_name(host)).transpose()?.flatten();
    let (Some(server), Some(launch)) = (server, tx.launch(key.task)?) else { return Ok(()) };
    // An agent may name anything: only what was sent to it counts.
    for name in PREFIXES.into_iter().filter(|name| without.iter().any(|absent| absent == name)) {
        if let Some(dir) = launch.env.get(name) {
            tx.trace_once(key.task, now, &absent_words(name, dir, &server))?;
        }
    }
    Ok(())
}
