//! Homes that do not answer: told as unreachable, never as ended; asked again; given up only by hand.

use super::hostile::envelope;
use super::way::three;
use super::world::{World, context, found, know, principal, request};
use crate::support::caller::{Caller, stranger};
use crate::support::{Grid, process};
use grid::distributor::peers::{PeerError, Peers};
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::distributor::reconcile::{Reconciled, reconcile};
use grid::model::distributor::Tier;
use grid::model::endpoint::Endpoint;
use grid::model::id::{HomeId, TaskUuid};
use grid::protocol::distributor::{Answer, Question, SILENCE_SINCE, Verb};
use grid::protocol::seal;
use grid::store::{Durability, Store, StoreError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

/// Takes a home away, and gives it back at the end.
struct Away<'a> {
    grid: &'a Grid,
}

impl<'a> Away<'a> {
    fn take(grid: &'a Grid, others: &[&Grid]) -> Self {
        for other in others {
            other.grid(["dispatcher", "stop"]).expect(0);
        }
        std::fs::rename(grid.home(), grid.home().with_extension("away")).unwrap();
        Self { grid }
    }

    fn give_back(self) {
        std::fs::rename(self.grid.home().with_extension("away"), self.grid.home()).unwrap();
    }
}

#[test]
fn a_home_that_is_down_is_unreachable_and_its_task_has_not_ended() {
    let (client, front, lab) = three();
    let id = client.submit(["-H", "--", "true"]);
    let away = Away::take(&front, &[&client, &front]);
    // Whoever waits is told once that nobody answers, beside what it waits for.
    let mut waits = client.beside(["wait", "--json", &id]);
    let mut talk = BufReader::new(waits.stderr.take().unwrap()).lines();
    let said = talk.next().unwrap().unwrap();
    assert!(said.contains("lab-x does not answer since ") && said.contains("no home"), "{said}");
    let shown = client.show(&id);
    assert_eq!(shown["state"], "HELD", "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("no answer from lab-x for"), "{shown}");
    client.grid(["logs", &id]).expect(1).says(&["no answer"]);
    client.grid(["release", &id]).expect(1).says(&["no answer", "no home"]);
    // A cancel is on the disk, and told as soon as there is somebody to tell.
    let done = client.grid(["cancel", &id, "--json"]).json();
    assert!(done[0]["note"].as_str().unwrap().contains("gets the cancel as soon as"), "{done}");
    assert_eq!(client.state(&id), "HELD");
    away.give_back();
    client.grid(["dispatcher", "start"]).ok();
    process::until("the cancel has arrived", || lab.state("1") == "CANCELLED");
    process::until("and is known here", || client.state(&id) == "CANCELLED");
    let waited = process::finish(waits, "grid wait".to_owned()).expect(130);
    assert!(waited.out().contains(r#""state":"CANCELLED""#), "{waited:?}");
    assert_eq!(talk.count(), 0, "it is said once");
}

#[test]
fn another_front_that_knows_the_owner_leads_there_too() {
    let (client, front, lab) = three();
    let other = Grid::new();
    other.grid(["distributor", "add", "lab-1", "--tier", "2", "--endpoint", lab.home().to_str().unwrap()]).ok();
    client.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", other.home().to_str().unwrap()]).ok();
    let id = client.submit(["--", "echo", "hello"]);
    client.grid(["wait", &id]).ok();
    let away = Away::take(&front, &[&client, &front]);
    assert_eq!(client.grid(["logs", &id]).ok(), "hello");
    assert_eq!(client.show(&id)["remote"], json!({"distributor": "lab-x", "id": "1"}));
    // And new tasks go that way.
    assert_eq!(client.grid(["submit", "--json", "--", "true"]).json()["route"][0], "front-b");
    away.give_back();
}

#[test]
fn task_without_any_answer_is_given_up_by_hand_only() {
    let (mut client, front, lab) = three();
    client.grid(["config", "set", "peer_timeout", "1s"]).ok();
    client.grid(["dispatcher", "stop"]).expect(0);
    // Should the client's dispatcher settle it before the first tier is gone, there is nobody who takes it.
    front.grid(["distributor", "drain", "lab-x", "tier2"]).ok();
    // The command dies after the row is written and before anything is sent; then the first tier is gone.
    client.set_env("GRID_FAILPOINT", "way-before-place");
    client.grid(["submit", "--", "true"]).expect(137);
    client.unset_env("GRID_FAILPOINT");
    let away = Away::take(&front, &[&client, &front]);
    let shown = client.show("1");
    assert_eq!((&shown["state"], &shown["remote"]), (&json!("PENDING"), &json!(null)), "{shown}");
    process::until("it was asked for", || client.show("1")["reason"].to_string().contains("no answer from"));
    client.grid(["logs", "1"]).expect(1).says(&["--forget 1"]);
    client.grid(["cancel", "--forget", "1"]).expect(0).says(&["may still run"]);
    assert_eq!(client.state("1"), "CANCELLED");
    client.grid(["wait", "1"]).expect(130);
    away.give_back();
    assert_eq!(lab.tasks(), 0);
    front.grid(["distributor", "resume", "lab-x", "tier2"]).ok();
    client.grid(["run", "--", "true"]).ok();
    client.grid(["cancel", "--forget", "2"]).expect(2).says(&["has ended"]);
    assert_eq!(client.state("2"), "COMPLETED");
}

#[test]
fn a_host_without_grid_is_told_to_get_it() {
    let client = Grid::new();
    let ssh = client.file("ssh");
    // A login there, with the PATH that it has.
    std::fs::write(&ssh, "#!/bin/sh\nfor line; do :; done\nPATH=/usr/bin:/bin exec /bin/sh -c \"$line\"\n").unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    client.grid(["config", "set", "ssh.command", ssh.to_str().unwrap()]).ok();
    let add = ["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:far"];
    let told = client.grid(add).expect(0).says(&["grid can't be started there", "install grid on far", "ssh far grid"]);
    assert!(!told.err().contains("--remote-dir"), "{told:?}");
}

#[test]
fn a_lab_that_stands_still_makes_no_front_silent() {
    let (client, front, lab) = three();
    for home in [&client, &front] {
        home.grid(["config", "set", "peer_timeout", "1s"]).ok();
        home.grid(["dispatcher", "stop"]);
    }
    let id = client.submit(["-H", "--", "true"]);
    let mut all: Vec<Pid> = lab.processes().into_iter().filter_map(Pid::from_raw).collect();
    all.retain(|pid| kill_process(*pid, Signal::STOP).is_ok());
    assert!(!all.is_empty());
    let shown = client.show(&id);
    assert!(shown["reason"].as_str().unwrap().contains("no answer from lab-x"), "{shown}");
    let members = client.grid(["distributor", "list"]).ok();
    for pid in all {
        let _ = kill_process(pid, Signal::CONT);
    }
    assert!(!members.contains("SILENT"), "the front has answered: {members}");
    client.grid(["release", &id]).ok();
    client.grid(["wait", &id]).ok();
}

#[test]
fn a_home_restored_elsewhere_is_found_there_and_says_what_it_does_not_know() {
    let (client, front, lab) = three();
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", front.home().to_str().unwrap()]).ok();
    lab.grid(["backup", "copy.db"]).ok();
    let id = client.submit(["-H", "--", "true"]);
    for home in [&client, &front, &lab] {
        home.grid(["dispatcher", "stop"]);
    }
    std::fs::rename(lab.home(), lab.home().with_extension("lost")).unwrap();
    let new = lab.file("restored").display().to_string();
    lab.sh(&format!("GRID_HOME={new} grid restore copy.db")).expect(0);
    front.grid(["distributor", "allow", "lab-x", "--endpoint", &new]).ok();
    // What it says of itself is where it lies now.
    lab.sh(&format!("GRID_HOME={new} grid distributor push")).expect(0);
    let endpoint = || front.grid(["distributor", "show", "lab-x", "--json"]).json()["attributes"]["endpoint"].clone();
    assert_eq!(endpoint()["value"], json!(new));
    let shown = client.show(&id);
    assert!(shown["reason"].as_str().unwrap().contains("does not know it any more"), "{shown}");
    client.grid(["wait", &id]).expect(125).says(&["does not know it any more", "grid cancel --forget 1"]);
    client.grid(["cancel", "--forget", &id]).expect(0);
}

#[test]
fn a_home_that_is_moved_away_is_left_alone_where_it_was() {
    let (client, front, lab) = three();
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", front.home().to_str().unwrap()]).ok();
    let gate = lab.fifo("gate");
    let id = client.submit(["--", "cat", gate.to_str().unwrap()]);
    client.until_state(&id, "RUNNING");
    let dispatcher = Pid::from_raw(lab.dispatcher().unwrap()).unwrap();
    let (old, new) = (lab.home().to_owned(), lab.home().with_extension("moved"));
    std::fs::rename(&old, &new).unwrap();
    // Whoever had it open is asked; the dispatcher has a task to follow and a change to report.
    client.grid(["show", &id]).ok();
    assert!(process::wait_pid_gone(dispatcher, process::HANG), "the dispatcher ends");
    client.grid(["cancel", &id]).expect(0);
    assert!(!old.exists(), "{:?}", std::fs::read_dir(&old).map(|all| all.count()));
    let log = std::fs::read_to_string(new.join("run/dispatcher.log")).unwrap();
    // It notices by the lock of its home or by the database, whichever it looks at first.
    assert!(log.contains("it was moved or removed") || log.contains("this home was moved, removed"), "{log}");
    // Where it lies now it goes on.
    let lab = lab.at(new);
    std::fs::write(&gate, "through\n").unwrap();
    lab.grid(["wait", "1"]).ok();
    assert_eq!(lab.grid(["logs", "1"]).ok(), "through");
    drop(front);
}

#[test]
fn a_cancel_that_was_recorded_goes_before_a_release() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    lab.grid(["server", "drain", "local"]).ok();
    let ran = lab.file("ran");
    let id = client.submit(["--", "touch", ran.to_str().unwrap()]);
    lab.grid(["backup", "copy.db"]).ok();
    for home in [&client, &front, &lab] {
        home.grid(["dispatcher", "stop"]).expect(0);
    }
    std::fs::rename(lab.home(), lab.home().with_extension("lost")).unwrap();
    client.grid(["cancel", &id]).expect(0).says(&["gets the cancel as soon as"]);
    // It comes back from its backup, and holds what waited. Whoever asked in vain just now does not ask by itself for a while.
    lab.grid(["restore", "copy.db"]).ok();
    lab.grid(["server", "resume", "local"]).ok();
    assert_eq!(lab.state("1"), "HELD");
    client.grid(["release", &id]).expect(1).says(&["is not held: CANCELLED"]);
    assert_eq!((client.state(&id).as_str(), lab.state("1").as_str()), ("CANCELLED", "CANCELLED"));
    assert!(!ran.exists());
}

#[test]
fn interrupted_run_does_not_wait_for_a_silent_home_and_its_task_never_runs() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    lab.grid(["server", "drain", "local"]).ok();
    let ran = client.file("ran");
    let mut run = client.beside(["run", "--", "touch", ran.to_str().unwrap()]);
    process::until("it lies in the lab", || lab.tasks() == 1);
    process::until("and that is known", || client.sql("select home from away_view")[0]["home"].is_string());
    // It goes with all that works for it: whoever has its database open would still answer.
    std::fs::rename(lab.home(), lab.home().with_extension("away")).unwrap();
    process::until("nobody works for it", || {
        let all: Vec<Pid> = lab.processes().into_iter().filter_map(Pid::from_raw).collect();
        all.iter().for_each(|pid| {
            let _ = kill_process(*pid, Signal::KILL);
        });
        all.is_empty()
    });
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    process::wait_for(&mut run, process::HANG).expect("it ends");
    let done = process::finish(run, "grid run".to_owned()).expect(130);
    assert!(done.err().contains("gets the cancel as soon as it does"), "{done:?}");
    // Whatever wakes that home next would start the task.
    let database = rusqlite::Connection::open(lab.home().with_extension("away").join("grid.db")).unwrap();
    database.execute("UPDATE server SET drained = NULL", []).unwrap();
    drop(database);
    std::fs::rename(lab.home().with_extension("away"), lab.home()).unwrap();
    // The cancel is told before anything else.
    client.grid(["logs", "-f", "1"]);
    assert_eq!((client.state("1").as_str(), lab.state("1").as_str()), ("CANCELLED", "CANCELLED"));
    lab.grid(["run", "--", "true"]).ok();
    assert!(!ran.exists());
}

#[test]
fn suspended_dispatcher_is_named_and_blocks_no_command() {
    let grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    let pid = grid.grid(["dispatcher", "status", "--json"]).json()["pid"].as_i64().unwrap();
    let process = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let named = format!("the dispatcher (process {pid}) is stopped: `kill -CONT {pid}`");
    grid.grid(["dispatcher", "status"]).expect(1).says(&[&named]);
    grid.grid(["dispatcher", "stop"]).expect(1).says(&[&named]);
    grid.grid(["server", "list"]).ok();
    let id = grid.submit(["--", "true"]);
    kill_process(process, Signal::CONT).unwrap();
    grid.grid(["wait", &id]).ok();
}

/// Two first tiers: one that redirected and fell silent, and another one that knows the same second tier.
struct Fronts {
    redirected: Endpoint,
    /// What each says when it is asked where the task is.
    say: [Result<&'static str, &'static str>; 2],
}

impl Peers for Fronts {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        if let Question::PlaceOnGo(_) = question {
            each(Answer::Redirect { members: vec![stranger()] });
            return Err(PeerError::Cut("it went away".to_owned()));
        }
        let words = self.say[usize::from(*endpoint != self.redirected)];
        words.map(|said| Answer::Denied(said.to_owned())).map_err(|why| PeerError::Unreached(why.to_owned()))
    }
}

