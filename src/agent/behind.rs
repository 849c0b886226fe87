//! What tasks find behind a server's prologue: its applications, and what the probe script says in that environment.

use super::apps::{self, Versions};
use super::probe::ProbeRequest;
use super::prologue::{Variables, carry_out};
use crate::model::attribute::Value;
use crate::model::facts::Residing;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Readings have to be in time: what takes longer is said to, though tasks may wait for it.
const LIMIT: Duration = Duration::from_secs(5);
/// So long one result stands, also a bad one: `module load` may take a second, and a host may be read each other second.
const STANDS: Duration = Duration::from_secs(60);

/// What one prologue led to.
#[derive(Debug)]
pub struct Behind {
    environment: Result<Variables, String>,
    /// It was not done in time: tasks wait longer for it.
    slow: bool,
    at: Instant,
    versions: Versions,
}

/// Looks behind each prologue of the question. Behind one that fails is nothing: no task would begin there.
pub fn look(
    known: &mut HashMap<String, Behind>,
    question: &ProbeRequest,
    of_host: &BTreeMap<Box<str>, Value>,
    complaints: &mut Vec<String>,
) -> BTreeMap<String, Residing> {
    known.retain(|lines, _| question.prologues.contains(lines));
    let mut all = BTreeMap::new();
    for lines in &question.prologues {
        let old = known.remove(lines);
        let behind = match old {
            Some(fresh) if fresh.at.elapsed() < STANDS => fresh,
            old => {
                let begun = Instant::now();
                let environment = carry_out(lines, LIMIT);
                let slow = environment.is_err() && begun.elapsed() >= LIMIT;
                match old {
                    // What it led to before is likelier than nothing.
                    Some(old) if slow && old.environment.is_ok() => Behind { at: Instant::now(), ..old },
                    old => {
                        let versions = old.map(|old| old.versions).unwrap_or_default();
                        Behind { environment, slow, at: Instant::now(), versions }
                    }
                }
            }
        };
        known.insert(lines.clone(), behind);
        let Some(behind) = known.get_mut(lines) else { continue };
        let mut residing = Residing { probed: of_host.clone(), ..Residing::default() };
        match &behind.environment {
            Ok(variables) => {
                residing.apps = apps::watched(&question.watch, Some(variables), &mut behind.versions).0;
                if let Some(script) = &question.script {
                    let mut said = apps::probe(script, Some(variables), &mut residing.apps, complaints);
                    residing.probed.append(&mut said);
                }
            }
            Err(error) => {
                complaints.push(format!("prologue: {error}"));
                if behind.slow {
                    // Then it is as if there were none.
                    continue;
                }
            }
        }
        all.insert(lines.clone(), residing);
    }
    all
}
