//! Lanes: places on servers, held while attempts run in them one after the other.

use super::suspects::MOMENTS;
use crate::matching::Place;
use crate::model::id::{AttemptId, ClassId, LaneId, ServerId, TaskId};
use crate::model::resources::Needs;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// An attempt in a lane.
#[derive(Debug, Clone, Copy)]
pub struct LaneAttempt {
    pub attempt: AttemptId,
    pub task: TaskId,
    pub began: Option<Instant>,
}

/// A lane with its attempts.
#[derive(Debug)]
pub struct Lane {
    pub class: ClassId,
    pub task: TaskId,
    pub place: Place,
    pub needs: Needs,
    pub attempts: VecDeque<LaneAttempt>,
    /// The agent was asked to return the members that it has not started.
    pub recalled: bool,
}

impl Lane {
    /// When its running attempt began, if that is [`MOMENTS`] ago.
    pub fn lives_since(&self, now: Instant) -> Option<Instant> {
        let began = self.attempts.iter().filter_map(|held| held.began).min()?;
        (now.saturating_duration_since(began) >= MOMENTS).then_some(began)
    }
}

/// All lanes of this home.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: HashMap<LaneId, Lane>,
    of: HashMap<AttemptId, LaneId>,
    /// Lanes without attempts.
    empty: BTreeSet<LaneId>,
    /// Lanes with more than one attempt, and recalled ones: those that [`Lanes::stuck`] checks.
    watched: BTreeSet<LaneId>,
    /// How many lanes run members of each task.
    working: HashMap<TaskId, u32>,
    /// The run time of attempts of each class: it decides how many members a lane gets ahead.
    pace: HashMap<ClassId, Duration>,
}

/// How much work a lane gets ahead, so that short tasks need no round trip in between.
const AHEAD: Duration = Duration::from_millis(150);
/// How many members a lane gets ahead, at most.
const AHEAD_MAX: u32 = 128;

impl Lanes {
    /// Adds an attempt to a lane, and the lane if it is new.
    pub fn put(&mut self, id: LaneId, class: ClassId, place: Place, needs: Needs, held: LaneAttempt) {
        self.of.insert(held.attempt, id);
        let working = &mut self.working;
        let lane = self.lanes.entry(id).or_insert_with(|| {
            *working.entry(held.task).or_default() += 1;
            Lane { class, task: held.task, place, needs, attempts: VecDeque::new(), recalled: false }
        });
        if !lane.attempts.iter().any(|there| there.attempt == held.attempt) {
            lane.attempts.push_back(held);
        }
        self.empty.remove(&id);
        if lane.attempts.len() > 1 {
            self.watched.insert(id);
        }
    }