#[test]
fn search_left_open_reports_the_first_real_answer_and_its_home() {
    let (_world, dir) = World::new();
    let homes = ["client", "a", "b"].map(|name| dir.join(name));
    let [mut client, a, b] = homes.map(|home| found(&home, 1));
    know(&mut client, "front-a", Tier::First, &a);
    know(&mut client, "front-b", Tier::First, &b);
    let own = client.view().distributors(Tier::First).unwrap()[0].id;
    client
        .write(Durability::Normal, |tx| tx.set_distributor_drained(own, Some("")))
        .map_err(|e: StoreError| e)
        .unwrap();
    let of = |home: &Store| Endpoint::Path(home.home().dir().to_owned());
    let (request, principal) = (request(), principal());
    for (say, told) in [
        ([Err("it is down"), Err("nobody is there")], format!("no answer from {} since", of(&a))),
        (
            [Ok("not for you"), Err("nobody is there")],
            format!("{} does not say whether it holds it: not for you", of(&a)),
        ),
        ([Err("it is down"), Ok("not for you")], format!("{} does not say whether it holds it: not for you", of(&b))),
    ] {
        let mut fronts = Fronts { redirected: of(&a), say };
        let envelope = envelope(None, seal::seal(&request).unwrap().0);
        let placed =
            place(&mut context(&mut client, &mut fronts), &mut PlacementRequest::new(envelope, &request, &principal))
                .unwrap();
        let SearchOutcome::Open { task, .. } = placed else { panic!("{placed:?}") };
        let away = client.view().away(task).unwrap().unwrap();
        assert_eq!(reconcile(&mut context(&mut client, &mut fronts), &away, &principal).unwrap(), Reconciled::Open);
        let reason = client.view().task(task).unwrap().unwrap().reason.unwrap();
        let reason = reason.words();
        assert!(reason.starts_with(&told), "{reason}");
        assert!(!reason.contains("nobody is there"), "the other one's words: {reason}");
    }
}

