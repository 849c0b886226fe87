//! Lies of other homes: refused, cut, and never stored.

use super::*;
use crate::model::id::{HomeId, TaskId, TaskUuid};
use crate::model::time::Timestamp;
use crate::protocol::distributor::HeardEnd;
use crate::protocol::frame;

fn stands(counts: Counts) -> Snapshot {
    Snapshot {
        uuid: TaskUuid::new(),
        id: TaskId(7),
        counts,
        server: Some("s".into()),
        reason: None,
        exit_code: None,
        shell_code: None,
        signal: None,
        started_at: None,
        ended_at: None,
    }
}

fn one() -> Snapshot {
    stands(Counts { running: 1, ..Counts::default() })
}

/// The answer as decoded from a frame.
fn decoded(answer: Answer) -> Result<Answer, String> {
    let mut wire = Vec::new();
    frame::encode(&FromServe::Answer { ticket: 1, answer, last: true }, &mut wire).unwrap();
    match frame::read(&mut &wire[..]).map_err(|error| error.to_string())? {
        Some(FromServe::Answer { answer, .. }) => Ok(answer),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn unacceptable_answer_of_a_home_is_refused_with_its_field() {
    let home = HomeId(uuid::Uuid::now_v7());
    let most = Counts { running: u32::MAX, lost: u32::MAX, ..Counts::default() };
    let placed = |task| Answer::Placed(Placed { home, member: "m".into(), task, search: String::new() });
    for (lie, words) in [
        (placed(stands(most)), "counts: a task of 8589934590 members"),
        (Answer::States(vec![one(), stands(Counts::default())]), "counts: a task of 0 members"),
        (placed(Snapshot { id: TaskId(-1), ..one() }), "id: -1"),
        (placed(Snapshot { ended_at: Some(Timestamp(i64::MIN)), ..one() }), "ended_at: a time of"),
        (Answer::Have { bytes: u64::MAX }, "bytes: 18446744073709551615"),
        (Answer::Redirect { members: vec![home; HOMES_MAX + 1] }, "members: 10001 entries"),
    ] {
        let told = decoded(lie).expect_err(words);
        assert!(told.contains(words), "{words}: {told}");
    }
    let true_one = placed(one());
    assert_eq!(decoded(true_one.clone()), Ok(true_one));
}

#[test]
fn texts_of_another_home_are_cut_when_decoded() {
    let long = "x".repeat(1 << 20);
    let reasons = vec![long.clone(); 10];
    let refused = Refused {
        summary: long.clone(),
        reasons: reasons.clone(),
        search: long.clone(),
        answered: true,
        denied: false,
        waits_for: None,
    };
    let home = HomeId(uuid::Uuid::now_v7());
    let task = Snapshot { reason: Some(long.clone()), server: Some(long.clone()), ..one() };
    for answer in [
        Answer::Refused(refused),
        Answer::Placed(Placed { home, member: long.clone(), task, search: long.clone() }),
        Answer::Unsure { member: long.clone(), why: long.clone() },
        Answer::No { why: long.clone() },
        Answer::Denied(long),
    ] {
        let kept = format!("{:?}", decoded(answer).unwrap());
        assert!(kept.len() < 16 * bounds::REMARK_MAX, "{} bytes are left", kept.len());
    }
}

#[test]
fn unacceptable_question_is_refused_alone() {
    let owner = HomeId(uuid::Uuid::now_v7());
    let task = |verb| Question::Task { owner, user: None, uuid: TaskUuid::new(), verb };
    let uuids = vec![TaskUuid::new(); TASKS_MAX + 1];
    let ends = vec![HeardEnd { uuid: TaskUuid::new(), ended_at: None }; TASKS_MAX + 1];
    for (lie, words) in [
        (task(Verb::Cancel { index: None, grace_ms: u64::MAX }), "grace_ms"),
        (task(Verb::Follow { index: None, streams: vec![crate::model::attempt::Stream::Out; 9] }), "streams"),
        (Question::States { owner, user: None, uuids }, "uuids: 10001 entries"),
        (Question::Heard { owner, user: None, ends }, "ends: 10001 entries"),
        (
            Question::Find { uuid: TaskUuid::new(), round: u32::MAX, onward: true, age_ms: 0, among: None, user: None },
            "round: 4294967295",
        ),
    ] {
        let mut wire = Vec::new();
        frame::encode(&ToServe::Ask { ticket: 9, question: lie }, &mut wire).unwrap();
        let Ok(Some(ToServe::Ask { ticket: 9, question: asked })) = frame::read(&mut &wire[..]) else {
            panic!("the session is lost: {words}");
        };
        let told = question(&asked).expect_err(words).to_string();
        assert!(told.contains(words), "{words}: {told}");
    }
}
