//! Starts, ends, outputs, and what commands are given.

use crate::driver::*;
use grid::model::attempt::Cause;
use grid::model::command::{Command, Text};
use grid::protocol::agent::{Refusal, StartMember, ToAgent};

#[test]
fn command_runs_and_its_end_and_outputs_are_reported() {
    let home = Home::new();
    let mut agent = home.agent();
    let ended = agent.run(sh("echo hi; echo oh >&2; exit 3"));
    assert_eq!((exited(&ended), out(&ended), ended.err.as_deref()), (3, "hi\n", Some(&b"oh\n"[..])));
    assert!(ended.end.started_at.is_some() && ended.end.usage.max_rss.0 > 0);
    let ended = agent.run(sh("kill -9 $$"));
    assert_eq!(ended.end.cause, Cause::Signalled { signal: 9 });
    assert!(agent.seen().iter().all(|e| matches!(e, grid::protocol::agent::Event::Began { .. })));
}

#[test]
fn outputs_of_a_thousand_tasks_in_one_lane_are_separate_and_exact() {
    let home = Home::new();
    let mut agent = home.agent();
    let members: Vec<StartMember> =
        (0..1000).map(|i| StartMember { array_index: Some(i), ..member(attempt()) }).collect();
    let ids: Vec<_> = members.iter().map(|m| m.attempt).collect();
    let script = "echo $GRID_ARRAY_INDEX; echo err-$GRID_ATTEMPT_ID >&2; printf x%.0s $(seq $((GRID_ARRAY_INDEX % 7)))";
    let order = agent.order(1, sh(script), members);
    agent.tell(&ToAgent::Start(order));
    for (i, id) in ids.iter().enumerate() {
        let ended = agent.end(*id);
        // `seq 0` prints nothing, and printf without arguments prints one x.
        let xs = "x".repeat((i % 7).max(1));
        assert_eq!(out(&ended), format!("{i}\n{xs}"), "member {i}");
        assert_eq!(ended.err.unwrap(), format!("err-{id}\n").as_bytes());
    }
}

#[test]
fn arguments_are_bytes_and_entries_replace_braces() {
    let home = Home::new();
    let mut agent = home.agent();
    let bytes = [0xff, b'a', 0xfe];
    let mut given = launch(&["printf", "%s|%s|", "x"]);
    given.command =
        Command::new(vec!["printf".into(), "%s|".into(), Text::from_bytes(bytes).unwrap(), "<{}>".into()]).unwrap();
    let id = attempt();
    let with = StartMember { entry: Some("a b".into()), ..member(id) };
    let order = agent.order(1, given, vec![with]);
    agent.tell(&ToAgent::Start(order));
    assert_eq!(agent.end(id).out.unwrap(), [&bytes[..], b"|<a b>|"].concat());
}

#[test]
fn unexecutable_program_ends_with_the_code_of_a_shell() {
    let home = Home::new();
    let mut agent = home.agent();
    let code = |ended: grid::protocol::agent::Ended| match ended.end.cause {
        Cause::NotExecuted { code, error } => (code, error),
        other => panic!("{other:?}"),
    };
    let (missing, words) = code(agent.run(launch(&["no-such-program"])));
    assert_eq!(missing, 127, "{words}");
    assert!(words.contains("no-such-program"), "{words}");
    assert_eq!(code(agent.run(launch(&["/no/such"]))).0, 127);
    assert_eq!(code(agent.run(launch(&["/etc/passwd"]))).0, 126);
    assert_eq!(code(agent.run(launch(&["/etc"]))).0, 126);
    std::fs::write(home.path("plain"), "echo plain script $1\n").unwrap();
    let path = home.path("plain");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(out(&agent.run(launch(&[path.to_str().unwrap(), "x"]))), "plain script x\n");
}

#[test]
fn missing_directory_is_refused_and_no_end() {
    let home = Home::new();
    let mut agent = home.agent();
    let mut given = launch(&["true"]);
    given.cwd = Text::from("/no/such/dir");
    let id = agent.start(1, given);
    assert_eq!(agent.refusal(id), Refusal::NoDirectory { path: "/no/such/dir".into() });
    assert_eq!(exited(&agent.run(launch(&["true"]))), 0);
}

#[test]
fn command_gets_a_login_environment_and_nothing_else() {
    let home = Home::new().with("SECRET_OF_THE_AGENT", "x");
    let mut agent = home.agent();
    let mut given = launch(&["env"]);
    given.env.0.push(("MINE".into(), "1".into()));
    let id = attempt();
    let mut order = agent.order(1, given, vec![member(id)]);
    order.grid_env.push(("GRID_TASK_ID".into(), "7".into()));
    agent.tell(&ToAgent::Start(order));
    let ended = agent.end(id);
    let mut names: Vec<&str> = out(&ended).lines().filter_map(|l| l.split_once('=')).map(|(n, _)| n).collect();
    names.sort_unstable();
    for wanted in
        ["GRID_ATTEMPT", "GRID_ATTEMPT_ID", "GRID_TASK_ID", "HOME", "LOGNAME", "MINE", "PATH", "SHELL", "USER"]
    {
        assert!(names.contains(&wanted), "{wanted} in {names:?}");
    }
    assert!(names.iter().all(|n| !n.contains("SECRET") && !n.contains("CARGO")), "{names:?}");
}

#[test]
fn command_inherits_no_descriptors_ignored_signals_or_stdin() {
    // The agent is started by a shell that leaves a descriptor open and ignores two signals, as nohup does.
    let mut home = Home::new();
    home.rough = true;
    let mut agent = home.agent();
    assert_eq!(out(&agent.run(sh("ls /proc/self/fd | tr '\\n' ' '"))), "0 1 2 3 ");
    assert_eq!(out(&agent.run(sh("readlink /proc/self/fd/0; cat"))), "/dev/null\n");
    assert_eq!(out(&agent.run(sh("umask"))), "0022\n");
    let status = agent.run(sh("grep -E '^Sig(Ign|Blk):' /proc/self/status"));
    for line in out(&status).lines() {
        let mask = u64::from_str_radix(line.split_ascii_whitespace().nth(1).unwrap(), 16).unwrap();
        // Above 31 are the C library's own.
        assert_eq!(mask & 0x7fff_ffff, 0, "{line}");
    }
}

#[test]
fn command_gets_the_stdin_and_output_files_of_its_start() {
    let home = Home::new();
    let mut agent = home.agent();
    let mut given = sh("cat; echo e >&2");
    given.cwd = Text::from(home.dir.path().as_os_str().to_owned());
    given.stdin = Some(b"from the submitter".to_vec());
    given.stdout = Some("o.txt".into());
    for _ in 0..2 {
        let ended = agent.run(given.clone());
        assert_eq!((exited(&ended), ended.end.out_len, ended.err.as_deref()), (0, 0, Some(&b"e\n"[..])));
    }
    assert_eq!(std::fs::read_to_string(home.path("o.txt")).unwrap(), "from the submitter");
    given.stderr = given.stdout.clone();
    agent.run(given.clone());
    assert_eq!(std::fs::read_to_string(home.path("o.txt")).unwrap(), "from the submittere\n");
    given.stdout = Some("no/such/dir/o".into());
    let id = agent.start(1, given);
    assert!(matches!(agent.refusal(id), Refusal::NoOutput { .. }));
}
