//! pueue: a daemon that rewrites its state file for each change.

use crate::peer::{Outcome, Peer, Sandbox, ended, first_line, program, run, setup_dir, text, with_command_line};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Adding one to a thousand takes as long as reading all of them again.
const BEARABLE: usize = 1_000;

struct Pueue {
    dir: PathBuf,
    config: PathBuf,
}

pub fn find(sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    if program("pueue").is_none() || program("pueued").is_none() {
        return Ok(None);
    }
    let dir = sandbox.sub("pueue")?;
    let config = dir.join("pueue.yml");
    let at = dir.display();
    std::fs::write(
        &config,
        format!("shared:\n  pueue_directory: {at}\n  runtime_directory: {at}\n  use_unix_socket: true\n"),
    )?;
    let mut pueue = Pueue { dir, config };
    pueue.begin()?;
    Ok(Some(Box::new(pueue)))
}

impl Pueue {
    fn tool(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program(name).unwrap_or_else(|| setup_dir().join("bin").join(name)));
        command.arg("-c").arg(&self.config).args(arguments);
        command
    }

    fn begin(&mut self) -> Outcome<()> {
        for _ in 0..100 {
            // Refused while the one before is still leaving.
            let _ = run(&mut self.tool("pueued", &["-d"]));
            if run(&mut self.tool("pueue", &["parallel", "2"])).is_ok() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Err("its daemon does not answer".into())
    }

    /// What ended, with its result.
    fn results(&self) -> Outcome<Vec<(String, Value)>> {
        let status: Value = serde_json::from_str(&text(&mut self.tool("pueue", &["status", "--json"]))?)?;
        let tasks = status["tasks"].as_object().cloned().unwrap_or_default();
        Ok(tasks.into_iter().map(|(id, task)| (id, task["status"]["Done"]["result"].clone())).collect())
    }
}

impl Peer for Pueue {
    fn name(&self) -> &'static str {
        "pueue"
    }

    fn version(&self) -> String {
        first_line(self.tool("pueue", &[]).arg("--version"))
    }

    fn submit(&mut self, command: &[&str]) -> Outcome<Option<()>> {
        // It gives what it gets to a shell.
        run(self.tool("pueue", &["add", "-e", "--"]).args(command)).map(|_| Some(()))
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        let id = text(&mut self.tool("pueue", &["add", "-p", "--", "true"]))?;
        run(&mut self.tool("pueue", &["wait", &id])).map(|_| Some(()))
    }

    fn settle(&mut self) -> Outcome<Option<usize>> {
        run(&mut self.tool("pueue", &["wait", "--all"]))?;
        let ended = self.results()?.iter().filter(|(_, result)| *result == "Success").count();
        run(&mut self.tool("pueue", &["clean"]))?;
        Ok(Some(ended))
    }

    fn list(&mut self) -> Outcome<Option<()>> {
        run(&mut self.tool("pueue", &["status"])).map(|_| Some(()))
    }

    fn fill(&mut self, size: usize) -> Outcome<Option<usize>> {
        for _ in 0..2 {
            self.submit(&["sleep", "100000"])?;
        }
        for _ in 0..size.min(BEARABLE) {
            self.submit(&["true"])?;
        }
        Ok(Some(size.min(BEARABLE)))
    }

    fn empty(&mut self) -> Outcome<()> {
        self.stop();
        std::fs::remove_file(self.dir.join("state.json")).or_else(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(e),
        })?;
        self.begin()
    }

    fn proof(&mut self, tasks: usize) -> Outcome<Option<()>> {
        for n in 0..tasks {
            run(&mut self.tool("pueue", &["add", "--", &format!("echo {n}; exit {}", n % 10)]))?;
        }
        ended(&mut self.tool("pueue", &["wait", "--all"]))?;
        let mut found = Vec::new();
        for (id, result) in self.results()? {
            let code = if result == "Success" { 0 } else { result["Failed"].as_u64().ok_or("no exit code")? as usize };
            let log = std::fs::read_to_string(self.dir.join(format!("task_logs/{id}.log")))?;
            found.push((log.trim().parse()?, code));
        }
        found.sort_unstable();
        run(&mut self.tool("pueue", &["clean"]))?;
        let expected: Vec<(usize, usize)> = (0..tasks).map(|n| (n, n % 10)).collect();
        if found == expected { Ok(Some(())) } else { Err(format!("found {found:?}").into()) }
    }

    fn patience(&self) -> usize {
        40
    }

    fn processes(&self) -> Vec<u32> {
        with_command_line(&self.config.display().to_string())
    }

    fn stop(&mut self) {
        let _ = ended(&mut self.tool("pueue", &["kill", "--all"]));
        let _ = ended(&mut self.tool("pueue", &["shutdown"]));
        crate::spoolers::end(&self.processes());
    }
}
