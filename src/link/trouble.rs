//! Why a host can't be used: the messages of ssh and the far side, in plain words and with the remedy.

use std::fmt;

/// What went wrong, by the step at which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no ssh here, or it can't be started.
    NoSsh(String),
    /// ssh refuses its own options or configuration.
    Options(String),
    Name,
    NoRoute,
    Refused,
    /// No answer to the connect: the host is off, or a firewall drops it.
    NoAnswer,
    /// The connect succeeds, and nothing is sent.
    Silent,
    /// The connection was closed before a login: usually too many logins at once (MaxStartups).
    Closed,
    HostKeyChanged,
    HostKeyUnknown,
    /// The methods that the host accepts.
    Denied(String),
    /// An established connection broke.
    Lost,
    /// The login shell ended with this code before it ran anything; with the last line that came, which may be a banner's.
    Shell {
        code: i32,
        line: Option<String>,
    },
    /// The login shell printed without end.
    Noise,
    /// The account may not log in; with the message of the host.
    NoLogin(String),
    /// A directory on the host can't be written, with the system's message.
    Place {
        dir: String,
        error: String,
    },
    /// There is no agent for this kind of machine.
    Arch(String),
    /// The agent can't be executed on the host, with the system's message.
    Exec {
        file: String,
        error: String,
    },
    /// `grid` is not installed on the host of another home; with the shell's message.
    NoGrid(String),
    /// The received program is not the one that was sent.
    Damaged(String),
    /// Any other message.
    Other(String),
}

impl Trouble {
    /// True if the caller's session may be the reason: it may lack the key.
    pub const fn may_be_the_sessions(&self) -> bool {
        matches!(self, Self::Denied(_))
    }
}

/// When to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The trouble may pass by itself.
    Soon,
    /// A person has to do something first; frequent retries could lock the account.
    Seldom,
}

