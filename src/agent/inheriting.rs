//! `grid inherit`: takes on the attributes of a submitter, then becomes the command. A child can't be given limits by its parent
//! before it begins, and a supervisor can't take on the limits of one task for itself.

use super::launch::Unexecutable;
use crate::model::process_attributes::ProcessAttributes;
use rustix::io::Errno;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A command for a program that is to begin with these attributes; its arguments are added by the caller.
pub fn command(attributes: &ProcessAttributes, file: &Path, name: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("grid").arg("inherit").arg(serde_json::to_string(attributes).unwrap_or_default()).arg(file).arg(name);
    command
}

/// Becomes the program of these words: attributes, file, name, arguments. Returns only if it can't be executed.
pub fn become_program(words: &[OsString]) -> Result<Infallible, Unexecutable> {
    let wrong = || Unexecutable { code: 126, error: "inherit: attributes, file, name, arguments".to_owned() };
    let [attributes, file, name, arguments @ ..] = words else { return Err(wrong()) };
    let attributes = attributes.to_str().and_then(|text| serde_json::from_str::<ProcessAttributes>(text).ok());
    attributes.ok_or_else(wrong)?.take_on();
    let error = Command::new(file).arg0(name).args(arguments).exec();
    if Errno::from_io_error(&error) != Some(Errno::NOEXEC) {
        return Err(Unexecutable::of(file.as_ref(), &error));
    }
    // A script without `#!`: shells hand it to sh.
    let error = Command::new("/bin/sh").arg(file).args(arguments).exec();
    Err(Unexecutable::of(file.as_ref(), &error))
}
