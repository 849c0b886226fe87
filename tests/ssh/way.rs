//! A task on another host, the whole way: nothing is installed there, everything is as at home.

use crate::support::Rig;
use crate::support::process;
use std::io::{BufRead, BufReader};

#[test]
fn a_host_is_added_and_runs_a_task() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1", "--set", "site=brno", "--slots", "2"]).ok();
    let shown = head.grid(["server", "show", "one", "--json"]).json();
    assert_eq!((shown["state"].as_str(), shown["engine"].as_str()), (Some("UP"), Some("ssh")));
    assert_eq!(shown["attributes"]["hostname"]["value"], "h1");
    // Streams apart, the exit code, the server's own login, the client's name for the server.
    let script = "uname -n; echo $USER $HOME $PWD $GRID_SERVER $GRID_SUBMIT_HOST; echo loud >&2; exit 7";
    let done = head.grid(["run", "-w", "one", "--", "sh", "-c", script]).expect(7);
    assert_eq!(done.out(), "h1\ngrid /home/grid /home/grid one head\n");
    assert_eq!(done.err(), "loud\n");
    head.grid(["run", "-w", "one", "--", "no-such-program"]).expect(127);
    // Agent and spool lie where they should, closed to others.
    let lies =
        rig.root("h1", "cd /home/grid && stat -c %a .cache/grid/bin .local/state/grid .cache/grid/bin/*/grid").ok();
    assert_eq!(lies, "700\n700\n700");
    let status = head.grid(["dispatcher", "status", "--json"]).json();
    assert_eq!(status["ssh"], "ssh, no key agent");
}

#[test]
fn a_server_is_led_to_another_host_when_nothing_runs_there() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1", "--prologue", "export TOOLS=/opt/t"]).ok();
    let id = head.submit(["-w", "one", "--", "sleep", "4321"]);
    head.grid(["server", "set", "one", "--ssh", "h2"]).expect(1).says(&["server one: 1 running", "drain one"]);
    head.grid(["cancel", &id]).ok();
    head.grid(["wait", &id]).expect(130);
    head.grid(["server", "set", "one", "--ssh", "h2"]).ok();
    assert_eq!(head.grid(["run", "-w", "one", "--", "uname", "-n"]).ok(), "h2");
    let linked = || rig.processes("h1").iter().any(|(_, line)| line.contains("grid agent --link"));
    process::until("the link to h1 is left", || !linked());
    // What lies over there alone is found by the way to it.
    head.grid(["config", "set", "output_limit", "20K"]).ok();
    head.grid(["server", "add", "two", "--ssh", "h1"]).ok();
    let long = head.submit(["-w", "two", "--", "seq", "10000"]);
    head.grid(["wait", &long]).ok();
    head.grid(["server", "set", "two", "--ssh", "h2"]).expect(1).says(&["server two: outputs or files of 1 task"]);
    assert_eq!(head.grid(["logs", &long]).ok().lines().count(), 10_000);
    head.grid(["server", "set", "one", "--ssh-option", "Port=1"])
        .expect(0)
        .says(&["one is changed, but can't be probed", "port"]);
    let shown = head.grid(["server", "show", "one", "--json"]).json();
    let of = |name: &str| shown["attributes"][name]["value"].clone();
    assert_eq!(
        (of("ssh"), of("ssh_option"), of("prologue")),
        ("h2".into(), vec!["Port=1"].into(), "export TOOLS=/opt/t".into())
    );
    assert_eq!(shown["state"], "DOWN");
    head.grid(["server", "unset", "one", "ssh-option"]).ok();
    head.grid(["server", "set", "one", "--remote-dir", "apart"]).ok();
    assert_eq!(head.grid(["run", "-w", "one", "--", "sh", "-c", "uname -n; ls apart"]).ok().lines().next(), Some("h2"));
    head.grid(["server", "unset", "one", "ssh-option"]).expect(1).says(&["not declared"]);
    head.grid(["server", "set", "local", "--ssh", "h1"]).expect(2).says(&["not over ssh"]);
}

