//! Tests of suspects.

use super::suspects::{Change, MOMENTS, Suspects, is_unlikely};
use crate::model::id::{ClassId, ServerId};
use crate::model::time::Timestamp;
use crate::store::failing::{Failing, KEPT, SuspectClasses};
use std::time::{Duration, Instant};

const CLASS: ClassId = ClassId(1);
const BAD: ServerId = ServerId(1);
const GOOD: ServerId = ServerId(2);

/// Failures on a server until it is a suspect; at most so many.
fn fail(suspects: &mut Suspects, server: ServerId, most: u32, now: Instant) -> Option<u32> {
    (1..=most).find(|_| suspects.failed(CLASS, server, now).is_some())
}

#[test]
fn row_of_failures_is_unlikely_the_sooner_the_more_lived_elsewhere() {
    let least = |lived, failed| (1..1_000).find(|failures| is_unlikely(*failures, lived, failed));
    assert_eq!([least(1, 0), least(3, 0), least(20, 0)], [Some(7), Some(5), Some(5)]);
    assert_eq!([least(0, 0), least(0, 9)], [None, None], "nothing has lived elsewhere");
    assert_eq!([least(10, 10), least(1, 20)], [Some(10), Some(76)], "it fails as often elsewhere");
}

#[test]
fn server_is_suspected_once_the_class_lives_elsewhere() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    assert_eq!(fail(&mut suspects, BAD, 7, now), None);
    assert!(suspects.looks_for_life(CLASS, BAD) && suspects.closed_to(CLASS, now).is_empty());
    assert_eq!(suspects.lived(CLASS, GOOD, now, now), [Change::Suspected(BAD, 7)]);
    assert_eq!(suspects.closed_to(CLASS, now), [BAD]);
    assert_eq!(suspects.closed_to(ClassId(9), now), [BAD], "nothing lives there");
}

#[test]
fn fault_of_a_class_that_fails_everywhere_makes_no_suspect() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    // It was well until its command was changed.
    suspects.lived(CLASS, BAD, now, now);
    suspects.lived(CLASS, GOOD, now, now);
    for second in 1..200 {
        let at = now + Duration::from_secs(second);
        assert_eq!((suspects.failed(CLASS, BAD, at), suspects.failed(CLASS, GOOD, at)), (None, None));
    }
    assert_eq!(suspects.ahead(CLASS, BAD), None, "nor is it slowed down");
}

#[test]
fn life_on_a_suspect_clears_it_and_pauses_double_until_then() {
    let (mut suspects, mut now) = (Suspects::default(), Instant::now());
    suspects.lived(CLASS, GOOD, now, now);
    fail(&mut suspects, BAD, 6, now);
    suspects.lived(CLASS, GOOD, now, now);
    assert!(fail(&mut suspects, BAD, 2, now).is_some());
    for pause in [30, 60, 120] {
        now = suspects.due_at().unwrap();
        assert_eq!(suspects.take_due(now), [BAD]);
        assert!(suspects.closed_to(CLASS, now).is_empty() && suspects.ahead(CLASS, BAD) == Some(1));
        suspects.started(BAD, now);
        assert_eq!(suspects.due_at(), Some(now + Duration::from_secs(pause)));
        suspects.failed(CLASS, BAD, now);
    }
    assert_eq!(suspects.lived(CLASS, BAD, now, now), [Change::Cleared(BAD)]);
    assert!(suspects.closed_to(CLASS, now).is_empty() && !suspects.is_suspect(BAD));
}

#[test]
fn end_of_what_began_before_the_failures_clears_nothing() {
    let (mut suspects, began) = (Suspects::default(), Instant::now());
    let now = began + MOMENTS;
    fail(&mut suspects, BAD, 7, now);
    assert_eq!(suspects.lived(CLASS, BAD, began, now), []);
    assert_eq!(suspects.lived(CLASS, GOOD, now, now), [Change::Suspected(BAD, 7)]);
    assert_eq!(suspects.lived(CLASS, BAD, began, now), []);
    assert!(suspects.is_suspect(BAD));
}

#[test]
fn suspect_for_one_class_stays_open_to_others_that_live_there() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    fail(&mut suspects, BAD, 7, now);
    suspects.lived(ClassId(9), BAD, now, now + MOMENTS);
    suspects.lived(CLASS, GOOD, now, now + MOMENTS);
    assert_eq!(suspects.closed_to(CLASS, now + MOMENTS), [BAD]);
    assert!(suspects.closed_to(ClassId(9), now + MOMENTS).is_empty());
}

#[test]
fn suspect_is_opened_to_a_class_that_lives_there_beside_one_that_fails() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    for class in [CLASS, ClassId(9)] {
        (0..7).for_each(|_| assert!(suspects.failed(class, BAD, now).is_none() || class != CLASS));
        suspects.lived(class, GOOD, now, now);
    }
    assert_eq!(suspects.lived(ClassId(9), BAD, now, now), [Change::Opened(BAD)]);
    assert_eq!(suspects.lived(ClassId(9), BAD, now, now), [], "that is no news");
    assert_eq!([5, 9, CLASS.0].map(|id| suspects.closed_to(ClassId(id), now).len()), [0, 0, 1]);
}

#[test]
fn classes_of_one_task_each_make_a_suspect_together() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    let mut changes = Vec::new();
    for class in 1..=10 {
        changes.extend(suspects.failed(ClassId(class), BAD, now));
        changes.extend(suspects.lived(ClassId(class), GOOD, now, now));
    }
    assert_eq!(changes, [Change::Suspected(BAD, 10)]);
}

#[test]
fn suspect_without_starts_is_forgotten() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    suspects.restore(BAD, Failing { failures: 7, at: Timestamp(0), about: SuspectClasses::Any }, now);
    assert!(suspects.is_suspect(BAD) && suspects.closed_to(CLASS, now).is_empty());
    assert_eq!(suspects.expire(now + KEPT), []);
    assert_eq!(suspects.expire(now + KEPT * 2), [Change::Cleared(BAD)]);
}
