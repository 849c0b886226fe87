//! A head with servers over ssh that have short time-outs, and tasks that leave marks of their executions.

use crate::support::{Grid, Rig, process, rig::Plan};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A link is given up after three seconds of silence, a login after two.
const IMPATIENT: [&str; 3] = ["ServerAliveInterval=1", "ServerAliveCountMax=2", "ConnectTimeout=2"];

pub struct Lab {
    pub rig: Rig,
    /// At a shell of the head.
    pub grid: Grid,
    servers: Vec<String>,
}

impl Lab {
    /// `h1` to `hN` as servers of those names, each with four slots; this host itself takes no tasks.
    #[track_caller]
    pub fn of(hosts: usize) -> Option<Self> {
        Self::on(Plan::of(hosts))
    }

    #[track_caller]
    pub fn on(plan: Plan) -> Option<Self> {
        let rig = plan.up()?;
        let grid = rig.at("head");
        let servers: Vec<String> = rig.hosts().into_iter().filter(|h| h != "head").collect();
        let lab = Self { rig, grid, servers };
        lab.grid.grid(["server", "drain", "local"]).ok();
        let adding: Vec<_> = lab.servers.iter().map(|host| lab.grid.beside(lab.add(host))).collect();
        for (child, host) in adding.into_iter().zip(&lab.servers) {
            process::finish(child, format!("grid server add {host}")).expect(0);
        }
        Some(lab)
    }

    /// What adds a host as a server.
    pub fn add(&self, host: &str) -> Vec<String> {
        let mut words = vec!["server", "add", host, "--ssh", host, "--slots", "4", "--cpus", "8"];
        words.extend(IMPATIENT.iter().flat_map(|option| ["--ssh-option", option]));
        words.into_iter().map(str::to_owned).collect()
    }

    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(String::as_str)
    }

    /// Submits a task that says `first`, waits for [`Lab::let_go`], says `last` and ends with 7. It leaves a mark at each execution.
    #[track_caller]
    pub fn submit(&self, host: &str, options: &[&str]) -> String {
        let script = "echo $GRID_TASK_ID >> ran; echo first; until [ -e go.$GRID_TASK_ID ]; do sleep 0.05; done; echo last; exit 7";
        let words = ["-w", host].into_iter().chain(options.iter().copied()).chain(["--", "sh", "-c", script]);
        self.grid.submit(words)
    }

    /// The same, and until it runs.
    #[track_caller]
    pub fn running(&self, host: &str) -> String {
        let id = self.submit(host, &[]);
        self.until_runs(&id, host);
        id
    }

    #[track_caller]
    pub fn until_runs(&self, id: &str, host: &str) {
        process::until(&format!("task {id} has begun on {host}"), || self.ran(id) == 1);
        self.grid.until_state(id, "RUNNING");
    }

    /// Wherever it runs, it may end.
    pub fn let_go(&self, id: &str) {
        for host in &self.servers {
            std::fs::write(self.rig.home(host).join(format!("go.{id}")), "").expect("a mark");
        }
    }

    /// How often it was executed, on whichever host.
    pub fn ran(&self, id: &str) -> usize {
        let mut homes: Vec<_> = self.servers.iter().map(|host| std::fs::canonicalize(self.rig.home(host))).collect();
        homes.sort_by_key(|home| home.as_ref().ok().cloned());
        homes.dedup_by_key(|home| home.as_ref().ok().cloned());
        let text = |home: std::io::Result<std::path::PathBuf>| {
            std::fs::read_to_string(home.expect("a home").join("ran")).unwrap_or_default()
        };
        homes.into_iter().map(|home| text(home).lines().filter(|line| *line == id).count()).sum()
    }

    /// What a person is told of a task.
    #[track_caller]
    pub fn told(&self, id: &str) -> String {
        self.grid.grid(["show", id]).ok()
    }

    /// Until a person is told that the server was not heard of for a while; the state must stay as it was.
    #[track_caller]
    pub fn until_silent(&self, id: &str, state: &str) {
        process::until(&format!("it is told that {id} was not heard of"), || {
            let told = self.told(id);
            assert!(told.contains(state), "{told}");
            told.contains("last contact")
        });
    }

    /// Until the server is known to be out of reach.
    #[track_caller]
    pub fn until_down(&self, server: &str) {
        process::until(&format!("{server} is known to be down"), || self.server_state(server) != "UP");
    }

    pub fn server_state(&self, server: &str) -> String {
        let listed = self.grid.grid(["server", "list", "--json"]).json();
        let all = listed.as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|s| s["name"] == *server).unwrap_or(Value::Null);
        found["state"].as_str().unwrap_or_default().to_owned()
    }

    /// It must end with this code, its output whole, executed once. How long that took from now on.
    #[track_caller]
    pub fn ends(&self, id: &str, code: i32) -> Duration {
        let begun = Instant::now();
        let done = self.grid.grid(["wait", id]);
        let took = begun.elapsed();
        assert_eq!(done.code(), code, "{done:?}\n{}", self.told(id));
        assert_eq!(self.ran(id), 1, "task {id} was executed as often:\n{}", self.told(id));
        assert_eq!(self.grid.grid(["logs", id]).ok(), "first\nlast", "{}", self.told(id));
        took
    }

    /// The dispatcher is shot, and the next command starts another one.
    #[track_caller]
    pub fn shoot_dispatcher(&self) {
        assert_eq!(self.rig.shoot("head", "grid dispatcher"), 1, "no dispatcher to shoot");
        self.grid.grid(["status"]).ok();
    }
}
