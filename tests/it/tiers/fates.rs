//! Five fates at three homes: a client's, a front's and a lab's home is removed, made anew, moved, restored or copied behind standing
//! links, while a task runs. No acknowledged task is lost unsaid, none runs twice.

use super::way::three;
use crate::support::{Done, Grid, process};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What happens to a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Removed,
    MadeAnew,
    Moved,
    /// From a backup, before which one task was acknowledged less.
    Restored,
    Copied,
}

/// Whose home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Front,
    Lab,
}

/// What the client hears of a task that ran meanwhile.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Its end.
    End,
    /// That its home does not tell, and what to do if it never will.
    Silence,
    /// That the lab holds it: it may have run.
    Held,
    /// Nothing: the home that knew of it is gone.
    Nothing,
}

const FATES: [Fate; 5] = [Fate::Removed, Fate::MadeAnew, Fate::Moved, Fate::Restored, Fate::Copied];

impl Fate {
    /// Its dispatcher runs, and so does whatever serves it. `late`: a task is acknowledged that a backup does not have.
    fn befall(self, grid: &Grid, late: impl FnOnce() -> String) -> String {
        if self == Self::Restored {
            grid.grid(["backup", "copy.db"]).ok();
        }
        let late = late();
        let home = grid.home();
        match self {
            Self::Removed => remove(home),
            Self::Moved => std::fs::rename(home, self.elsewhere(grid)).unwrap(),
            Self::MadeAnew => {
                remove(home);
                grid.grid(["status"]).ok();
            }
            Self::Restored => {
                remove(home);
                grid.grid(["restore", "copy.db"]).ok();
            }
            Self::Copied => drop(grid.sh(&format!("cp -a $GRID_HOME {}", self.elsewhere(grid).display())).ok()),
        }
        late
    }

    /// Where a home lies that was moved, or copied.
    fn elsewhere(self, grid: &Grid) -> PathBuf {
        grid.home().with_extension(format!("{self:?}"))
    }
}

impl Role {
    const fn of(self, (client, front, lab): &(Grid, Grid, Grid)) -> &Grid {
        match self {
            Self::Client => client,
            Self::Front => front,
            Self::Lab => lab,
        }
    }

    /// Are tasks taken afterwards? A client's home is made where there is none.
    const fn takes_more(self, fate: Fate) -> bool {
        matches!(self, Self::Client) || !matches!(fate, Fate::Removed | Fate::Moved)
    }

    const fn told(self, fate: Fate) -> Told {
        match (self, fate) {
            (Self::Client, Fate::Removed | Fate::MadeAnew) => Told::Nothing,
            (Self::Lab, Fate::Restored) => Told::Held,
            (Self::Front | Self::Lab, Fate::Removed | Fate::MadeAnew | Fate::Moved) => Told::Silence,
            _ => Told::End,
        }
    }

    /// What becomes of the home that was moved, or of the copy: nothing that was asked of others meanwhile runs there.
    fn look_elsewhere(self, fate: Fate, there: &Grid) {
        match (self, fate) {
            (Self::Client, _) => drop(there.grid(["wait", "1"]).expect(3)),
            (Self::Lab, Fate::Moved) => drop(there.grid(["wait", "1"]).expect(3)),
            (Self::Lab, Fate::Copied) => there.until_state("1", "HELD"),
            _ => {}
        }
        assert_eq!(there.number("SELECT count(*) FROM task WHERE waiting + running > 0"), 0);
        there.grid(["run", "--", "true"]).ok();
        there.grid(["dispatcher", "stop"]).ok();
        remove(there.home());
    }
}

/// As `rm -rf`, also while a process still creates files.
fn remove(home: &Path) {
    process::until("it is removed", || std::fs::remove_dir_all(home).is_ok() || !home.exists());
}

/// A task that leaves marks in the client's directory: one for each run.
fn submit(client: &Grid, mark: &str, then: &str) -> Done {
    let marks = client.file("marks");
    let line = format!("echo {mark} >> {}; {then}", marks.display());
    client.grid(["submit", "--parsable", "--cwd", "/", "--", "sh", "-c", &line])
}

fn runs(client: &Grid, mark: &str) -> usize {
    client.lines("marks").iter().filter(|line| *line == mark).count()
}

/// The first line that is said to whoever waits.
fn said_in_waiting(client: &Grid, id: &str) -> String {
    let mut child = client.beside(["wait", id]);
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    line
}

