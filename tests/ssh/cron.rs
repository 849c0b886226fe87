//! What cron could not log in to is named when its lines are installed. The table is kept by a stand-in for `crontab`: these
//! hosts have no spool. The logins are real.

use crate::support::Rig;

const CRONTAB: &str = r#"#!/bin/sh
case $1 in
-l) cat ~/table 2>/dev/null || { echo "no crontab for ann" >&2; exit 1; } ;;
-) cat >~/table ;;
*) exit 2 ;;
esac
"#;

#[test]
fn hosts_that_cron_could_not_log_in_to_are_named_with_the_remedy() {
    let Some(rig) = Rig::up(3) else { return };
    let mut grid = rig.at("head");
    let script = CRONTAB.replace('\'', r"'\''");
    grid.sh(&format!("mkdir ~/bin && printf %s '{script}' > ~/bin/crontab && chmod 755 ~/bin/crontab")).ok();
    grid.set_env("PATH", "/home/ann/bin:/usr/local/bin:/usr/bin:/bin");
    grid.grid(["server", "add", "h1", "--ssh", "h1"]).ok();
    grid.grid(["server", "add", "h2", "--ssh", "h2", "--ssh-option", "HostKeyAlias=never-seen"]).expect(0);
    // A key without a passphrase works everywhere.
    let done = grid.grid(["cron", "install"]).expect(0).says(&["h2: cron can't log in", "host key"]);
    assert!(!done.err().contains("h1: "), "{done:?}");
    // A key that only an agent can open is of no use to cron, however well it works for a person.
    grid.sh("ssh-agent -a ~/agent >/dev/null && SSH_AUTH_SOCK=~/agent ssh-add -q ~/.ssh/id_ed25519").ok();
    grid.sh("ssh-keygen -q -p -N secret -f ~/.ssh/id_ed25519").ok();
    grid.set_env("SSH_AUTH_SOCK", "/home/ann/agent");
    grid.sh("ssh -o BatchMode=yes h1 true").ok();
    grid.grid(["run", "-w", "h1", "--", "true"]).ok();
    let done = grid.grid(["cron", "install"]).expect(0);
    done.says(&["h1: cron can't log in: login refused", "no ssh-agent", "IdentityFile", "h2: "]);
    // Off: nobody has a link to it.
    grid.grid(["config", "set", "probe_timeout", "1s"]).ok();
    grid.grid(["dispatcher", "stop"]).ok();
    rig.cut("h1");
    grid.grid(["cron", "install"]).expect(0).says(&["h1: cron can't log in: no answer"]);
}
