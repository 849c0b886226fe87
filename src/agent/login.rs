//! The environment of a login on this host: the base of each task's environment, and the whole environment of a supervisor.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

/// HOME, USER, LOGNAME, SHELL; PATH, LANG and TZ. An agent that `logged_in` was given all of them by the login itself. The one on
/// the home's own host was started by any shell, or by cron: it takes them from the password database and the system's files.
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
    for name in LOGIN {
        if let Some(value) = std::env::var_os(name)
            && !all.iter().any(|(known, _)| known == name)
        {
            all.push((name.into(), value));
        }
    }
    let system = if logged_in { Vec::new() } else { system_variables() };
    for name in SYSTEM {
        let given = if logged_in { std::env::var_os(name) } else { None };
        let of_system = || system.iter().find(|(known, _)| known == name).map(|(_, value)| value.into());
        all.extend(given.or_else(of_system).map(|value| (name.into(), value)));
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

/// What the system sets for every login.
const SYSTEM: [&str; 3] = ["PATH", "LANG", "TZ"];

/// Files of `NAME=VALUE` lines for every login (pam_env(8), locale.conf(5)); the first one that has a name counts.
const FILES: [&str; 3] = ["/etc/environment", "/etc/default/locale", "/etc/locale.conf"];

/// The variables that a login on this host gets from the system.
fn system_variables() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for file in FILES {
        all.extend(assignments(&std::fs::read_to_string(file).unwrap_or_default()));
    }
    let root = rustix::process::geteuid().is_root();
    if !all.iter().any(|(name, _)| name == "PATH") {
        let path = login_path(&std::fs::read_to_string("/etc/login.defs").unwrap_or_default(), root);
        all.push(("PATH".to_owned(), path));
    }
    all
}

/// `NAME=VALUE`, `export NAME="VALUE"`; other lines are passed over.
fn assignments(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let value = value.trim_matches(['"', '\'']);
        (!name.starts_with('#') && !value.is_empty()).then(|| (name.trim().to_owned(), value.to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// The PATH of login(1), as login.defs(5) sets it.
fn login_path(defs: &str, root: bool) -> String {
    let (name, usual) = if root {
        ("ENV_SUPATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    } else {
        ("ENV_PATH", "/usr/local/bin:/usr/bin:/bin")
    };
    let of_line = |line: &str| {
        let value = line.strip_prefix(name)?.trim();
        Some(value.strip_prefix("PATH=").unwrap_or(value).to_owned())
    };
    defs.lines().find_map(of_line).unwrap_or_else(|| usual.to_owned())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_from_the_systems_files() {
        let text = "# a comment\nPATH=\"/usr/bin:/bin\"\nexport LANG='de_DE.UTF-8'\n\nBROKEN\nEMPTY=\n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(assignments(text), [pair("PATH", "/usr/bin:/bin"), pair("LANG", "de_DE.UTF-8")]);
    }

    #[test]
    fn path_is_that_of_login_defs() {
        let defs = "#ENV_PATH PATH=/no\nENV_SUPATH\tPATH=/sbin:/bin\nENV_PATH\tPATH=/usr/bin\n";
        assert_eq!(login_path(defs, true), "/sbin:/bin");
        assert_eq!(login_path(defs, false), "/usr/bin");
        assert_eq!(login_path("", false), "/usr/local/bin:/usr/bin:/bin");
    }
}