#[test]
fn servers_of_one_target_share_a_link_and_aliases_do_not_fight() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    for name in ["a", "b"] {
        head.grid(["server", "add", name, "--ssh", "h1"]).ok();
    }
    // Another way to the same account: a link and a spool of its own.
    head.grid(["server", "add", "c", "--ssh", "grid@h1"]).ok();
    head.grid(["run", "-w", "a", "--", "true"]).ok();
    head.grid(["run", "-w", "b", "--", "true"]).ok();
    head.grid(["run", "-w", "c", "--", "true"]).ok();
    let agents = rig.processes("h1").into_iter().filter(|(_, line)| line.contains("grid agent --link")).count();
    assert_eq!(agents, 2);
    let hosts = head.number("select count(distinct host_id) n from server where engine = 'ssh'");
    assert_eq!(hosts, 1, "one machine, one pool");
}

#[test]
fn output_is_followed_and_a_cancel_ends_the_tree_over_there() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1"]).ok();
    let script = "echo begun; sleep 4321 & echo $! ; wait";
    let id = head.submit(["-w", "one", "--", "sh", "-c", script]);
    let mut logs = head.beside(["logs", "-f", &id]);
    let mut lines = BufReader::new(logs.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("begun"));
    assert!(lines.next().is_some());
    head.grid(["cancel", &id]).ok();
    head.grid(["wait", &id]).expect(130);
    assert_eq!(lines.next(), None);
    process::wait_for(&mut logs, process::HANG).expect("logs -f ends with its task");
    assert!(!rig.processes("h1").iter().any(|(_, line)| line.contains("sleep 4321")), "{:?}", rig.processes("h1"));
}

#[test]
fn a_prologue_makes_the_environment_and_one_that_fails_says_so() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1", "--prologue", "export TOOLS=/opt/t\nPATH=$HOME:$PATH"]).ok();
    rig.put("h1", "hello", "#!/bin/sh\necho hello $TOOLS\n");
    rig.root("h1", "chmod 755 /home/grid/hello").ok();
    assert_eq!(head.grid(["run", "-w", "one", "--", "hello"]).ok(), "hello /opt/t");
    // What is looked for is looked for in that environment too.
    head.grid(["config", "set", "watch", "hello"]).ok();
    head.grid(["config", "set", "probe_script", "echo tools=$TOOLS"]).ok();
    head.grid(["server", "refresh", "one"]).ok();
    assert_eq!(head.attribute("one", "tools"), "/opt/t");
    assert_eq!(head.grid(["run", "--app", "hello", "--", "hello"]).ok(), "hello /opt/t");
    head.grid(["server", "set", "one", "--prologue", "export TOOLS=/opt/u"]).ok();
    assert_eq!(head.attribute("one", "tools"), "/opt/u");
    head.grid(["submit", "--app", "hello", "--", "hello"]).expect(75).says(&["hello"]);
    head.grid(["doctor", "one"]).shows(&["prologue", "succeeds"]);
    head.grid(["server", "set", "one", "--prologue", ". /no/such/setup"]).ok();
    let doctor = head.grid(["doctor", "one"]).expect(1);
    assert!(doctor.out().contains("/no/such/setup") && doctor.out().contains("no task starts there"), "{doctor:?}");
    head.grid(["run", "-w", "one", "--", "hello"]).expect(125).says(&["prologue", "/no/such/setup", "one"]);
    head.grid(["server", "unset", "one", "prologue"]).ok();
    head.grid(["run", "-w", "one", "--", "hello"]).expect(127);
}

