//! How many members of a task are in each phase, and the state of the whole.

use super::state::{EndState, Phase, State};
use serde::{Deserialize, Serialize};

/// How many members of a task are in each phase. A single task is one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Not given to a server.
    pub waiting: u32,
    pub held: u32,
    /// Given to a server, not known to have begun.
    pub starting: u32,
    pub running: u32,
    pub completed: u32,
    pub failed: u32,
    pub timeout: u32,
    pub out_of_memory: u32,
    pub cancelled: u32,
    pub skipped: u32,
    pub lost: u32,
}

impl Counts {
    /// Members that failed.
    pub const fn faults(&self) -> u32 {
        self.failed + self.timeout + self.out_of_memory + self.lost
    }

    /// The state of the whole: that of its worst unended member, else FAILED if any failed.
    pub const fn state(&self) -> State {
        if self.running > 0 {
            State::Running
        } else if self.waiting + self.starting > 0 {
            State::Pending
        } else if self.held > 0 {
            State::Held
        } else if self.lost > 0 {
            State::Lost
        } else if self.failed > 0 {
            State::Failed
        } else if self.timeout > 0 {
            State::Timeout
        } else if self.out_of_memory > 0 {
            State::OutOfMemory
        } else if self.cancelled > 0 {
            State::Cancelled
        } else if self.skipped > 0 {
            State::Skipped
        } else {
            State::Completed
        }
    }

    /// The number in a public state; PENDING counts those that are starting too.
    pub const fn of(&self, state: State) -> u32 {
        match state {
            State::Pending => self.waiting + self.starting,
            State::Held => self.held,
            State::Running => self.running,
            State::Completed => self.completed,
            State::Failed => self.failed,
            State::Timeout => self.timeout,
            State::OutOfMemory => self.out_of_memory,
            State::Cancelled => self.cancelled,
            State::Skipped => self.skipped,
            State::Lost => self.lost,
        }
    }

    /// The number in one phase.
    pub const fn phase_mut(&mut self, phase: Phase) -> &mut u32 {
        match phase {
            Phase::Waiting => &mut self.waiting,
            Phase::Held => &mut self.held,
            Phase::Starting => &mut self.starting,
            Phase::Running => &mut self.running,
            Phase::Ended(EndState::Completed) => &mut self.completed,
            Phase::Ended(EndState::Failed) => &mut self.failed,
            Phase::Ended(EndState::Timeout) => &mut self.timeout,
            Phase::Ended(EndState::OutOfMemory) => &mut self.out_of_memory,
            Phase::Ended(EndState::Cancelled) => &mut self.cancelled,
            Phase::Ended(EndState::Skipped) => &mut self.skipped,
            Phase::Ended(EndState::Lost) => &mut self.lost,
        }
    }

    /// Members that have not ended.
    pub const fn unended(&self) -> u32 {
        self.waiting + self.held + self.starting + self.running
    }

    /// All members.
    pub const fn size(&self) -> u32 {
        self.unended()
            + self.completed
            + self.failed
            + self.timeout
            + self.out_of_memory
            + self.cancelled
            + self.skipped
            + self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_have_ended_exactly_when_no_member_is_unended(waiting in 0u32..2, held in 0u32..2, starting in 0u32..2, running in 0u32..2, completed in 0u32..3, failed in 0u32..3) {
            let counts = Counts { waiting, held, starting, running, completed, failed, ..Counts::default() };
            prop_assert_eq!(counts.state().ended(), counts.unended() == 0);
            prop_assert_eq!(State::ALL.iter().map(|s| counts.of(*s)).sum::<u32>(), counts.size());
        }
    }
}
