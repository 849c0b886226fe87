//! The way to a server over ssh.

use super::ssh_command::SshCommand;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// A way to an account on a host. Servers with equal targets share one link and one spool there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTarget {
    host: String,
    options: Vec<String>,
    remote_dir: Option<String>,
    command: Option<SshCommand>,
    key: LinkKey,
}

/// A digest of a target: cheap to compare, and the same for every release, because it names the spool's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkKey(pub u64);

/// The parts of a person's session that a login over ssh may need. Each command sends its own to the dispatcher, and a link keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Login {
    /// GRID_SSH_COMMAND: the ssh that this person names. It is never tried in place of another one.
    pub command: Option<SshCommand>,
    /// SSH_AUTH_SOCK: the person's key agent.
    pub auth_sock: Option<String>,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("{0:?} is no host: give it as ssh and ~/.ssh/config know it, as lab1 or me@lab1.example.org")]
    Host(String),
    #[error("{0:?} is no option of ssh: write it as for `ssh -o`, as Port=2222")]
    Option(String),
    #[error("{0:?} is no directory: give it from / on, or relative to the home over there, without `..`")]
    Directory(String),
}

impl SshTarget {
    /// Makes a target of what was typed. Everything else about the host is left to ssh.
    pub fn new(host: &str, options: Vec<String>, remote_dir: Option<String>) -> Result<Self, BadTarget> {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if host.is_empty() || host.len() > 255 || host.starts_with('-') || host.contains(odd) {
            return Err(BadTarget::Host(host.to_owned()));
        }
        if let Some(bad) = options.iter().find(|o| !is_option(o)) {
            return Err(BadTarget::Option(bad.clone()));
        }
        let remote_dir = remote_dir.map(|dir| dir.strip_prefix("~/").map_or(dir.clone(), str::to_owned));
        if let Some(bad) = remote_dir.as_deref().filter(|dir| !is_directory(dir)) {
            return Err(BadTarget::Directory(bad.to_owned()));
        }
        let key = key(host, &options, remote_dir.as_deref(), None);
        Ok(Self { host: host.to_owned(), options, remote_dir, command: None, key })
    }

    /// The target with this command; None: with the home's. A name is resolved by its command, so
    /// the link and the spool there change with it.
    #[must_use]
    pub fn by(self, command: Option<SshCommand>) -> Self {
        let key = key(&self.host, &self.options, self.remote_dir.as_deref(), command.as_ref());
        Self { command, key, ..self }
    }

    /// The host as ssh knows it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Options for `-o`, one each.
    pub fn options(&self) -> &[String] {
        &self.options
    }

    /// The agent's directory there, if not one of the usual ones; absolute or relative to the home.
    pub fn remote_dir(&self) -> Option<&str> {
        self.remote_dir.as_deref()
    }

    /// The ssh command that it was named with; None: the home's.
    pub const fn command(&self) -> Option<&SshCommand> {
        self.command.as_ref()
    }

    /// The key by which targets are compared.
    pub const fn key(&self) -> LinkKey {
        self.key
    }
}

/// True if a text is `Name=value` or `Name value`, in one line.
fn is_option(text: &str) -> bool {
    let name = text.split(['=', ' ']).next().unwrap_or_default();
    let valued = text.len() > name.len() + 1;
    valued
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric())
        && !text.contains(|c: char| c.is_control())
}

fn is_directory(text: &str) -> bool {
    let plain = |part: &str| part != ".." && !part.starts_with('~');
    !text.is_empty()
        && text.len() < 1_000
        && text.trim_start_matches('/').split('/').all(plain)
        && !text.contains(|c: char| c.is_control())
}

/// The first bytes of a digest that stays the same across releases.
fn key(host: &str, options: &[String], remote_dir: Option<&str>, command: Option<&SshCommand>) -> LinkKey {
    let mut digest = Sha256::new();
    let words = [host, remote_dir.unwrap_or_default()];
    for word in words.into_iter().chain(options.iter().map(String::as_str)) {
        digest.update(word.as_bytes());
        digest.update([0]);
    }
    // No option holds a control character.
    if let Some(command) = command {
        digest.update([1]);
        digest.update(command.0.as_bytes());
    }
    let first = digest.finalize().first_chunk::<8>().copied().unwrap_or_default();
    LinkKey(u64::from_be_bytes(first))
}

impl fmt::Display for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for LinkKey {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, options: &[&str], dir: Option<&str>) -> Result<SshTarget, BadTarget> {
        SshTarget::new(host, options.iter().map(|o| (*o).to_owned()).collect(), dir.map(str::to_owned))
    }

    #[test]
    fn host_that_ssh_could_misread_is_refused() {
        for bad in ["", "-oProxyCommand=x", "a b", "a\nb", "a\tb"] {
            assert!(matches!(target(bad, &[], None), Err(BadTarget::Host(_))), "{bad:?}");
        }
        for good in ["h1", "me@h1", "ssh://me@h1:2222", "::1", "10.0.0.1"] {
            assert!(target(good, &[], None).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn options_and_directories_are_checked() {
        for bad in ["", "Port", "=2", "Port=", "Port=1\nUser=x", "-p 1"] {
            assert!(matches!(target("h", &[bad], None), Err(BadTarget::Option(_))), "{bad:?}");
        }
        assert!(target("h", &["Port=2222", "ProxyCommand nc %h %p"], None).is_ok());
        for bad in ["", "a/../b", "..", "~other/x", "a\nb"] {
            assert!(matches!(target("h", &[], Some(bad)), Err(BadTarget::Directory(_))), "{bad:?}");
        }
        assert_eq!(target("h", &[], Some("~/x")).unwrap().remote_dir(), Some("x"));
    }

    #[test]
    fn link_keys_are_stable_and_differ_with_every_part() {
        let plain = target("h1", &[], None).unwrap();
        assert_eq!(plain.key().to_string(), "6a1c71538a5b4b67");
        assert_eq!(plain.key().to_string().parse(), Ok(plain.key()));
        let others = [
            target("h2", &[], None),
            target("h1", &["Port=22"], None),
            target("h1", &[], Some("Port=22")),
            target("h1", &["Port=22", "User=x"], None),
            Ok(plain.clone().by(Some(SshCommand::default()))),
            Ok(plain.clone().by(Some(SshCommand("ssh -F /x".to_owned())))),
        ];
        let keys: std::collections::HashSet<_> = others.map(|t| t.unwrap().key()).into_iter().collect();
        assert_eq!(keys.len(), 6);
        assert_eq!(plain.clone().by(Some(SshCommand::default())).by(None), plain);
        assert!(!keys.contains(&plain.key()));
    }
}
