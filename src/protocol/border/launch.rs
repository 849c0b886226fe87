//! What a supervisor is to carry out: the same for members that come from a client, from a dispatcher, and from an agent.

use super::{Unacceptable, field};
use crate::model::bounds;
use crate::model::command::{ARGUMENT_MAX, Text};
use crate::model::task::Launch;
use crate::protocol::frame::FRAME_MAX;

/// The most environment variables.
const VARIABLES_MAX: usize = 10_000;
/// The most patterns of `--fetch`.
const PATTERNS_MAX: usize = 10_000;

/// Nothing in it that the system's calls, the database or a clock can't take. How long a path or an input of a task may be is for
/// whoever takes the task in: here it would cost more than that task.
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

/// Without NUL bytes.
pub(super) fn text(name: &'static str, text: Option<&Text>) -> Result<(), Unacceptable> {
    text.map_or(Ok(()), |text| field(name, bounds::bytes(text.as_bytes(), FRAME_MAX)))
}

/// Variables that `execve` takes: a name without `=`, no NUL bytes.
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
