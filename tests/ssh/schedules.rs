//! Faults of distributors on real hosts, at random moments of a submit: whatever is cut, frozen or shot, an acknowledged task is
//! executed once in the end. 500 schedules with named steps: `tests/it/tiers/schedules.rs`; these few meet real processes and links.

use crate::support::said::tell;
use crate::support::tiers::{FRONTS, LABS, Tiers};
use crate::support::{Grid, process};
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nothing passes on its cable, for a while.
    Cut,
    /// All its processes stand still, and go on later.
    Frozen,
    /// What serves others there is killed.
    Shot,
}

const FAULTS: [Fault; 3] = [Fault::Cut, Fault::Frozen, Fault::Shot];
const ROUNDS: u64 = 2;

/// Small, good enough to scatter, and the same everywhere.
fn random(seed: u64, below: u64) -> u64 {
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 33) % below
}

/// The hosts that a submit goes through now.
fn on_the_way(client: &Grid) -> [&'static str; 2] {
    let mut found = None;
    process::until("a submit is taken by somebody who says so", || {
        let route = client.route(&[]);
        let host = |all: &[(&str, &'static str)], tier: usize| all.iter().find(|m| route[tier] == m.0).map(|m| m.1);
        found = host(&FRONTS, 0).zip(host(&LABS, 1));
        found.is_some()
    });
    found.map(|(front, lab)| [front, lab]).expect("both")
}

#[test]
fn whatever_strikes_distributors_on_real_hosts_an_acknowledged_task_is_executed_once() {
    let Some(tiers) = Tiers::up() else { return };
    tiers.together();
    let client = tiers.client();
    for (_, host) in FRONTS {
        let front = tiers.at(host);
        front.grid(["distributor", "drain", "tier2"]).ok();
        front.grid(["config", "set", "peer_timeout", "1s"]).ok();
        front.grid(["dispatcher", "stop"]).expect(0);
    }
    client.grid(["config", "set", "peer_timeout", "2s"]).ok();
    client.grid(["dispatcher", "stop"]).expect(0);
    let seed: u64 = std::env::var("GRID_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_126);
    tell(&format!("schedules on real hosts from seed {seed} (GRID_SEED)"));
    let ran = |mark: &str| {
        let text = |host: &str| std::fs::read_to_string(tiers.rig.home(host).join("ran")).unwrap_or_default();
        LABS.iter().map(|(_, host)| text(host).lines().filter(|line| *line == mark).count()).sum::<usize>()
    };
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for _ in 0..ROUNDS {
        for fault in FAULTS {
            for tier in [0, 1] {
                number += 1;
                let target = on_the_way(&client)[tier];
                let after = Duration::from_micros(random(seed + number, 60_000));
                let mark = format!("echo {number} >> ran");
                let submit = client.beside(["submit", "--parsable", "--cwd", "/home/ann", "--", "sh", "-c", &mark]);
                // The schedule: so far into the submit.
                std::thread::sleep(after);
                match fault {
                    Fault::Cut => tiers.rig.cut(target),
                    Fault::Frozen => tiers.rig.freeze(target),
                    Fault::Shot => {
                        tiers.rig.shoot(target, "grid serve");
                        tiers.rig.shoot(target, "grid dispatcher");
                    }
                }
                let done = process::finish(submit, "grid submit".to_owned());
                match fault {
                    Fault::Cut => tiers.rig.heal(target),
                    Fault::Frozen => tiers.rig.thaw(target),
                    Fault::Shot => {}
                }
                let what = format!("{number}: {fault:?} {target} after {after:?}");
                match done.code() {
                    0 => {
                        let id = done.ok();
                        tell(&format!("{what}: task {id}, {}", client.state(&id)));
                        acknowledged.push((what, number.to_string(), id));
                    }
                    75 => assert_eq!(ran(&number.to_string()), 0, "{what}: refused, and executed: {done:?}"),
                    _ => panic!("{what}: {done:?}"),
                }
            }
        }
    }
    client.grid(["wait"]).expect(0);
    assert!(acknowledged.len() as u64 >= number / 2, "most find a way around one fault: {acknowledged:?}");
    for (what, mark, id) in &acknowledged {
        process::until(what, || client.state(id) == "COMPLETED");
        assert_eq!(ran(mark), 1, "{what}");
    }
}
