//! 2, 12, 17 on real hosts: a host is loaded, cron's own line reads it, the next task goes elsewhere, and `explain` says why.

use crate::support::load::{alone, limit_above, loops_above};
use crate::support::{Grid, Rig, process, skipped};
use std::process::{Child, Stdio};

/// A spool for `crontab` that only the head sees, and nothing of this machine's own tables.
fn crontab(rig: &Rig, head: &Grid) -> bool {
    // Of /etc a host has links, so nothing of the machine goes. Its shadow file does not know the head's user.
    let script = "command -v cron && mount -t tmpfs tmpfs /var/spool/cron && cd /var/spool/cron && mkdir crontabs \
                  && chgrp $(stat -c %g $(command -v crontab)) crontabs && chmod 1730 crontabs \
                  && rm -f /etc/crontab /etc/cron.* /etc/pam.d && mkdir /etc/cron.d /etc/pam.d \
                  && for kind in auth account session; do echo $kind required pam_permit.so; done >/etc/pam.d/cron";
    rig.root("head", script).code() == 0 && head.sh("crontab -l 2>&1 | grep -q 'no crontab for'").code() == 0
}

/// Processes on a host that compute, until the host goes.
fn busy(rig: &Rig, host: &str, load: f64) -> Vec<Child> {
    let start = |_| {
        let mut command = rig.command(host, ["sh", "-c", "while :; do :; done"]);
        command.stdin(Stdio::null()).spawn().expect("sh")
    };
    (0..loops_above(load)).map(start).collect()
}

#[test]
fn claim_2_12_and_17_a_task_avoids_a_loaded_host_because_of_crons_line() {
    let _alone = alone();
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    if !crontab(&rig, &head) {
        skipped("claims 2, 12 and 17 on real hosts", "no cron here, or no right to give it a spool of the test's");
        return;
    }
    // Hosts of one kernel have one load; that of h1 alone has a limit.
    head.grid(["server", "add", "h1", "--ssh", "h1"]).ok();
    head.grid(["server", "add", "h2", "--ssh", "h2"]).ok();
    head.grid(["server", "remove", "local"]).ok();
    let load = || head.measured("h1", "load1");
    let limit = limit_above(load);
    head.grid(["server", "set", "h1", "--max-load", &limit.to_string()]).ok();
    let prefer = ["--prefer", "server.name == 'h1'", "--", "uname", "-n"];
    assert_eq!(head.grid(["run"].iter().chain(&prefer)).ok(), "h1");
    head.grid(["cron", "install"]).expect(0);
    // From here on nobody but cron reads the hosts.
    head.grid(["dispatcher", "stop"]).expect(0);
    let mut loops = busy(&rig, "h1", limit + 1.5);
    process::until("real load is above the limit", || {
        let text = rig.root("h1", "cat /proc/loadavg").ok();
        text.split(' ').next().and_then(|load| load.parse::<f64>().ok()).is_some_and(|load| load > limit + 1.5)
    });
    let would = head.grid(["submit", "-n", "--json"].iter().chain(&prefer)).json();
    assert_eq!(would["chosen"], "h1", "the record is an old one");
    let read_at = || head.sql("SELECT read_at FROM server_view WHERE name = 'h1'");
    let before = read_at();
    // What stands behind @reboot is run at once: the same line as every five minutes, in cron's environment.
    let mut cron = rig.command("head", ["cron", "-f"]);
    let mut cron = cron.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("cron");
    process::until("cron's line has read the host", || read_at() != before);
    let id = head.submit(prefer);
    head.grid(["wait", &id]).ok();
    assert_eq!(head.grid(["logs", &id]).ok(), "h2");
    let why = head.explain(&id)["servers"].to_string();
    assert!(why.contains("load") && why.contains("max-load"), "{why}");
    for child in loops.iter_mut().chain([&mut cron]) {
        child.kill().expect("a signal");
        child.wait().expect("its end");
    }
}
