//! Frames between homes: questions, answers, and sealed tasks.

use super::*;
use crate::model::attempt::Stream;
use crate::model::attribute::Value;
use crate::model::demand::Demand;
use crate::model::distributor::Load;
use crate::model::endpoint::Endpoint;
use crate::model::id::TaskId;
use crate::model::resources::Needs;
use crate::model::task::{ClientFacts, Counts, Members, Request, State};
use crate::protocol::distributor::*;
use crate::protocol::envelope::{Envelope, Sealed};
use crate::protocol::seal;

#[test]
fn questions_are_those_of_the_first_release() {
    let mut all = vec![
        ("hello", ToServe::Hello { version_min: 1, version: 3, home: home(), incarnation: 2 }),
        ("drop", ToServe::Drop { ticket: 9 }),
        ("piece", ToServe::Piece { ticket: 9, bytes: vec![1, 2] }),
        ("taken", ToServe::Taken { ticket: 9, bytes: 4096 }),
    ];
    all.extend(questions().into_iter().map(|(name, question)| (name, ToServe::Ask { ticket: 9, question })));
    check("to-serve", all);
}

#[test]
fn answers_are_those_of_the_first_release() {
    let unfit = FromServe::Unfit { error: "too new".into() };
    let hello = FromServe::Hello { version: 3, home: home(), incarnation: 2, release: "0.1.0".into() };
    let mut all = vec![("hello", hello), ("unfit", unfit)];
    let of = |(name, answer)| (name, FromServe::Answer { ticket: 9, answer, last: true });
    all.extend(answers().into_iter().map(of));
    check("from-serve", all);
}

/// `check` does not see the sealed bytes: they are compared here.
#[test]
fn task_is_sealed_as_in_the_first_release() {
    let frames = frames();
    for (name, request) in requests() {
        let (sealed, list) = seal::seal(&request).unwrap();
        let then = Sealed::from_bytes(frames[format!("seal:{name}").as_str()].clone());
        let list_then = frames.get(format!("list:{name}").as_str());
        assert_eq!(list.as_ref().map(Sealed::as_bytes), list_then.map(Vec::as_slice), "{name}");
        let mut opened = seal::open(&then).unwrap();
        if let Some(list) = &list {
            seal::open_list(&mut opened, list).unwrap();
        }
        assert_eq!(opened, request, "{name}");
        let value = |sealed: &Sealed| rmpv::decode::read_value(&mut sealed.as_bytes()).unwrap();
        holds(name, &value(&sealed), &value(&then));
    }
}

