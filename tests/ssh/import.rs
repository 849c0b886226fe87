//! Hosts that people have lists of become servers; what is wrong with a host is told by step, with the remedy.

use crate::support::{Rig, said::tell};

#[test]
fn two_commands_lead_from_nothing_to_a_remote_task() {
    let Some(rig) = Rig::up(3) else { return };
    let head = rig.at("head");
    rig.put("head", ".ssh/known", "");
    let config = "Host github.com\n  User git\nHost same\n  HostName h1\n  User grid\nHost *.corp\n  User x\nMatch host h9\n  User y\n";
    let mine = std::fs::read_to_string(rig.home("head").join(".ssh/config")).expect("a configuration");
    rig.put("head", ".ssh/config", &format!("{}\n{config}", mine.replace("Host head\n  User ann\n", "")));
    // Nobody can be asked here.
    head.grid(["server", "import"]).expect(2).says(&["--yes", "github.com: passed over: for git only", "*.corp"]);
    assert_eq!(head.number("select count(*) n from server where engine = 'ssh'"), 0);
    let begun = std::time::Instant::now();
    let done = head.grid(["server", "import", "--yes", "--set", "site=brno"]).expect(0);
    assert_eq!(done.out(), "added 3: h1 h2 h3\n");
    head.grid(["run", "-C", "server.site == \"brno\"", "--", "true"]).ok();
    tell(&format!("from nothing to the end of a task on one of 3 hosts: {:?}", begun.elapsed()));
    assert_eq!(head.grid(["run", "-w", "h2", "--", "uname", "-n"]).ok(), "h2");
    // Again: they are there already.
    head.grid(["server", "import", "--yes"]).expect(0).says(&["h1: passed over: is server h1 already"]);
}

#[test]
fn each_host_that_fails_is_told_by_step_and_nothing_is_installed_there() {
    let Some(rig) = Rig::up(6) else { return };
    let head = rig.at("head");
    head.grid(["config", "set", "probe_timeout", "3s"]).ok();
    rig.cut("h1");
    rig.new_host_key("h2");
    rig.start_sshd("h2", &[]);
    rig.put("h3", ".ssh/authorized_keys", "");
    rig.kill_sshd("h4", crate::support::rig::Killed::All);
    rig.read_only("h5", true);
    rig.put("h6", ".bashrc", "exit 7\n");
    let names = "h1\nh2\nh3\nh4\nh5\nh6\nnowhere # no such host\n";
    let done = head.grid_with(names.as_bytes(), ["server", "import", "-", "--yes", "--json"]).expect(1);
    let report: serde_json::Value = serde_json::from_slice(&done.out).expect("JSON");
    let steps: Vec<&str> =
        report.as_array().expect("a list").iter().filter_map(|r| r["fault"]["step"].as_str()).collect();
    assert_eq!(steps, ["route", "host key", "login", "port", "home", "shell", "name"], "{report}");
    done.says(&[
        "ssh-keygen -R h2",
        "ssh-copy-id h3",
        "start sshd",
        "--remote-dir",
        "`exit` in the startup files",
        "HostName",
    ]);
    assert_eq!(head.number("select count(*) n from server where engine = 'ssh'"), 0);
    assert!(!rig.home("h6").join(".cache/grid").exists());
    // doctor says the same, step by step.
    let doctor = head.grid(["doctor", "h5", "--json"]).expect(1);
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&doctor.out).expect("JSON");
    let failed: Vec<&str> =
        checks.iter().filter(|c| c["result"] == "fail").filter_map(|c| c["what"].as_str()).collect();
    assert_eq!(failed, ["home"], "{checks:?}");
}

#[test]
fn an_unknown_key_is_shown_and_not_taken() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    rig.put("head", ".ssh/known_hosts", "");
    let key = rig.root("h1", "ssh-keygen -lf /etc/ssh/hostkey.pub").ok();
    let print = key.split_whitespace().nth(1).expect("a fingerprint");
    head.grid(["server", "import", "h1"]).expect(1).says(&["host key", print, "ssh h1"]);
    let known = std::fs::read_to_string(rig.home("head").join(".ssh/known_hosts")).expect("known_hosts");
    assert_eq!(known, "");
    head.grid(["server", "add", "one", "--ssh", "h1"]).ok();
    assert_eq!(head.grid(["server", "show", "one", "--json"]).json()["state"], "DOWN");
    head.grid(["doctor", "one"]).expect(1);
}

#[test]
fn shells_of_all_kinds_are_no_obstacle() {
    let Some(rig) = Rig::up(1) else { return };
    let head = rig.at("head");
    rig.put("h1", ".bashrc", "echo welcome to the lab; head -c 3000 /dev/zero | tr '\\0' x; echo\n");
    head.grid(["server", "add", "one", "--ssh", "h1"]).ok();
    assert_eq!(head.grid(["run", "-w", "one", "--", "echo", "a  b"]).ok(), "a  b");
    let doctor = head.grid(["doctor", "one", "--json"]).expect(0);
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&doctor.out).expect("JSON");
    let of = |what: &str| checks.iter().find(|c| c["what"] == what).map(|c| c["result"].clone());
    assert_eq!((of("shell"), of("agent")), (Some("warn".into()), Some("ok".into())), "{checks:?}");
    for shell in ["/usr/bin/fish", "/bin/dash", "/bin/tcsh"] {
        if !std::path::Path::new(shell).exists() {
            continue;
        }
        rig.shell("h1", shell);
        head.grid(["dispatcher", "stop"]).ok();
        assert_eq!(head.grid(["run", "-w", "one", "--", "echo", shell]).ok(), shell);
    }
}

#[test]
fn at_a_terminal_it_asks_and_shows_how_far_it_is() {
    let Some(rig) = Rig::up(3) else { return };
    let mut head = rig.at("head");
    head.set_env("TERM", "xterm");
    let import = |answer: &str| {
        let options = rexpect::reader::Options::new().timeout_ms(Some(60_000)).strip_ansi_escape_codes(true);
        let mut shell = head.command("sh");
        shell.args(["-c", "stty cols 100 rows 30; grid server import; echo code=$?"]);
        let mut terminal = rexpect::session::spawn_with_options(shell, options).expect("a pty");
        let shown = terminal.exp_string("Add these 4 servers? [y/N] ").expect("the question");
        assert!(shown.contains("NAME") && shown.contains("h3"), "{shown}");
        terminal.send_line(answer).expect("an answer");
        terminal.exp_eof().expect("its end")
    };
    for answer in ["", "n", "what?"] {
        let rest = import(answer);
        assert!(rest.trim_end().ends_with("code=1"), "{answer:?}: {rest}");
        assert_eq!(head.number("select count(*) n from server where engine = 'ssh'"), 0, "{answer:?}: {rest}");
    }
    let rest = import("y");
    assert!(rest.contains("hosts looked at") && rest.contains("added 4: head h1 h2 h3"), "{rest}");
    assert!(rest.trim_end().ends_with("code=0"), "{rest}");
    assert_eq!(head.number("select count(*) n from server where engine = 'ssh'"), 4);
}
