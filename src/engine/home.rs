//! Another home: `grid serve` as a child for one on this host, through `ssh HOST` for one elsewhere. No port, no service.

use crate::link::Link;
use crate::model::endpoint::Endpoint;
use crate::protocol::distributor::MAGIC;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Opens a link to the home behind an endpoint. `log` takes what it complains about.
pub fn open_home(endpoint: &Endpoint, log: &Path) -> io::Result<Link> {
    let mut command = match endpoint {
        Endpoint::Local => return Err(io::Error::other("this home needs no link to itself")),
        Endpoint::Path(home) => {
            // A path without a database is no home, and nothing here makes one.
            if !home.join("grid.db").exists() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "there is no home (no grid.db)"));
            }
            let mut command = Command::new("/proc/self/exe");
            command.arg0("grid").arg("serve").arg("--home").arg(home);
            command
        }
        Endpoint::Ssh { host, home } => {
            let mut command = Command::new("ssh");
            command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", host]);
            command.arg(match home {
                Some(home) => format!("exec grid serve --home '{}'", home.replace('\'', "'\\''")),
                None => "exec grid serve".to_owned(),
            });
            command
        }
    };
    command.current_dir("/");
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log);
    command.stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
    Link::open_to(command, MAGIC)
}