fn requests() -> [(&'static str, Request); 3] {
    let demand = Demand {
        needs: Needs { cpus: 2, mem: Some(Bytes(1 << 30)) },
        apps: vec!["blender>=4.1".parse().unwrap()],
        constraint: Some("server.site == \"brno\"".into()),
        prefer: Some("server.power".into()),
        on: Some("lab-x/n1".parse().unwrap()),
        exclude: vec!["slow".parse().unwrap()],
        name: Some("long".into()),
        profile: Some("render".parse().unwrap()),
        priority: -3,
        shared_account: true,
        client: Default::default(),
        labels: [("scene".into(), Value::Int(7)), ("tags".into(), Value::texts(["a", "b"]))].into(),
    };
    let client = ClientFacts { host: "desk".into(), user: "me".into(), os: "debian".into(), arch: "x86_64".into() };
    let single = Request {
        demand,
        launch: launch(),
        members: Members::Single,
        retries: 2,
        retry_lost: true,
        lost_after: Some(Duration::from_secs(3600)),
        hold: true,
        hold_unmatched: true,
        user: Some("alice".parse().unwrap()),
        client,
    };
    let range = Members::Range { first: 1, step: 2, count: 50, at_once: Some(4) };
    let lines = Members::Lines { lines: vec![text("a b"), text("c")], at_once: None };
    [
        ("range", Request { members: range, ..single.clone() }),
        ("lines", Request { members: lines, ..single.clone() }),
        ("single", single),
    ]
}

fn envelope() -> Envelope {
    Envelope {
        version: 1,
        uuid: task(),
        round: 1_000,
        user: Some("alice".parse().unwrap()),
        hops: 1,
        sealed: Sealed::from_bytes(vec![1, 2, 3]),
        list: Some(Sealed::from_bytes(vec![4])),
    }
}

fn report() -> Report {
    let load = Load { servers: 3, slots: 8, running: 2, waiting: 1, idle_cpus: 5.5, power: 900.25 };
    Report {
        name: "lab-x".parse().unwrap(),
        there: "tier2".parse().unwrap(),
        home: home(),
        incarnation: 2,
        sequence: 17,
        load,
        apps: vec!["gcc".into()],
        health: "UP".into(),
        release: "0.1.0".into(),
        why: "change".into(),
        period_ms: None,
    }
}

fn questions() -> Vec<(&'static str, Question)> {
    let at = || Some("tier2".parse().unwrap());
    let way = Way { front: "front-a".into(), member: "lab-x".into(), search: "{}".into() };
    let user = || Some("alice".parse().unwrap());
    let manage = |order| Question::Manage { user: user(), at: at(), server: "n1".parse().unwrap(), order };
    let commit = |how| Question::Commit { at: at(), envelope: envelope(), how, way: way.clone() };
    let mut all = vec![
        ("place", Question::Place(envelope())),
        ("look", Question::Look(envelope())),
        ("offer", Question::Offer { at: at(), envelope: envelope(), called: at(), why: true, even_drained: false }),
        ("commit-now", commit(How::Now)),
        ("commit-queue", commit(How::Queue)),
        ("commit-keep", commit(How::Keep)),
        (
            "find",
            Question::Find {
                uuid: task(),
                round: 1_999,
                onward: true,
                age_ms: 5_000,
                among: Some(vec![home()]),
                user: None,
            },
        ),
        ("states", Question::States { owner: home(), user: user(), uuids: vec![task()] }),
        ("watch", Question::Watch { owner: home(), user: None, uuids: vec![task()] }),
        ("register", Question::Register { offers: Endpoint::Path("/srv/grid".into()), report: report() }),
        ("transfer", Question::Transfer(report())),
        ("drain", manage(ServerOrder::Drain { reason: "fan".into() })),
        ("resume", manage(ServerOrder::Resume)),
    ];
    let index = Some(Index(3));
    let verbs = vec![
        ("show", Verb::Show { index }),
        ("explain", Verb::Explain { index: None }),
        ("cancel", Verb::Cancel { index, grace_ms: 10_000 }),
        ("hold", Verb::Hold { index }),
        ("release", Verb::Release { index }),
        ("retry", Verb::Retry { index, failed_only: true }),
        ("wait", Verb::Wait { index }),
        ("logs", Verb::Logs { index, streams: vec![Stream::Out, Stream::Err], attempt: Some(2) }),
        ("follow", Verb::Follow { index, streams: vec![Stream::Err] }),
        ("send", Verb::Send { offset: 9, bytes: vec![0, 255] }),
        ("fetched", Verb::Fetched { index }),
        ("fetch", Verb::Fetch { index: Index(3), offset: 9 }),
    ];
    let ask = |verb| Question::Task { owner: home(), user: user(), uuid: task(), verb };
    all.extend(verbs.into_iter().map(|(name, verb)| (name, ask(verb))));
    all
}

fn answers() -> Vec<(&'static str, Answer)> {
    let counts = Counts { waiting: 1, running: 2, completed: 3, failed: 4, ..Counts::default() };
    let snapshot = Snapshot {
        uuid: task(),
        id: TaskId(12),
        counts,
        server: Some("n1".into()),
        reason: Some("no server fits now".into()),
        exit_code: Some(3),
        shell_code: Some(137),
        signal: Some(9),
        started_at: Some(at()),
        ended_at: Some(at()),
    };
    let placed = Placed { home: home(), member: "lab-x".into(), task: snapshot.clone(), search: "{}".into() };
    let why = Why { verdicts: "[]".into(), chosen: Some("n1".into()), left_out: 3 };
    let offered = |offer, why| Offered {
        offer,
        words: "can start it now".into(),
        servers: vec!["n1: busy".into()],
        relaxed: vec!["with -c 1, 1 server matches".into()],
        why,
        drained: None,
    };
    let refused = Refused {
        summary: "no server could ever run this".into(),
        reasons: vec!["lab-x/n1: cpus".into()],
        search: "{}".into(),
        answered: true,
        denied: false,
        waits_for: None,
    };
    let no = || "it was refused before".to_owned();
    vec![
        ("redirect", Answer::Redirect { members: vec![home()] }),
        ("working", Answer::Working),
        ("placed", Answer::Placed(placed)),
        ("refused", Answer::Refused(refused)),
        ("unsure", Answer::Unsure { member: "lab-x".into(), why: "cut".into() }),
        ("offered-now", Answer::Offered(offered(Offer::Now, Some(why)))),
        ("offered-later", Answer::Offered(offered(Offer::Later, None))),
        ("offered-never", Answer::Offered(offered(Offer::Never, None))),
        ("offered-keep", Answer::Offered(offered(Offer::Keep, None))),
        ("no", Answer::No { why: no() }),
        ("nowhere", Answer::Nowhere),
        ("states", Answer::States(vec![snapshot])),
        ("report", Answer::Report("{}".into())),
        ("part", Answer::Part("[".into())),
        ("output", Answer::Output { index: Index(3), stream: Stream::Out, bytes: b"x\0".to_vec() }),
        ("note", Answer::Note("held".into())),
        ("member", Answer::Member(Index(3))),
        ("ended", Answer::Ended { state: State::OutOfMemory, code: 137, exit_code: None }),
        ("done", Answer::Done),
        ("denied", Answer::Denied(no())),
        ("unknown", Answer::Unknown(no())),
        ("have", Answer::Have { bytes: 4096 }),
    ]
}