    /// Counts the lane for a task.
    pub fn count_for(&mut self, id: LaneId, task: TaskId) {
        if let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.task != task) {
            let before = std::mem::replace(&mut lane.task, task);
            *self.working.entry(task).or_default() += 1;
            self.stop_counting(before);
        }
    }

    /// Counts one lane less for a task.
    fn stop_counting(&mut self, task: TaskId) {
        if let Entry::Occupied(mut lanes) = self.working.entry(task) {
            *lanes.get_mut() -= 1;
            if *lanes.get() == 0 {
                lanes.remove();
            }
        }
    }

    /// One lane.
    pub fn get(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(&id)
    }

    /// All lanes.
    pub fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.lanes.iter().map(|(id, lane)| (*id, lane))
    }

    /// The lane and the task of an attempt.
    pub fn find(&self, attempt: AttemptId) -> Option<(LaneId, LaneAttempt)> {
        let id = *self.of.get(&attempt)?;
        let held = self.lanes.get(&id)?.attempts.iter().find(|h| h.attempt == attempt)?;
        Some((id, *held))
    }

    /// Notes that the command of an attempt runs.
    pub fn began(&mut self, attempt: AttemptId, now: Instant) {
        let held = self.of.get(&attempt).and_then(|id| self.lanes.get_mut(id));
        if let Some(held) = held.and_then(|lane| lane.attempts.iter_mut().find(|h| h.attempt == attempt)) {
            held.began.get_or_insert(now);
        }
    }

    /// Removes an attempt from its lane.
    pub fn drop_attempt(&mut self, attempt: AttemptId) -> Option<(LaneId, LaneAttempt)> {
        let found = self.find(attempt)?;
        self.of.remove(&attempt);
        if let Some(lane) = self.lanes.get_mut(&found.0) {
            lane.attempts.retain(|h| h.attempt != attempt);
            if lane.attempts.is_empty() {
                self.empty.insert(found.0);
            }
        }
        Some(found)
    }

    /// Removes an empty lane.
    pub fn close(&mut self, id: LaneId) -> Option<Lane> {
        let lane = self.lanes.remove(&id)?;
        self.empty.remove(&id);
        self.watched.remove(&id);
        self.stop_counting(lane.task);
        Some(lane)
    }

    /// Lanes without attempts.
    pub fn empty(&self) -> Vec<LaneId> {
        self.empty.iter().copied().collect()
    }

    /// How many lanes run members of a task: `%n` limits it.
    pub fn count_of(&self, task: TaskId) -> u32 {
        self.working.get(&task).copied().unwrap_or(0)
    }

    /// Learns the run time of an attempt of a class.
    pub fn learn(&mut self, class: ClassId, took: Duration) {
        let pace = self.pace.entry(class).or_insert(took);
        *pace = (*pace * 7 + took) / 8;
        if self.pace.len() > 10_000 {
            self.pace.clear();
        }
    }

    /// How many attempts a lane of this class may hold.
    pub fn window(&self, class: ClassId) -> u32 {
        let Some(pace) = self.pace.get(&class) else { return 1 };
        let fit = AHEAD.as_micros() / pace.as_micros().max(1);
        u32::try_from(fit).unwrap_or(AHEAD_MAX).clamp(1, AHEAD_MAX)
    }

    /// Lanes with members queued behind an attempt that runs longer than estimated. Each lane is given once.
    pub fn stuck(&mut self, now: Instant) -> Vec<(LaneId, Place)> {
        let mut stuck = Vec::new();
        self.watched.retain(|id| {
            let Some(lane) = self.lanes.get_mut(id) else { return false };
            let first_began = lane.attempts.iter().filter_map(|h| h.began).min();
            let long = first_began.is_some_and(|at| now.saturating_duration_since(at) > AHEAD * 2);
            if long && lane.attempts.len() > 1 && !lane.recalled {
                lane.recalled = true;
                stuck.push((*id, lane.place));
            } else if !long {
                lane.recalled = false;
            }
            lane.attempts.len() > 1 || lane.recalled
        });
        stuck
    }

    /// Lanes on a server with more than one attempt: all but the first are recalled. Each lane is given once.
    pub fn recall_on(&mut self, server: ServerId) -> Vec<LaneId> {
        let on = |lane: &Lane| lane.place.host == server && lane.attempts.len() > 1 && !lane.recalled;
        let lanes = self.lanes.iter_mut().filter(|(_, lane)| on(lane));
        lanes
            .map(|(id, lane)| {
                lane.recalled = true;
                *id
            })
            .collect()
    }

    /// True if the running attempt of a lane has taken longer than the work that a lane gets ahead.
    pub fn is_long(&self, id: LaneId, now: Instant) -> bool {
        let first = self.lanes.get(&id).and_then(|lane| lane.attempts.iter().filter_map(|h| h.began).min());
        first.is_some_and(|at| now.saturating_duration_since(at) > AHEAD)
    }

    /// True if a lane holds more than one attempt: [`Lanes::stuck`] has to be checked again later.
    pub fn any_ahead(&self) -> bool {
        let mut watched = self.watched.iter().filter_map(|id| self.lanes.get(id));
        watched.any(|lane| lane.attempts.len() > 1 && !lane.recalled)
    }

    /// Numbers for `dispatcher status`: lanes, and running attempts.
    pub fn counts(&self) -> (u32, u32) {
        let running = self.lanes.values().flat_map(|lane| &lane.attempts).filter(|h| h.began.is_some()).count();
        (u32::try_from(self.lanes.len()).unwrap_or(u32::MAX), u32::try_from(running).unwrap_or(u32::MAX))
    }

    /// True if no attempt is on a server.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}
