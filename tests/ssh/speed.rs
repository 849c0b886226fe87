//! How long a submit takes between hosts: in round trips, and as a rate.

use crate::support::rig::Plan;
use crate::support::said::tell;
use crate::support::{Grid, Rig};
use std::time::{Duration, Instant};

/// A client, a front, a lab, each on a host of its own; the links are up.
fn chain() -> Option<(Rig, Grid)> {
    let rig = Plan::of(2).with_grid(&["h1", "h2"]).up()?;
    let (client, front, lab) = (rig.at("head"), rig.at("h1"), rig.at("h2"));
    front.grid(["distributor", "drain", "tier2"]).ok();
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", "ssh:h1", "--endpoint", "ssh:h2"]).ok();
    front.grid(["distributor", "allow", "lab-x", "--endpoint", "ssh:h2"]).ok();
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:h1"]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    Some((rig, client))
}

/// A task that is placed and does not start: nothing else is on the links then.
fn submit(client: &Grid) -> Duration {
    let mut command = client.typed(["submit", "-H", "--", "true"]);
    let begun = Instant::now();
    crate::support::process::run(&mut command).ok();
    begun.elapsed()
}

/// The quickest of several: what else this host does lengthens some of them.
fn quickest(client: &Grid, of: usize) -> Duration {
    submit(client);
    (0..of).map(|_| submit(client)).min().unwrap_or_default()
}

#[test]
fn a_submit_through_both_tiers_takes_three_round_trips() {
    let Some((rig, client)) = chain() else { return };
    let near = quickest(&client, 10);
    // The front's cable is the long one: client to front, front to lab for the offer, front to lab for the commit.
    let trip = Duration::from_millis(200);
    rig.slow("h1", trip, 0.0);
    let far = quickest(&client, 10);
    let trips = far.saturating_sub(near).as_secs_f64() / trip.as_secs_f64();
    tell(&format!(
        "submit through both tiers over ssh: {near:.1?}; with round trips of {trip:?}: {far:.1?}: {trips:.2} of them"
    ));
    assert!((2.5..3.7).contains(&trips), "{trips:.2} round trips");
}

/// `cargo test --release --test ssh -- --ignored --nocapture --exact speed::a_submit_over_ssh`
#[test]
#[ignore = "a measurement"]
fn a_submit_over_ssh() {
    let Some((_rig, client)) = chain() else { return };
    submit(&client);
    let mut all: Vec<Duration> = (0..100).map(|_| submit(&client)).collect();
    all.sort();
    tell(&format!("submit through both tiers over ssh, links up: median {:.1?}, 95 % {:.1?}", all[50], all[95]));
    let begun = Instant::now();
    client
        .sh("i=0; while [ $i -lt 200 ]; do grid submit -H --parsable -- true >/dev/null || exit 1; i=$((i + 1)); done")
        .ok();
    tell(&format!("a shell's loop: {:.0} submits/s", 200.0 / begun.elapsed().as_secs_f64()));
}
