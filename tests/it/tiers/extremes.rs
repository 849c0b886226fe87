//! Every message between homes with random and extreme values in every field: whoever sends it, it costs that sender at most. The
//! tasks of others go on, the dispatcher lives, and what was kept can be read.

use super::hostile::envelope;
use super::world::{World, context, found, principal, request};
use crate::support::Grid;
use crate::support::caller::{Caller, stranger};
use crate::support::lies::{Lie, config, encoded, framed, lies, with};
use grid::distributor::peers::{PeerError, Peers};
use grid::distributor::place::{PlacementRequest, place};
use grid::distributor::{dry, reconcile};
use grid::model::attempt::Stream;
use grid::model::attribute::Value;
use grid::model::command::Environment;
use grid::model::distributor::{Load, Policy, Tier};
use grid::model::endpoint::Endpoint;
use grid::model::files::{Digest, Fetch, Sent, Workplace};
use grid::model::id::{HomeId, Index, TaskId, TaskUuid};
use grid::model::resources::Bytes;
use grid::model::task::{Counts, Members, Request, State};
use grid::model::time::Timestamp;
use grid::protocol::distributor::{
    Answer, FromServe, How, Offer, Offered, Placed, Question, Refused, Report, ServerOrder, Snapshot, ToServe, Verb,
    Way, Why,
};
use grid::protocol::envelope::{Envelope, Sealed};
use grid::protocol::{frame, seal};
use grid::store::{Durability, Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::io::Write;
use std::time::Duration;

/// A task with something in every field.
fn rich() -> Request {
    let mut task = request();
    task.demand.needs.mem = Some(Bytes(1 << 20));
    task.demand.constraint = Some("server.cpus > 0".into());
    task.demand.prefer = Some("server.power".into());
    task.demand.exclude = vec!["lab-q/none".parse().unwrap()];
    task.demand.name = Some("rich".into());
    task.demand.profile = Some("film".parse().unwrap());
    task.demand.priority = -1;
    let list = Value::List(vec![Value::Int(1), Value::Double(0.5)]);
    task.demand.labels =
        [("a".into(), Value::Double(1.5)), ("b".into(), list), ("c".into(), "text".into()), ("d".into(), true.into())]
            .into();
    task.launch.home = Some("/tmp".into());
    task.launch.env = Environment(vec![("A".into(), "b".into())]);
    task.launch.time_limit = Some(Duration::from_secs(60));
    task.launch.stdout = Some("/dev/null".into());
    task.launch.stderr = Some("/dev/null".into());
    task.launch.stdin = Some(b"in".to_vec());
    task.lost_after = Some(Duration::from_secs(60));
    task.retries = 1;
    task
}

/// Tasks of every shape.
fn tasks() -> Vec<Request> {
    let array = Request { members: Members::Range { first: 1, step: 2, count: 3, at_once: Some(1) }, ..rich() };
    let lines =
        Request { members: Members::Lines { lines: vec!["one".into(), "two".into()], at_once: None }, ..rich() };
    let mut files = rich();
    let sent = Sent { bundle: Digest([7; 32]), size: 10, files: 1, below: Default::default() };
    files.launch.workplace = Workplace::Own(sent);
    let pattern = grid::model::files::RelPath::new(std::path::Path::new("out*")).unwrap();
    files.launch.fetch = Some(Fetch { patterns: vec![pattern], changed: true, into: "/tmp".into() });
    vec![rich(), array, lines, files]
}

/// An envelope of a task in which one value is a lie.
fn lying_envelope(user: Option<&str>, lie: Lie) -> Envelope {
    let all = tasks();
    let (sealed, list) = seal::seal(&all[lie.message % all.len()]).unwrap();
    let in_list = list.is_some() && lie.value.is_multiple_of(3);
    let lied = |sealed: Sealed, lies: bool| {
        if lies { Sealed::from_bytes(with(sealed.as_bytes(), lie)) } else { sealed }
    };
    Envelope { list: list.map(|list| lied(list, in_list)), ..envelope(user, lied(sealed, !in_list)) }
}

/// Where the questions go, and what they are about.
struct About<'a> {
    owner: HomeId,
    user: Option<&'a str>,
    /// A task of the asker's that has ended.
    ended: TaskUuid,
    lab: HomeId,
}

