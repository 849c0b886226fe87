//! What tasks find after a server's prologue: its applications, and what the probe script says in that environment.

use super::apps::{self, Versions};
use super::probe::ProbeRequest;
use super::prologue::{Variables, carry_out};
use crate::model::ambient::Ambient;
use crate::model::attribute::Value;
use crate::model::facts::Residing;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// A prologue that takes longer is reported as too slow, though tasks may wait for it: readings have to be in time.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a result is used again, also a bad one: `module load` may take a second, and a host may be read each other second.
const FRESH: Duration = Duration::from_secs(60);

/// The results of a host's prologues, by their text.
#[derive(Debug, Default)]
pub struct PrologueProbes(HashMap<String, PrologueProbe>);

/// What one prologue led to.
#[derive(Debug)]
struct PrologueProbe {
    environment: Result<Variables, String>,
    /// It took longer than the limit: tasks wait longer for it.
    slow: bool,
    at: Instant,
    versions: Versions,
}

impl PrologueProbe {
    fn run(lines: &str, old: Option<Self>, ambient: &dyn Ambient) -> Self {
        let begun = ambient.now().mono;
        let environment = carry_out(lines, None, LIMIT);
        let now = ambient.now();
        let slow = environment.is_err() && now.since(begun) >= LIMIT;
        match old {
            // What it led to before is likelier than nothing.
            Some(old) if slow && old.environment.is_ok() => Self { at: now.mono, ..old },
            old => {
                let versions = old.map(|old| old.versions).unwrap_or_default();
                Self { environment, slow, at: now.mono, versions }
            }
        }
    }
}

impl PrologueProbes {
    /// Probes the environment of each prologue of the question. One that fails has nothing: no task would begin there.
    pub fn probe(
        &mut self,
        question: &ProbeRequest,
        of_host: &BTreeMap<Box<str>, Value>,
        complaints: &mut Vec<String>,
        ambient: &dyn Ambient,
    ) -> BTreeMap<String, Residing> {
        self.0.retain(|lines, _| question.prologues.contains(lines));
        let mut all = BTreeMap::new();
        for lines in &question.prologues {
            let mut probe = match self.0.remove(lines) {
                Some(known) if ambient.now().since(known.at) < FRESH => known,
                old => PrologueProbe::run(lines, old, ambient),
            };
            let mut residing = Residing { probed: of_host.clone(), ..Residing::default() };
            match &probe.environment {
                Ok(variables) => {
                    residing.apps = apps::watched(&question.watch, Some(variables), &mut probe.versions).0;
                    if let Some(script) = &question.script {
                        let mut said = apps::probe(script, Some(variables), &mut residing.apps, complaints);
                        residing.probed.append(&mut said);
                    }
                }
                Err(error) => complaints.push(format!("prologue: {error}")),
            }
            // Where one is too slow, nothing is known of it: the host's own environment counts.
            if probe.environment.is_ok() || !probe.slow {
                all.insert(lines.clone(), residing);
            }
            self.0.insert(lines.clone(), probe);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_clock::TestClock;

    #[test]
    fn prologue_is_run_again_after_a_minute() {
        let clock = TestClock::new();
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        let lines = format!("echo x >>{}", runs.display());
        let question = ProbeRequest { prologues: vec![lines.clone()], ..ProbeRequest::default() };
        let (mut probes, mut complaints) = (PrologueProbes::default(), Vec::new());
        let mut runs_after = |passed: Duration| {
            clock.advance(passed);
            let found = probes.probe(&question, &BTreeMap::new(), &mut complaints, &clock);
            assert!(found.contains_key(&lines), "{complaints:?}");
            std::fs::read_to_string(&runs).unwrap().lines().count()
        };
        assert_eq!(runs_after(Duration::ZERO), 1);
        assert_eq!(runs_after(FRESH - Duration::from_millis(1)), 1);
        assert_eq!(runs_after(Duration::from_millis(1)), 2);
        assert_eq!(runs_after(Duration::from_millis(1)), 2);
    }
}
