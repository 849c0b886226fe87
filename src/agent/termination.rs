//! How something is stopped: TERM, KILL after a grace, and KILL again for as long as something of it is left.

use crate::model::attempt::Cause;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// From TERM to KILL for what a command leaves behind, and from one KILL to the next.
pub const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// Which signal is due when.
#[derive(Debug, Default)]
pub struct Termination {
    /// Why it is stopped; None: no stop was requested.
    cause: Option<Cause>,
    kill_at: Option<Instant>,
}

impl Termination {
    /// Stops it with TERM, and with KILL after the grace. A later request can only shorten the grace.
    pub fn request(&mut self, cause: Cause, grace: Duration, now: Instant) -> Option<Signal> {
        let kill_at = now + grace;
        if self.cause.is_some() {
            self.kill_at = self.kill_at.map(|at| at.min(kill_at));
            return None;
        }
        self.cause = Some(cause);
        self.kill_at = Some(kill_at);
        Some(Signal::TERM)
    }

    /// Stops it with KILL.
    pub fn request_kill(&mut self, cause: Cause, now: Instant) -> Signal {
        self.cause = Some(cause);
        self.kill_at = Some(now + LEFTOVER_GRACE);
        Signal::KILL
    }

    /// KILL, once the grace is over, and again after each [`LEFTOVER_GRACE`].
    pub fn due(&mut self, now: Instant) -> Option<Signal> {
        self.kill_at.filter(|at| now >= *at)?;
        self.kill_at = Some(now + LEFTOVER_GRACE);
        Some(Signal::KILL)
    }

    /// The signal for what a command left behind at its end: TERM first, where no KILL is planned yet.
    pub fn due_for_leftovers(&mut self, now: Instant) -> Option<Signal> {
        if self.kill_at.is_some() {
            return self.due(now);
        }
        self.kill_at = Some(now + LEFTOVER_GRACE);
        Some(Signal::TERM)
    }

    /// True if a stop was requested.
    pub const fn is_requested(&self) -> bool {
        self.cause.is_some()
    }

    /// When KILL is due.
    pub const fn kill_at(&self) -> Option<Instant> {
        self.kill_at
    }

    /// Why it was stopped.
    pub const fn take_cause(&mut self) -> Option<Cause> {
        self.cause.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ambient::Ambient;
    use crate::model::test_clock::TestClock;

    const GRACE: Duration = Duration::from_secs(10);
    const MOMENT: Duration = Duration::from_millis(1);

    fn after(clock: &TestClock, by: Duration) -> Instant {
        clock.advance(by);
        clock.now().mono
    }

    #[test]
    fn kill_follows_term_after_the_grace_and_is_repeated() {
        let clock = TestClock::new();
        let mut stop = Termination::default();
        assert_eq!((stop.due(clock.now().mono), stop.kill_at()), (None, None));
        assert_eq!(stop.request(Cause::TimeLimit, GRACE, clock.now().mono), Some(Signal::TERM));
        assert_eq!(stop.due(after(&clock, GRACE - MOMENT)), None);
        assert_eq!(stop.due(after(&clock, MOMENT)), Some(Signal::KILL));
        assert_eq!(stop.due(after(&clock, LEFTOVER_GRACE - MOMENT)), None);
        assert_eq!(stop.due(after(&clock, MOMENT)), Some(Signal::KILL));
        assert_eq!(stop.take_cause(), Some(Cause::TimeLimit));
    }

    #[test]
    fn second_request_shortens_the_grace_and_keeps_the_first_cause() {
        let clock = TestClock::new();
        let mut stop = Termination::default();
        stop.request(Cause::TimeLimit, GRACE, clock.now().mono);
        assert_eq!(stop.request(Cause::Cancelled, GRACE * 2, clock.now().mono), None);
        assert_eq!(stop.kill_at(), Some(clock.now().mono + GRACE));
        assert_eq!(stop.request(Cause::Cancelled, MOMENT, clock.now().mono), None);
        assert_eq!(stop.due(after(&clock, MOMENT)), Some(Signal::KILL));
        assert_eq!(stop.take_cause(), Some(Cause::TimeLimit));
    }

    #[test]
    fn kill_without_grace_is_repeated() {
        let clock = TestClock::new();
        let mut stop = Termination::default();
        assert_eq!(stop.request_kill(Cause::OutOfMemory, clock.now().mono), Signal::KILL);
        assert_eq!(stop.due(clock.now().mono), None);
        assert_eq!(stop.due(after(&clock, LEFTOVER_GRACE)), Some(Signal::KILL));
    }

    #[test]
    fn leftovers_get_term_once_and_then_kill() {
        let clock = TestClock::new();
        let mut stop = Termination::default();
        assert_eq!(stop.due_for_leftovers(clock.now().mono), Some(Signal::TERM));
        assert_eq!(stop.due_for_leftovers(after(&clock, MOMENT)), None);
        assert_eq!(stop.due_for_leftovers(after(&clock, LEFTOVER_GRACE)), Some(Signal::KILL));
        assert_eq!(stop.take_cause(), None);
    }

    #[test]
    fn leftovers_of_a_cancelled_command_get_kill_when_its_grace_is_over() {
        let clock = TestClock::new();
        let mut stop = Termination::default();
        stop.request(Cause::Cancelled, GRACE, clock.now().mono);
        assert_eq!(stop.due_for_leftovers(after(&clock, GRACE - MOMENT)), None);
        assert_eq!(stop.due_for_leftovers(after(&clock, MOMENT)), Some(Signal::KILL));
    }
}