#[test]
fn dispatcher_stop_works_while_a_wait_starts_another() {
    let grid = Grid::new();
    grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "read x < go"]);
    grid.until_state(&id, "RUNNING");
    let waits = grid.beside(["wait", &id]);
    for _ in 0..10 {
        grid.grid(["dispatcher", "start"]).ok();
        grid.grid(["dispatcher", "stop"]).ok();
    }
    grid.sh("echo > go").ok();
    process::finish(waits, "grid wait".to_owned()).expect(0);
}

#[test]
fn cancel_that_waits_does_not_wait_for_a_task_whose_cancel_is_refused() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    let gone = client.submit(["-H", "--", "true"]);
    lab.grid(["cancel", "1"]).ok();
    lab.grid(["remove", "--discard", "1"]).ok();
    let runs = client.submit(["--", "sleep", "1000"]);
    client.until_state(&runs, "RUNNING");
    client.grid(["cancel", "--wait", &gone, &runs]).expect(1).says(&["does not know it any more", "--forget"]);
    assert_eq!(client.state(&runs), "CANCELLED");
    client.grid(["cancel", "--forget", &gone]).ok();
}

#[test]
fn silence_of_a_lab_behind_a_front_is_told_as_silence_and_not_as_a_refusal() {
    let (client, front, lab) = three();
    let id = client.submit(["-H", "--", "true"]);
    let owner = HomeId(lab.sql("SELECT id FROM home")[0]["id"].as_str().unwrap().parse().unwrap());
    let uuid: TaskUuid = serde_json::from_value(client.show(&id)["uuid"].clone()).unwrap();
    lab.grid(["dispatcher", "stop"]);
    front.grid(["dispatcher", "stop"]);
    let away = lab.home().with_extension("away");
    std::fs::rename(lab.home(), &away).unwrap();
    let ask = |version: u32| {
        let mut caller = Caller::greeted_in(version, &mut front.typed(["serve"]), stranger());
        let answer = caller.ask(Question::Task { owner, user: None, uuid, verb: Verb::Show { index: None } });
        caller.leaves();
        answer
    };
    assert!(matches!(ask(SILENCE_SINCE), Answer::No { .. }));
    assert!(matches!(ask(SILENCE_SINCE - 1), Answer::Denied(_)));
    let told = client.grid(["release", &id]).expect(1).says(&["no answer from where it is"]);
    assert!(!told.err().contains("refused"), "{told:?}");
    std::fs::rename(&away, lab.home()).unwrap();
    client.grid(["cancel", &id]).ok();
}

#[test]
fn move_says_which_distributors_gave_no_answer() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    front.grid(["distributor", "add", "lab-y", "--tier", "2", "--endpoint", "/nonexistent/home"]);
    lab.grid(["server", "drain", "local"]).ok();
    let id = client.submit(["--", "true"]);
    let told = client.grid(["move", &id]).expect(1);
    told.says(&["no other distributor that answers could start it now, and some give no answer", "lab-y"]);
    client.grid(["cancel", &id]).ok();
}
