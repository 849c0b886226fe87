//! grid itself, in its release build and as it is shipped.

use crate::peer::{Outcome, Peer, Sandbox, ended, first_line, run, text, with_command_line};
use rusqlite::Connection;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

struct Grid {
    program: PathBuf,
    sandbox: PathBuf,
    homes: usize,
    ended: usize,
    sleepers: Vec<String>,
}

/// The release build of this source; another one by GRID_BIN.
pub fn built() -> Outcome<PathBuf> {
    if let Some(program) = std::env::var_os("GRID_BIN") {
        return Ok(std::fs::canonicalize(program)?);
    }
    // Tests and benches have fail points compiled in: what is measured is what people get.
    run(&mut Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/release")))?;
    let target = Path::new(env!("CARGO_BIN_EXE_grid")).parent().and_then(Path::parent).ok_or("no target directory")?;
    Ok(target.join("ship/grid"))
}

pub fn find(sandbox: &Sandbox) -> Outcome<Option<Box<dyn Peer>>> {
    let mut grid = Grid { program: built()?, sandbox: sandbox.sub("grid")?, homes: 0, ended: 0, sleepers: Vec::new() };
    grid.begin()?;
    Ok(Some(Box::new(grid)))
}

impl Grid {
    fn home(&self) -> PathBuf {
        self.sandbox.join(self.homes.to_string())
    }

    fn grid(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("GRID_HOME", self.home()).current_dir("/");
        command
    }

    /// A fresh home whose one server takes two tasks at a time.
    fn begin(&mut self) -> Outcome<()> {
        self.homes += 1;
        self.ended = 0;
        run(&mut self.grid(&["server", "add", "two", "--local", "--slots", "2"]))?;
        run(&mut self.grid(&["server", "drain", "local", "--reason", "the benchmark uses two"]))?;
        run(&mut self.grid(&["run", "--", "true"]))?;
        self.settle().map(|_| ())
    }

    fn counts(&self, id: &str) -> Outcome<usize> {
        let shown: Value = serde_json::from_str(&text(&mut self.grid(&["show", id, "--json"]))?)?;
        Ok(shown["counts"]["COMPLETED"].as_u64().unwrap_or(0) as usize)
    }

    fn database(&self) -> Outcome<Connection> {
        let connection = Connection::open(self.home().join("grid.db"))?;
        connection.busy_timeout(Duration::from_secs(60))?;
        Ok(connection)
    }

    /// More rows like that of a task, by copying it: a million submits would take the day.
    fn copy(&self, task: &str, times: usize, members: bool) -> Outcome<()> {
        let database = self.database()?;
        let mut names = Vec::new();
        database
            .prepare("SELECT name FROM pragma_table_info('task') WHERE name NOT IN ('id', 'uuid')")?
            .query_map([], |row| row.get::<_, String>(0))?
            .try_for_each(|name| name.map(|name| names.push(name)))?;
        let names = names.join(", ");
        database.execute_batch("BEGIN IMMEDIATE")?;
        let before: i64 = database.query_row("SELECT max(id) FROM task", [], |row| row.get(0))?;
        let counted = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})");
        database.execute(
            &format!(
                "INSERT INTO task (uuid, {names}) {counted} SELECT randomblob(16), {names} FROM n, task WHERE id = ?1"
            ),
            [task],
        )?;
        if members {
            database.execute(
                &format!(
                    "INSERT INTO member (task_id, idx, state, number, server_id, host_id, started_at, ended_at, exit_code, cpu_ms, max_rss, out_len, err_len)
                     {counted} SELECT {before} + i, idx, state, number, server_id, host_id, started_at, ended_at, exit_code, cpu_ms, max_rss, out_len, err_len
                     FROM n, member WHERE task_id = ?1"
                ),
                [task],
            )?;
        }
        Ok(database.execute_batch("COMMIT")?)
    }
}