/// Every question.
fn questions(about: &About<'_>) -> Vec<Question> {
    let About { owner, ended, lab, .. } = *about;
    let user: Option<grid::model::name::Name> = about.user.map(|name| name.parse().unwrap());
    let sealed = || envelope(about.user, seal::seal(&rich()).unwrap().0);
    let way = Way { front: "f".into(), member: "m".into(), search: r#"{"tiers":[]}"#.into() };
    let report = || Report {
        name: "lab-x".parse().unwrap(),
        there: "tier2".parse().unwrap(),
        home: lab,
        incarnation: 1,
        sequence: 3,
        load: Load { servers: 1, slots: 4, running: 1, waiting: 0, idle_cpus: 1.0, power: 1.0 },
        apps: vec!["blender".into()],
        health: "UP".into(),
        release: "0".into(),
        why: "event".into(),
        period_ms: None,
    };
    let at = Some("tier2".parse().unwrap());
    let index = Some(Index(0));
    let mut all = vec![
        Question::Place(sealed()),
        Question::Look(sealed()),
        Question::Offer {
            at: at.clone(),
            envelope: sealed(),
            called: Some("lab".parse().unwrap()),
            why: true,
            even_drained: true,
        },
        Question::Find {
            uuid: TaskUuid::new(),
            round: 1_999,
            onward: true,
            age_ms: 5,
            among: Some(vec![owner]),
            user: user.clone(),
        },
        Question::States { owner, user: user.clone(), uuids: vec![ended] },
        Question::Watch { owner, user: user.clone(), uuids: vec![ended] },
        Question::Register { offers: "ssh:lab".parse().unwrap(), report: report() },
        Question::Transfer(report()),
        Question::Manage {
            user: user.clone(),
            at: at.clone(),
            server: "local".parse().unwrap(),
            order: ServerOrder::Drain { reason: "fan".into() },
        },
    ];
    all.extend([How::Now, How::Queue, How::Keep].map(|how| Question::Commit {
        at: at.clone(),
        envelope: sealed(),
        how,
        way: way.clone(),
    }));
    let verbs = [
        Verb::Show { index },
        Verb::Explain { index },
        Verb::Cancel { index, grace_ms: 100 },
        Verb::Hold { index },
        Verb::Release { index },
        Verb::Retry { index, failed_only: true },
        Verb::Wait { index },
        Verb::Logs { index, streams: vec![Stream::Out], attempt: Some(1) },
        Verb::Follow { index, streams: vec![Stream::Out] },
        Verb::Send { offset: 0, bytes: b"x".to_vec() },
        Verb::Fetched { index },
        Verb::Fetch { index: Index(0), offset: 0 },
    ];
    all.extend(verbs.map(|verb| Question::Task { owner, user: user.clone(), uuid: ended, verb }));
    all
}

/// Somebody who lies to `grid serve`, over as many sessions as it takes.
struct Liar<'a> {
    grid: &'a Grid,
    credentials: &'a [&'a str],
    about: About<'a>,
    /// Whose dispatcher must stay the same.
    dispatcher: i32,
    caller: Option<Caller>,
    ticket: u64,
    sessions: usize,
}

impl Liar<'_> {
    fn caller(&mut self) -> &mut Caller {
        if self.ticket.is_multiple_of(60) {
            // The pace of a user is not what is tried here.
            self.leave();
            let _ = std::fs::remove_dir_all(self.grid.home().join("run/users"));
        }
        let (grid, credentials, lab) = (self.grid, self.credentials, self.about.lab);
        self.caller.get_or_insert_with(|| Caller::greeted(grid.typed(["serve"]).args(credentials), lab))
    }

    fn leave(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.leaves();
        }
    }

    /// Says these bytes, and asks something after it: it is answered, or the session has ended.
    fn say(&mut self, body: &[u8]) {
        self.ticket += 2;
        let ticket = self.ticket + 1;
        let after = Question::States { owner: self.about.owner, user: None, uuids: Vec::new() };
        let mut wire = framed(body);
        frame::encode(&ToServe::Drop { ticket: ticket - 1 }, &mut wire).unwrap();
        frame::encode(&ToServe::Ask { ticket, question: after }, &mut wire).unwrap();
        let caller = self.caller();
        let mut goes_on = caller.say.write_all(&wire).is_ok();
        while goes_on {
            match caller.hear() {
                Some(FromServe::Answer { ticket: of, last: true, .. }) if of == ticket => return,
                Some(FromServe::Answer { .. }) => {}
                _ => goes_on = false,
            }
        }
        self.sessions += 1;
        // It was shown the door, and did not crash.
        self.leave();
    }

    fn lie(&mut self, lie: Lie) {
        let ticket = self.ticket + 2;
        let questions = questions(&self.about);
        let question = questions[lie.message % questions.len()].clone();
        if lie.value.is_multiple_of(4) {
            let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
            let envelope = lying_envelope(self.about.user, Lie { value: lie.value / 4, ..lie });
            let how = if lie.place.is_multiple_of(2) { How::Queue } else { How::Keep };
            let question = Question::Commit { at: None, envelope, how, way };
            return self.say(&encoded(&ToServe::Ask { ticket, question }));
        }
        self.say(&with(&encoded(&ToServe::Ask { ticket, question }), lie));
    }
}