impl Trouble {
    /// The trouble, by ssh's stderr (under LC_ALL=C) and exit code. `heard`: the far side's shell had begun to answer.
    pub fn classify(stderr: &str, code: Option<i32>, heard: bool) -> Self {
        let lines: Vec<&str> =
            stderr.lines().map(|l| l.trim_end_matches('\r').trim()).filter(|l| !l.is_empty()).collect();
        let find = |what: &str| lines.iter().rev().find(|l| l.contains(what));
        let any = |words: &[&str]| words.iter().any(|w| find(w).is_some());
        if any(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "host key has changed"]) {
            return Self::HostKeyChanged;
        }
        if any(&["Host key verification failed", "host key is known for", "No host key is known"]) {
            return Self::HostKeyUnknown;
        }
        if let Some(line) = find("Permission denied (") {
            let methods = line.rsplit_once('(').map_or("", |(_, m)| m.trim_end_matches([')', '.']));
            return Self::Denied(methods.to_owned());
        }
        if any(&["Too many authentication failures", "No supported authentication methods"]) {
            return Self::Denied("too many keys were offered".to_owned());
        }
        if any(&["Could not resolve hostname", "Name or service not known", "hostname contains invalid characters"]) {
            return Self::Name;
        }
        if any(&["Connection timed out during banner exchange"]) {
            return Self::Silent;
        }
        if any(&["Timeout, server", "client_loop: send disconnect", "closed by remote host."])
            && find("kex_exchange_identification").is_none()
        {
            return Self::Lost;
        }
        if any(&["kex_exchange_identification", "ssh_exchange_identification", "Exceeded MaxStartups"]) {
            return Self::Closed;
        }
        if any(&["Connection refused"]) && find("Control socket connect").is_none_or(|_| find("ssh: connect").is_some())
        {
            return Self::Refused;
        }
        if any(&["No route to host", "Network is unreachable", "Host is down"]) {
            return Self::NoRoute;
        }
        if any(&["Connection timed out", "Operation timed out", " timed out"]) {
            return Self::NoAnswer;
        }
        if let Some(line) = [
            "Bad configuration option",
            "Bad owner or permissions",
            "unknown option",
            "no argument after",
            "Can't open user config",
            "usage: ssh",
            "Invalid ",
            "keyword",
        ]
        .iter()
        .find_map(|what| find(what))
        .filter(|_| !heard && code == Some(255))
        {
            return Self::Options((*line).to_owned());
        }
        if any(&["Connection closed by", "Connection reset by"]) {
            return if heard { Self::Lost } else { Self::Closed };
        }
        if let Some(line) = find("exec: ").filter(|_| matches!(code, Some(126 | 127))) {
            return Self::Exec { file: String::new(), error: (*line).to_owned() };
        }
        match (lines.last(), code) {
            (None, Some(255)) if heard => Self::Lost,
            (line, Some(code)) if code != 255 && (!heard || line.is_none()) => {
                Self::Shell { code, line: line.map(|line| (*line).to_owned()) }
            }
            (Some(line), Some(code)) if code != 255 => Self::Other(format!("{line} (exit {code})")),
            (Some(line), _) => Self::Other((*line).to_owned()),
            (None, _) => Self::Lost,
        }
    }

    /// The trouble, with what the login shell printed on stdout: unlike stderr, that is not ssh's.
    pub fn with_noise(self, noise: &str) -> Self {
        let mut lines = noise.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        match self {
            Self::Shell { code, line } => {
                match lines.clone().find(|line| line.contains("not available") || line.contains("nologin")) {
                    Some(said) => Self::NoLogin(said.to_owned()),
                    None => Self::Shell { code, line: lines.next().map(str::to_owned).or(line) },
                }
            }
            other => other,
        }
    }

    /// The trouble of a login that was to start `grid` by its name.
    pub fn of_grid(self, code: Option<i32>) -> Self {
        match self {
            Self::Exec { error: said, .. } | Self::Other(said) | Self::Shell { line: Some(said), .. }
                if matches!(code, Some(126 | 127)) || said.to_lowercase().contains("command not found") =>
            {
                Self::NoGrid(said)
            }
            Self::Shell { code: code @ (126 | 127), .. } => {
                Self::NoGrid(format!("the login shell ended with code {code}"))
            }
            other => other,
        }
    }

    /// The trouble that the bootstrap script reports, as a word and a text.
    pub fn from_script(word: &str, text: &str) -> Self {
        let (first, rest) = text.split_once('\t').unwrap_or((text, ""));
        let (first, rest) = (first.to_owned(), rest.to_owned());
        match word {
            "place" => Self::Place { dir: first, error: rest },
            "arch" => Self::Arch(first),
            "exec" => Self::Exec { file: first, error: rest },
            "damaged" => Self::Damaged(first),
            _ => Self::Other(text.to_owned()),
        }
    }

    /// When to retry.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NoAnswer | Self::NoRoute | Self::Refused | Self::Silent | Self::Closed | Self::Lost | Self::Name => {
                Retry::Soon
            }
            Self::Noise | Self::Damaged(_) | Self::Other(_) | Self::NoSsh(_) => Retry::Soon,
            Self::Options(_)
            | Self::HostKeyChanged
            | Self::HostKeyUnknown
            | Self::Denied(_)
            | Self::Shell { .. }
            | Self::NoLogin(_)
            | Self::Place { .. }
            | Self::Arch(_)
            | Self::NoGrid(_)
            | Self::Exec { .. } => Retry::Seldom,
        }
    }

    /// The step of a login that failed, as `grid doctor` and `server import` name it.
    pub const fn step(&self) -> &'static str {
        match self {
            Self::NoSsh(_) | Self::Options(_) => "ssh",
            Self::Name => "name",
            Self::NoRoute | Self::NoAnswer => "route",
            Self::Refused | Self::Silent | Self::Closed => "port",
            Self::HostKeyChanged | Self::HostKeyUnknown => "host key",
            Self::Denied(_) | Self::NoLogin(_) => "login",
            Self::Lost => "connection",
            Self::Shell { .. } | Self::Noise | Self::Other(_) => "shell",
            Self::Place { .. } => "home",
            Self::Arch(_) => "arch",
            Self::Exec { .. } | Self::NoGrid(_) | Self::Damaged(_) => "agent",
        }
    }

    /// The remedy for a person; `host` as it was given to ssh.
    pub fn remedy(&self, host: &str) -> Option<String> {
        Some(match self {
            Self::NoSsh(_) => "look whether the OpenSSH client is installed, and which command `grid server show` or `grid config get ssh.command` names".to_owned(),
            Self::Options(_) => "mend ~/.ssh/config, or what the server's --ssh-command and --ssh-option or ssh.command name".to_owned(),
            Self::Name => format!("check the spelling, or give {host} a HostName in ~/.ssh/config"),
            Self::NoRoute => "check that it is on, that this network reaches it, and the VPN".to_owned(),
            Self::NoAnswer => "check that it is on, and that no firewall drops the connection".to_owned(),
            Self::Refused => "start sshd there, or name its port: Port in ~/.ssh/config, of a server also --ssh-option Port=N".to_owned(),
            Self::Silent => "the host or its sshd hangs: look at it from its console".to_owned(),
            Self::Closed => "too many logins at once (MaxStartups), or a firewall: it is tried again".to_owned(),
            Self::HostKeyChanged => {
                format!("if the host was set up anew, `ssh-keygen -R {host}` and log in once by hand: `ssh {host}`; else somebody is in between")
            }
            Self::HostKeyUnknown => format!("log in once by hand and compare the fingerprint: `ssh {host}`"),
            Self::Denied(_) => {
                format!("try `ssh -o BatchMode=yes {host} true`; a key with a passphrase needs ssh-agent, a new key `ssh-copy-id {host}`")
            }
            Self::Lost => return None,
            Self::Shell { .. } => {
                "look for an `exit` in the startup files there (.bashrc, .profile), and whether the account has a login shell".to_owned()
            }
            Self::Noise => "let the startup files there print only where `[ -t 1 ]`".to_owned(),
            Self::NoLogin(_) => "ask for a login shell there".to_owned(),
            Self::Place { .. } => "make room or set the permissions there, or name another directory with --remote-dir".to_owned(),
            Self::Arch(arch) => {
                format!("put a grid built for it at agents/grid-{arch} in the data directory, or where `grid config set agent_dir DIR` says")
            }
            Self::Exec { .. } => {
                "if the file system there is mounted noexec, name another directory with --remote-dir; if it speaks of GLIBC, use a static grid".to_owned()
            }
            Self::NoGrid(_) => {
                format!("install grid on {host}, on the PATH of a login without a terminal: `ssh {host} grid --version` has to work")
            }
            Self::Damaged(_) => "it is sent again".to_owned(),
            Self::Other(_) => return None,
        })
    }

    /// The trouble and its remedy in one line.
    pub fn words(&self, host: &str) -> String {
        match self.remedy(host) {
            Some(remedy) => format!("{self}; {remedy}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSsh(error) => write!(f, "ssh can't be started: {error}"),
            Self::Options(line) => write!(f, "ssh refuses its options: {line}"),
            Self::Name => f.write_str("the host's name is not known"),
            Self::NoRoute => f.write_str("no route to the host"),
            Self::Refused => f.write_str("connection refused"),
            Self::NoAnswer => f.write_str("no answer: connection timed out"),
            Self::Silent => f.write_str("connected, but sshd says nothing"),
            Self::Closed => f.write_str("sshd closed the connection before the login"),
            Self::HostKeyChanged => f.write_str("the host key has changed"),
            Self::HostKeyUnknown => f.write_str("the host key is not known"),
            Self::Denied(methods) if methods.is_empty() => f.write_str("login refused"),
            Self::Denied(methods) => write!(f, "login refused ({methods})"),
            Self::Lost => f.write_str("the connection broke"),
            Self::Shell { code, line } => {
                write!(f, "the login shell ended with code {code} before it ran anything")?;
                line.as_ref().map_or(Ok(()), |line| write!(f, " (the last line that came: {line:?})"))
            }
            Self::Noise => f.write_str("the login shell printed more than 64 KiB and no grid began"),
            Self::NoLogin(said) => write!(f, "this account may not log in: {said}"),
            Self::Place { dir, error } => write!(f, "{dir}: {error}"),
            Self::Arch(arch) => write!(f, "no grid for {arch} is at hand"),
            Self::Exec { file, error } if file.is_empty() => write!(f, "the agent can't be executed: {error}"),
            Self::Exec { file, error } => write!(f, "{file} can't be executed: {error}"),
            Self::NoGrid(said) => write!(f, "grid can't be started there: {said}"),
            Self::Damaged(file) => write!(f, "{file} did not arrive whole"),
            Self::Other(said) => f.write_str(said),
        }
    }
}

#[cfg(test)]
mod tests;
