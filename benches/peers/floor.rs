//! The floor: `xargs -P2`, which keeps nothing; and one fsync of this disk.

use crate::peer::{Outcome, Peer, Sandbox, first_line, program};
use std::io::Write;
use std::process::{Command, Stdio};

struct Xargs;

pub fn find(_sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    Ok(program("xargs").map(|_| Box::new(Xargs) as Box<dyn Peer>))
}

impl Peer for Xargs {
    fn name(&self) -> &'static str {
        "xargs"
    }

    fn version(&self) -> String {
        first_line(Command::new("xargs").arg("--version"))
    }

    fn array(&mut self, size: usize) -> Outcome<Option<usize>> {
        let mut child = Command::new("xargs").args(["-P2", "-n1", "true"]).stdin(Stdio::piped()).spawn()?;
        let lines: String = (0..size).map(|n| format!("{n}\n")).collect();
        child.stdin.take().ok_or("no stdin")?.write_all(lines.as_bytes())?;
        // It says so with its exit code if one failed, and keeps no count.
        if child.wait()?.success() { Ok(Some(size)) } else { Err("a task failed".into()) }
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        self.array(1).map(|_| Some(()))
    }
}