#[test]
fn lies_to_a_home_cost_only_the_liar() {
    let grid = Grid::new();
    for user in ["alice", "lab-x", "front-a"] {
        grid.grid(["user", "add", user]).ok();
    }
    grid.grid(["server", "set", "local", "--shared-account", "--slots", "8", "--cpus", "8"]).ok();
    // However long the lies take, the dispatcher has no other reason to end.
    grid.grid(["config", "set", "idle_exit", "1h"]).ok();
    let owner = HomeId(grid.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
    let ended = |user: &str| {
        let mut caller = Caller::greeted(grid.typed(["serve"]).args(["--as", user]), stranger());
        let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
        let envelope = envelope(None, seal::seal(&request()).unwrap().0);
        let uuid = envelope.uuid;
        let Answer::Placed(placed) = caller.ask(Question::Commit { at: None, envelope, how: How::Queue, way }) else {
            panic!()
        };
        grid.grid(["wait", &placed.task.id.to_string()]).ok();
        caller.leaves();
        uuid
    };
    grid.grid(["run", "--", "true"]).ok();
    let held = grid.submit(["-H", "--", "true"]);
    let dispatcher = grid.dispatcher().expect("a dispatcher");
    let roles: [(&[&str], Option<&str>, &str); 3] = [
        (&["--as", "alice"], None, "alice"),
        (&["--as", "lab-x"], None, "lab-x"),
        (&["--as", "front-a", "--vouch", "front-a"], Some("alice"), "alice"),
    ];
    let mut cut = 0;
    for (credentials, user, whose) in roles {
        let about = About { owner, user, ended: ended(whose), lab: stranger() };
        let mut liar = Liar { grid: &grid, credentials, about, dispatcher, caller: None, ticket: 0, sessions: 0 };
        let told = std::cell::RefCell::new(&mut liar);
        TestRunner::new(config(60))
            .run(&lies(), |lie| {
                let mut liar = told.borrow_mut();
                liar.lie(lie);
                if !liar.ticket.is_multiple_of(16) {
                    return Ok(());
                }
                prop_assert_eq!(
                    grid.dispatcher(),
                    Some(liar.dispatcher),
                    "{} {:?}",
                    grid.sh("cat \"$GRID_HOME/run/dispatcher.log\"").out(),
                    credentials
                );
                Ok(())
            })
            .unwrap();
        cut += liar.sessions;
        // Others are served meanwhile, by the same dispatcher.
        grid.grid(["run", "--", "true"]).expect(0);
    }
    grid.grid(["release", &held]).ok();
    grid.grid(["wait", &held]).expect(0);
    // What was kept can be told.
    grid.grid(["cancel", "--everyone", "all"]);
    grid.grid(["status", "--json"]).json();
    let all = grid.sql("select id from task_view");
    // Eight were honest: two at first, and an end and a run for each role. How many lies are taken depends on how fast they are told.
    assert!(all.len() > 8, "{} tasks were taken, {cut} sessions ended", all.len());
    for row in &all {
        let id = row["id"].to_string();
        grid.grid(["show", &id, "--json"]).json();
    }
    grid.grid(["explain", "--json", &all.last().unwrap()["id"].to_string()]).json();
    grid.grid(["doctor"]);
    grid.grid(["run", "--", "true"]).expect(0);
}

/// Every answer.
fn answers(home: HomeId, uuid: TaskUuid) -> Vec<Answer> {
    let task = Snapshot {
        uuid,
        id: TaskId(7),
        counts: Counts { running: 1, ..Counts::default() },
        server: Some("n1".into()),
        reason: Some("cpus".into()),
        exit_code: Some(1),
        shell_code: Some(1),
        signal: Some(9),
        started_at: Some(Timestamp(1_700_000_000_000)),
        ended_at: Some(Timestamp(1_700_000_000_001)),
    };
    let search = r#"{"tiers":[{"tier":1,"searched":[]},{"tier":2,"searched":[{"distributor":"m","answer":"a"}]}]}"#;
    let why = Why { verdicts: "[]".into(), chosen: Some("n1".into()), left_out: 1 };
    vec![
        Answer::Redirect { members: vec![home] },
        Answer::Working,
        Answer::Placed(Placed { home, member: "m".into(), task: task.clone(), search: search.into() }),
        Answer::Refused(Refused {
            summary: "no".into(),
            reasons: vec!["n1: no".into()],
            search: search.into(),
            answered: true,
            denied: false,
            waits_for: None,
        }),
        Answer::Unsure { member: "m".into(), why: "silent".into() },
        Answer::Offered(Offered {
            offer: Offer::Now,
            words: "can".into(),
            servers: vec!["n1: yes".into()],
            relaxed: vec!["less".into()],
            why: Some(why),
            drained: None,
        }),
        Answer::No { why: "no".into() },
        Answer::Nowhere,
        Answer::States(vec![task]),
        Answer::Report("{}".into()),
        Answer::Part("{".into()),
        Answer::Output { index: Index(0), stream: Stream::Out, bytes: b"out".to_vec() },
        Answer::Note("note".into()),
        Answer::Member(Index(1)),
        Answer::Ended { state: State::Completed, code: 0, exit_code: Some(0) },
        Answer::Done,
        Answer::Denied("no".into()),
        Answer::Unknown("what".into()),
        Answer::Have { bytes: 1 },
    ]
}

/// Other homes that lie. What can't be taken in comes to whoever asked as a link that broke.
struct Lab {
    home: HomeId,
    lie: Lie,
}

impl Peers for Lab {
    fn ask(
        &mut self,
        _: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let uuid = question.clone().envelope_mut().map_or_else(TaskUuid::new, |envelope| envelope.uuid);
        let answers = answers(self.home, uuid);
        let answer = answers[self.lie.message % answers.len()].clone();
        let body = with(&encoded(&FromServe::Answer { ticket: 1, answer, last: true }), self.lie);
        let wire = framed(&body);
        match frame::read(&mut &wire[..]) {
            Ok(Some(FromServe::Answer { answer: word @ (Answer::Redirect { .. } | Answer::Working), .. })) => {
                each(word);
                Ok(Answer::Nowhere)
            }
            Ok(Some(FromServe::Answer { answer, .. })) => Ok(answer),
            Ok(_) => Err(PeerError::Cut("it said something else".to_owned())),
            Err(error) => Err(PeerError::Cut(error.to_string())),
        }
    }
}

/// A client whose first tier lives in another home, and which has servers of its own and lives in the second tier of a front.
fn client() -> (Store, std::path::PathBuf, std::sync::Arc<World>) {
    let (world, dir) = World::new();
    let mut store = found(&dir, 1);
    store
        .write(Durability::Normal, |tx| {
            for (name, tier) in [("front-a", Tier::First), ("lab-x", Tier::Second)] {
                let id = tx.add_distributor(&name.parse().unwrap(), tier, Timestamp::now())?;
                tx.set_endpoint(id, &Endpoint::Path(format!("/{name}").into()), None)?;
                tx.set_allowed(id, true)?;
                tx.set_search_policy(tier, Policy::RoundRobin)?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
    (store, dir, world)
}

#[test]
fn lies_of_other_homes_are_not_stored() {
    let (mut store, _dir, _world) = client();
    let me = principal();
    let home = stranger();
    let store = std::cell::RefCell::new(&mut store);
    TestRunner::new(config(200))
        .run(&lies(), |lie| {
            let mut store = store.borrow_mut();
            let store = &mut **store;
            let mut lab = Lab { home, lie };
            let task = request();
            let sealed = || envelope(None, seal::seal(&task).unwrap().0);
            let placed = place(&mut context(store, &mut lab), &mut PlacementRequest::new(sealed(), &task, &me));
            prop_assert!(placed.is_ok(), "{placed:?}");
            prop_assert!(dry::search(&mut context(store, &mut lab), &mut sealed(), &task, &me).is_ok());
            for away in store.view().away_open(3).unwrap() {
                let reconciled = reconcile::reconcile(&mut context(store, &mut Lab { home, lie }), &away, &me);
                prop_assert!(reconciled.is_ok(), "{reconciled:?}");
            }
            // All that was kept of it can be read, by whoever reads it.
            let view = store.view();
            if let Some(id) = view.last_task(None).unwrap() {
                let row = view.task(id).unwrap().unwrap();
                prop_assert!(row.reason.as_ref().is_none_or(|reason| reason.words().len() < 64 << 10));
                serde_json::to_string(&row.counts).unwrap();
                view.steps(id).unwrap();
                view.away(id).unwrap();
            }
            view.away_unended(10).unwrap();
            Ok(())
        })
        .unwrap();
    let tasks = store.borrow().view().task_ids(TaskId(1), TaskId(i64::MAX)).unwrap().len();
    assert!(tasks > 50, "{tasks} tasks were kept");
}
