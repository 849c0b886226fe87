//! Hosts with a real sshd each, as the tests have them (`tests/support/rig`), and a person at their head.

use crate::peer::Outcome;
use crate::support::rig::{self, Plan, Rig};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Hosts that are up; they go with this.
pub struct Hosts {
    rig: Rig,
    pub names: Vec<String>,
}

impl Hosts {
    /// Fresh ones, with nothing installed; only the head has `grid`.
    pub fn up(count: usize, grid: &Path) -> Outcome<Self> {
        rig::possible().clone()?;
        let rig = Plan::of(count).program(grid).up().ok_or("no hosts here")?;
        let names = rig.hosts().into_iter().filter(|host| host != "head").collect();
        Ok(Self { rig, names })
    }

    /// A command as it is typed at the head.
    pub fn head(&self, words: &[&str]) -> Command {
        let mut command = self.rig.at("head").command(words[0]);
        command.args(&words[1..]);
        command
    }

    /// A file in the home at the head.
    pub fn file(&self, name: &str) -> PathBuf {
        self.rig.home("head").join(name)
    }
}