impl Peer for Grid {
    fn name(&self) -> &'static str {
        "grid"
    }

    fn version(&self) -> String {
        first_line(Command::new(&self.program).arg("--version"))
    }

    fn submit(&mut self, command: &[&str]) -> Outcome<Option<()>> {
        run(self.grid(&["submit", "--"]).args(command)).map(|_| Some(()))
    }

    fn rest(&mut self) -> Outcome<Option<()>> {
        run(&mut self.grid(&["wait"]))?;
        run(&mut self.grid(&["dispatcher", "stop"])).map(|_| Some(()))
    }

    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        run(&mut self.grid(&["submit", "--wait", "--", "true"])).map(|_| Some(()))
    }

    fn array(&mut self, size: usize) -> Outcome<Option<usize>> {
        let range = format!("1-{size}");
        run(&mut self.grid(&["submit", "--wait", "--array", &range, "--", "true"]))?;
        self.counts("last").map(Some)
    }

    fn settle(&mut self) -> Outcome<Option<usize>> {
        run(&mut self.grid(&["wait", "all"]))?;
        let status: Value = serde_json::from_str(&text(&mut self.grid(&["status", "--json"]))?)?;
        let ended = status["counts"]["COMPLETED"].as_u64().unwrap_or(0) as usize;
        let new = ended - self.ended;
        self.ended = ended;
        Ok(Some(new))
    }

    fn list(&mut self) -> Outcome<Option<()>> {
        run(&mut self.grid(&["status"])).map(|_| Some(()))
    }

    fn fill(&mut self, size: usize) -> Outcome<Option<usize>> {
        for _ in 0..2 {
            self.sleepers.push(text(&mut self.grid(&["submit", "--parsable", "--", "sleep", "100000"]))?);
        }
        let first = text(&mut self.grid(&["submit", "--parsable", "--", "true"]))?;
        self.copy(&first, size - 1, false)?;
        // One look of the dispatcher at what is new.
        run(&mut self.grid(&["submit", "--", "true"]))?;
        Ok(Some(size))
    }

    fn age(&mut self, size: usize) -> Outcome<Option<()>> {
        let ended: String = self.database()?.query_row(
            "SELECT CAST(id AS TEXT) FROM task_view WHERE state = 'COMPLETED' LIMIT 1",
            [],
            |row| row.get(0),
        )?;
        self.copy(&ended, size, true).map(Some)
    }

    fn empty(&mut self) -> Outcome<()> {
        for id in std::mem::take(&mut self.sleepers) {
            run(&mut self.grid(&["cancel", "--wait", &id]))?;
        }
        self.stop();
        self.begin()
    }

    fn proof(&mut self, tasks: usize) -> Outcome<Option<()>> {
        let range = format!("0-{}", tasks - 1);
        let script = "echo $GRID_ARRAY_INDEX; exit $((GRID_ARRAY_INDEX % 10))";
        let id = text(&mut self.grid(&["submit", "--parsable", "--array", &range, "--shell", script]))?;
        ended(&mut self.grid(&["wait", &id]))?;
        for n in 0..tasks {
            let member = format!("{id}.{n}");
            let shown: Value = serde_json::from_str(&text(&mut self.grid(&["show", &member, "--json"]))?)?;
            let printed = text(&mut self.grid(&["logs", &member]))?;
            if shown["exit_code"] != (n % 10) || printed != n.to_string() {
                return Err(format!("{member}: printed {printed:?}, ended with {}", shown["exit_code"]).into());
            }
        }
        self.settle().map(|_| Some(()))
    }

    fn processes(&self) -> Vec<u32> {
        with_command_line(&format!("{}/", self.home().display()))
            .into_iter()
            .chain(with_command_line(&format!("serve --home {}", self.home().display())))
            .collect()
    }

    fn stop(&mut self) {
        let _ = ended(&mut self.grid(&["dispatcher", "stop"]));
        let _ = std::fs::remove_dir_all(self.home());
    }
}