#[test]
fn the_newest_session_that_works_opens_the_door() {
    let Some(rig) = Rig::up(1) else { return };
    let mut head = rig.at("head");
    // From now on only the key agent has the key.
    let script = "ssh-agent -a $HOME/agent.sock >/dev/null; SSH_AUTH_SOCK=$HOME/agent.sock ssh-add -q .ssh/id_ed25519 && rm .ssh/id_ed25519";
    head.sh(script).ok();
    head.grid(["server", "add", "one", "--ssh", "h1"]).expect(0).says(&["login refused (publickey)", "ssh-agent"]);
    head.set_env("SSH_AUTH_SOCK", "/home/ann/agent.sock");
    head.grid(["server", "refresh", "one"]).ok();
    // Who comes later without one, as cron does, is let in by the session that is known.
    head.unset_env("SSH_AUTH_SOCK");
    rig.kill_sshd("h1", crate::support::rig::Killed::All);
    rig.start_sshd("h1", &[]);
    head.grid(["run", "-w", "one", "--", "true"]).ok();
    let status = head.grid(["dispatcher", "status", "--json"]).json();
    assert_eq!(status["ssh"], "ssh, key agent /home/ann/agent.sock");
}

#[test]
fn what_is_installed_is_whole_and_ours_and_goes_when_nobody_uses_it() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    head.grid(["server", "add", "one", "--ssh", "h1"]).ok();
    let bin = "/home/grid/.cache/grid/bin";
    let here = |script: &str| rig.root("h1", &format!("cd {bin} && {script}")).ok();
    let file = format!("{bin}/{}/grid", here("ls"));
    let again = || {
        head.grid(["dispatcher", "stop"]).ok();
        let sum = "sha256sum <";
        let before = rig.root("h1", &format!("{sum} {file}")).ok();
        head.grid(["run", "-w", "one", "--", "true"]).ok();
        (before, rig.root("h1", &format!("{sum} {file}")).ok())
    };
    let (whole, _) = again();
    // Another content of the same size; and the right one that anybody can write to.
    here(
        "f=$(echo */grid); cp $f new && printf x | dd of=new bs=1 seek=5000 conv=notrunc 2>/dev/null && { chown 2077 new || :; } && mv new $f && chmod 700 $f",
    );
    let (damaged, mended) = again();
    assert!(damaged != whole && mended == whole, "{damaged} {mended} {whole}");
    here("chmod 722 */grid");
    again();
    assert_eq!(here("stat -c %a */grid"), "700");
    // Versions of old: one that nobody used for a month, one out of which a task runs.
    let of = |digit: &str| digit.repeat(16);
    let (old, used) = (of("a"), of("b"));
    here(&format!(
        "for d in {old} {used}; do mkdir -m 700 $d; : > $d/grid; : > $d/in-use; touch -d '40 days ago' $d/*; done; chown -R 2077 . || :"
    ));
    let mut lock =
        rig.command("h1", ["flock", "-s", &format!("{bin}/{used}/in-use"), "sh", "-c", "echo held; exec sleep 1000"]);
    let mut lock = lock.stdout(std::process::Stdio::piped()).spawn().expect("flock");
    let mut said = String::new();
    BufReader::new(lock.stdout.take().expect("a pipe")).read_line(&mut said).expect("a line");
    again();
    let there = here("ls");
    assert!(!there.contains(&old) && there.contains(&used), "{there}");
    lock.kill().expect("a signal");
    lock.wait().expect("its end");
    // Where others may put something into its place, nothing is started.
    here("chmod 777 .");
    head.grid(["dispatcher", "stop"]).ok();
    head.grid(["server", "refresh", "one"]).expect(1).says(&["yours alone"]);
}

#[test]
fn session_whose_ssh_does_not_work_cuts_no_server_off_that_has_its_own_command() {
    let Some(rig) = Rig::up(2) else { return };
    let head = rig.at("head");
    for name in ["h1", "h2"] {
        head.grid(["server", "add", name, "--ssh", name, "--ssh-command", "ssh"]).ok();
    }
    for broken in ["ssh -F /nonexistent", "no-such-ssh"] {
        head.grid(["dispatcher", "stop"]).expect(0);
        head.grid(["run", "-w", "h1", "--", "true"]).ok();
        // Somebody only looks; the link to h2 is opened after that.
        head.sh(&format!("GRID_SSH_COMMAND='{broken}' grid status")).expect(0);
        assert_eq!(head.grid(["run", "-w", "h2", "--", "uname", "-n"]).ok(), "h2", "{broken}");
    }
}