fn nothing_is_lost(fate: Fate, role: Role) {
    let homes = three();
    let (client, front, lab) = &homes;
    if role == Role::Lab {
        // The front's own servers would take what the lab can't.
        front.grid(["distributor", "drain", "tier2"]).ok();
    }
    let go = client.fifo("go");
    let runs_on = submit(client, "runs", &format!("read x < {}; exit 3", go.display())).ok();
    process::until("it runs", || runs(client, "runs") == 1);
    let late = fate.befall(role.of(&homes), || {
        let late = submit(client, "late", "true").ok();
        process::until("the last one ran", || runs(client, "late") == 1);
        late
    });
    if fate == Fate::Copied {
        let told = Grid::bare().at(fate.elsewhere(role.of(&homes))).grid(["status"]).expect(0);
        let running = ["1 that ran continue only in that home, and are held here"];
        told.says(&["copied at "]).says(if role == Role::Lab { &running } else { &[] });
    }
    let acknowledged: Vec<(String, String)> = (0..2)
        .filter_map(|n| {
            let mark = format!("n{n}");
            let done = submit(client, &mark, "true");
            // Refused in words, or taken.
            assert!(matches!(done.code(), 0 | 75), "{fate:?} {role:?}: {done:?}");
            (done.code() == 0).then(|| (mark, done.out().trim().to_owned()))
        })
        .collect();
    for (_, id) in &acknowledged {
        client.grid(["wait", id]).ok();
    }
    std::fs::write(&go, "on\n").unwrap();
    assert_eq!(!acknowledged.is_empty(), role.takes_more(fate), "{fate:?} {role:?}: {acknowledged:?}");
    let forget = format!("`grid cancel --forget {runs_on}`");
    match role.told(fate) {
        Told::End => {
            let grid = if (role, fate) == (Role::Client, Fate::Moved) { None } else { Some(client) };
            grid.map(|grid| grid.grid(["wait", &runs_on]).expect(3));
        }
        Told::Silence => {
            let said = said_in_waiting(client, &runs_on);
            assert!(said.contains(&forget), "{fate:?} {role:?}: {said}");
            client.grid(["cancel", "--forget", &runs_on]).ok();
            assert_eq!(client.state(&runs_on), "CANCELLED", "{fate:?} {role:?}");
        }
        Told::Held => {
            process::until("it is held", || client.state(&runs_on) == "HELD");
            let why = client.show(&runs_on)["reason"].to_string();
            assert!(why.contains("restored from a backup"), "{why}");
        }
        Told::Nothing => {}
    }
    if fate == Fate::Restored {
        match role {
            // The id was given again: what it names is another task.
            Role::Client => assert_eq!(acknowledged[0].1, late),
            Role::Front => drop(client.grid(["wait", &late]).ok()),
            Role::Lab => {
                let told = client.grid(["wait", &late]).expect(125);
                told.says(&[&format!("`grid cancel --forget {late}`")]);
            }
        }
    }
    if matches!(fate, Fate::Moved | Fate::Copied) {
        role.look_elsewhere(fate, &Grid::bare().at(fate.elsewhere(role.of(&homes))));
    }
    if role != Role::Lab {
        // Whatever the others are told: the lab knows how it ended.
        lab.grid(["wait", "1"]).expect(3);
    }
    for mark in ["runs", "late"].into_iter().chain(acknowledged.iter().map(|(mark, _)| mark.as_str())) {
        assert_eq!(runs(client, mark), 1, "{fate:?} {role:?}: {mark}");
    }
    assert_eq!(client.lines("marks").len(), 2 + acknowledged.len(), "what was refused did not run: {fate:?} {role:?}");
}

/// All fates at once: most of the time somebody waits for somebody.
fn whatever_befalls(role: Role) {
    std::thread::scope(|scope| {
        for fate in FATES {
            scope.spawn(move || nothing_is_lost(fate, role));
        }
    });
}

#[test]
fn client_whose_home_is_lost_loses_no_task_and_runs_none_twice() {
    whatever_befalls(Role::Client);
}

#[test]
fn front_that_is_lost_behind_a_standing_link_loses_no_task_and_runs_none_twice() {
    whatever_befalls(Role::Front);
}

#[test]
fn lab_that_is_lost_behind_a_standing_link_loses_no_task_and_runs_none_twice() {
    whatever_befalls(Role::Lab);
}
