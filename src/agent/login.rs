//! The environment of a login on this host: the base of each task's environment, and the whole environment of a supervisor.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

/// HOME, USER, LOGNAME, SHELL from the password database; PATH, LANG and TZ as this agent was given them.
/// An agent that `logged_in` was given all of them by the login itself.
pub fn environment(logged_in: bool) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = Vec::new();
    if logged_in {
        all.extend(LOGIN.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))));
    }
    if let Some(entry) = passwd_entry() {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let fields: Vec<&[u8]> = entry.split(|b| *b == b':').collect();
        if let [name, _, _, _, _, home, shell, ..] = fields[..] {
            let shell = if shell.is_empty() { b"/bin/sh" } else { shell };
            for (key, value) in [("USER", name), ("LOGNAME", name), ("HOME", home), ("SHELL", shell)] {
                if !all.iter().any(|(known, _)| known == key) {
                    all.push((key.into(), text(value)));
                }
            }
        }
    }
    for name in LOGIN.iter().chain(&["PATH", "LANG", "TZ"]) {
        if let Some(value) = std::env::var_os(name)
            && !all.iter().any(|(known, _)| known == *name)
        {
            all.push((name.into(), value));
        }
    }
    // Tests set failpoints of supervisors by variables.
    #[cfg(feature = "failpoints")]
    all.extend(std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("GRID_FAILPOINT") || name.starts_with("GRID_TEST_")
    }));
    all
}

/// What a login sets for an account.
const LOGIN: [&str; 4] = ["USER", "LOGNAME", "HOME", "SHELL"];

/// This user's line of /etc/passwd, or of another database of names.
fn passwd_entry() -> Option<Vec<u8>> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let mine = |line: &&[u8]| line.split(|b| *b == b':').nth(2) == Some(uid.as_bytes());
    let file = std::fs::read("/etc/passwd").unwrap_or_default();
    if let Some(line) = file.split(|b| *b == b'\n').find(mine) {
        return Some(line.to_vec());
    }
    let output = Command::new("getent").args(["passwd", &uid]).output().ok()?;
    output.stdout.split(|b| *b == b'\n').find(mine).map(<[u8]>::to_vec)
}
