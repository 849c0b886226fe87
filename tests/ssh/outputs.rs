//! Long outputs on hosts: they go there by the same rules as here, also where the host is down when their time comes.

use crate::support::rig::Plan;
use crate::support::{Rig, process};

/// Bytes on the disk behind what grid keeps on a host.
fn taken(rig: &Rig, host: &str) -> u64 {
    let said = rig.root(host, "du -s --block-size=1 /home/grid/.local/state/grid 2>/dev/null | cut -f1").ok();
    said.trim().parse().unwrap_or(0)
}

const LONG: &str = "head -c 30000000 /dev/zero | tr '\\0' x";

#[test]
fn gc_frees_long_outputs_on_hosts_also_on_one_that_was_down() {
    let Some(rig) = Plan::of(1).up() else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "s1", "--ssh", "h1", "--slots", "2"]).ok();
    head.grid(["config", "set", "output_limit", "1M"]).ok();
    head.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    let write = || {
        let done = head.grid(["run", "-w", "s1", "--", "sh", "-c", LONG]).expect(0);
        assert_eq!(done.out().len(), 30_000_000);
        assert!(taken(&rig, "h1") > 30_000_000, "{}", taken(&rig, "h1"));
    };
    write();
    let said = head.grid(["gc"]).ok();
    assert!(said.contains("removed on s1: 1 long output (28.6M)"), "{said}");
    process::until("it is gone on h1", || taken(&rig, "h1") < 1_000_000);

    write();
    head.grid(["dispatcher", "stop"]).ok();
    rig.cut("h1");
    head.grid(["config", "set", "probe_timeout", "1s"]).ok();
    let said = head.grid(["gc"]).ok();
    assert!(said.contains("not yet removed on s1"), "{said}");
    assert!(taken(&rig, "h1") > 30_000_000);
    // Whoever knew of it is gone; the database remembers.
    head.grid(["dispatcher", "stop"]).ok();
    rig.heal("h1");
    head.grid(["server", "refresh", "s1"]).ok();
    process::until("it is gone on h1", || taken(&rig, "h1") < 1_000_000);
    process::until("and that is noted", || head.number("SELECT count(*) FROM discard") == 0);
}
