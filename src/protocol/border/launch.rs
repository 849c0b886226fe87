//! Checks of a launch, the same for members from a client, a dispatcher and an agent.

use super::{Unacceptable, field};
use crate::model::bounds;
use crate::model::command::{ARGUMENT_MAX, Text};
use crate::model::inherited::{Inherited, VARIABLES_MAX};
use crate::model::task::Launch;
use crate::protocol::frame::FRAME_MAX;

/// Most patterns of `--fetch`.
const PATTERNS_MAX: usize = 10_000;

/// Checks that system calls, the database and clocks can handle a launch. The lengths of paths and inputs are checked where a task
/// is accepted: a fault here would cost more than that task.
pub(super) fn launch(launch: &Launch) -> Result<(), Unacceptable> {
    launch.command.check().map_err(|error| Unacceptable { field: "command", fault: error.to_string() })?;
    text("cwd", Some(&launch.cwd))?;
    text("home", launch.home.as_ref())?;
    text("stdout", launch.stdout.as_ref())?;
    text("stderr", launch.stderr.as_ref())?;
    variables("env", &launch.env.0)?;
    launch.time_limit.map_or(Ok(()), |limit| field("time_limit", bounds::length(limit)))?;
    if let Some(sent) = launch.workplace.sent() {
        field("workplace.size", bounds::counter(sent.size))?;
        field("workplace.files", bounds::counter(sent.files))?;
    }
    if let Some(fetch) = &launch.fetch {
        field("fetch.patterns", bounds::many(fetch.patterns.len(), PATTERNS_MAX))?;
        text("fetch.into", Some(&fetch.into))?;
    }
    Ok(())
}

/// Checks that a text has no NUL bytes.
pub(super) fn text(name: &'static str, text: Option<&Text>) -> Result<(), Unacceptable> {
    text.map_or(Ok(()), |text| field(name, bounds::bytes(text.as_bytes(), FRAME_MAX)))
}

/// Checks that `execve` accepts the variables: names without `=`, no NUL bytes.
pub(super) fn variables(name: &'static str, variables: &[(Text, Text)]) -> Result<(), Unacceptable> {
    field(name, bounds::many(variables.len(), VARIABLES_MAX))?;
    for (variable, value) in variables {
        field(name, bounds::bytes(variable.as_bytes(), ARGUMENT_MAX))?;
        field(name, bounds::bytes(value.as_bytes(), ARGUMENT_MAX))?;
        if variable.as_bytes().is_empty() || variable.as_bytes().contains(&b'=') {
            return Err(Unacceptable { field: name, fault: format!("{variable:?} is no name of a variable") });
        }
    }
    Ok(())
}

/// Checks what a task inherits: as many variables as a process may have, each as long as one may be.
pub(super) fn inherited(inherited: &Inherited) -> Result<(), Unacceptable> {
    let Some(block) = &inherited.variables else { return Ok(()) };
    field("inherited", bounds::many(block.iter().count(), VARIABLES_MAX))?;
    block.iter().try_for_each(|(_, value)| field("inherited", bounds::bytes(value, ARGUMENT_MAX)))
}
