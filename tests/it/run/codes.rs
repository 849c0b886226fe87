//! Exit codes and streams.

use crate::support::Grid;

#[test]
fn streams_stay_apart_and_the_code_is_the_tasks() {
    let grid = Grid::new();
    let done = grid.grid(["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).expect(7);
    assert_eq!((done.out().as_str(), done.err().as_str()), ("out\n", "err\n"));
    let shown = grid.show("last");
    assert_eq!((&shown["state"], &shown["exit_code"]), (&"FAILED".into(), &7.into()));
}

#[test]
fn end_by_a_signal_gives_the_code_of_a_shell() {
    let grid = Grid::new();
    for (name, number) in [("KILL", 9), ("TERM", 15), ("USR1", 10)] {
        grid.grid(["run", "--", "sh", "-c", &format!("kill -{name} $$")]).expect(128 + number);
        let shown = grid.show("last");
        assert_eq!((&shown["signal"], &shown["exit_code"]), (&number.into(), &serde_json::Value::Null), "{shown}");
    }
}

#[test]
fn missing_or_not_executable_command_gives_127_or_126() {
    let grid = Grid::new();
    grid.grid(["run", "--", "no-such-command-here"]).expect(127).says(&["no-such-command-here"]);
    assert_eq!(grid.state("last"), "FAILED");
    std::fs::write(grid.file("plain"), "text").unwrap();
    grid.grid(["run", "--", "./plain"]).expect(126).says(&["./plain"]);
    grid.grid(["run", "--", "./no-such-file"]).expect(127);
    std::fs::create_dir(grid.file("folder")).unwrap();
    grid.grid(["run", "--", "./folder"]).expect(126);
    // A script without an interpreter line, as a shell runs it or refuses it: never a success.
    std::fs::write(grid.file("odd"), "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(grid.file("odd"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let code = grid.grid(["run", "--", "./odd"]).code();
    assert!([126, 127].contains(&code), "{code}");
}

#[test]
fn time_limit_gives_code_124() {
    let grid = Grid::new();
    grid.fifo("never");
    grid.grid(["run", "-t", "1s", "--", "sh", "-c", "read x < never"]).expect(124);
    assert_eq!(grid.state("last"), "TIMEOUT");
}

#[test]
fn cancelled_task_gives_code_130() {
    let grid = Grid::new();
    grid.fifo("never");
    let run = grid.beside(["run", "--", "sh", "-c", "echo begun; read x < never"]);
    crate::support::process::until("it runs", || {
        grid.number("select count(*) from member where state = 'RUNNING'") == 1
    });
    grid.grid(["cancel", "1"]).ok();
    crate::support::process::finish(run, "grid run".to_owned()).expect(130);
    assert_eq!(grid.state("1"), "CANCELLED");
}

#[test]
fn wait_gives_the_highest_code_and_submit_wait_the_tasks() {
    let grid = Grid::new();
    let ids = ["0", "9", "3"].map(|code| grid.submit(["--", "sh", "-c", &format!("exit {code}")]));
    grid.grid(["wait", &ids[0], &ids[1], &ids[2]]).expect(9);
    grid.grid(["wait", &ids[2]]).expect(3);
    grid.grid(["wait", "all"]).expect(0);
    grid.grid(["submit", "-W", "--", "sh", "-c", "exit 5"]).expect(5);
    grid.grid(["wait", "99"]).expect(1).says(&["99"]);
    grid.grid(["submit", "-W", "-c", "999", "--", "true"]).expect(75);
}

#[test]
fn an_array_ends_with_the_highest_code_of_its_members() {
    let grid = Grid::new();
    let id = grid.submit(["-a", "1-9:2", "--", "sh", "-c", "test $GRID_ARRAY_INDEX != 5 || exit 4"]);
    grid.grid(["wait", &id]).expect(4);
    let shown = grid.show(&id);
    assert_eq!(
        (&shown["state"], &shown["counts"]["COMPLETED"], &shown["counts"]["FAILED"]),
        (&"FAILED".into(), &4.into(), &1.into())
    );
    grid.grid(["wait", &format!("{id}.5")]).expect(4);
    grid.grid(["wait", &format!("{id}.3")]).ok();
    grid.grid(["show", &format!("{id}.2")]).expect(1);
}

#[test]
fn large_outputs_come_whole_and_in_order() {
    let grid = Grid::new();
    let script = "seq 1 200000; seq 1 50000 >&2";
    let done = grid.grid(["run", "--", "sh", "-c", script]).expect(0);
    let count = |n: u32| (1..=n).map(|i| format!("{i}\n")).collect::<String>();
    assert!(done.out() == count(200_000), "stdout differs: {} bytes", done.out.len());
    assert!(done.err() == count(50_000), "stderr differs: {} bytes", done.err.len());
    let logs = grid.grid(["logs", "last"]).expect(0);
    assert!(logs.out == done.out && logs.err == done.err, "logs tell the same: {} {}", logs.out.len(), logs.err.len());
}

#[test]
fn stdin_goes_to_the_task_only_if_asked() {
    let grid = Grid::new();
    assert_eq!(grid.grid_with(b"one\ntwo\n", ["run", "--stdin", "--", "wc", "-l"]).ok().trim(), "2");
    assert_eq!(grid.grid_with(b"one\ntwo\n", ["run", "--", "wc", "-l"]).ok().trim(), "0");
}

#[test]
fn named_variables_are_added_and_their_values_shown_nowhere() {
    let mut grid = Grid::new();
    grid.set_env("SECRET", "s3cret");
    grid.set_env("WANTED", "here");
    let env = grid.grid(["run", "--env-none", "--env", "WANTED", "--env", "A=b c", "--", "env"]).ok();
    for line in ["WANTED=here", "A=b c", "GRID_TASK_ID=1", "GRID_ATTEMPT=1", "GRID_SERVER=local", "GRID_CPUS=1"] {
        assert!(env.lines().any(|l| l == line), "{line}: {env}");
    }
    assert!(!env.contains("SECRET"), "{env}");
    // Values stand in the file and nowhere else.
    assert!(!grid.show("last").to_string().contains("b c"));
}

#[test]
fn files_on_the_server_take_the_outputs() {
    let grid = Grid::new();
    grid.grid(["run", "-o", "out.txt", "-e", "err.txt", "--", "sh", "-c", "echo out; echo err >&2"]).ok();
    assert_eq!((grid.lines("out.txt"), grid.lines("err.txt")), (vec!["out".to_owned()], vec!["err".to_owned()]));
}

#[test]
fn output_file_that_members_or_attempts_share_is_told_at_the_submit() {
    let grid = Grid::new();
    std::fs::write(grid.file("list"), "a\nb\n").unwrap();
    let told = |line: &str| grid.sh(&format!("grid submit -H {line} -- true")).expect(0).err();
    assert!(told("-a 1-3 -o out").contains("-o out: all 3 members write this file"), "{}", told("-a 1-3 -o out"));
    assert!(told("--each-line list -e err.log").contains("write -e 'err.%a.log'"));
    assert!(told("--retries 2 -o out").contains("write -o 'out.%r'"));
    for apart in ["-o out", "-a 1-3 -o out.%a", "-a 1-3 -o /dev/null", "--retries 2 -o out.%r"] {
        assert_eq!(told(apart), "", "{apart}");
    }
}

#[test]
fn output_files_of_attempts_are_kept_apart_by_their_number() {
    let grid = Grid::new();
    let script = "echo $GRID_ATTEMPT; test $GRID_ATTEMPT = 2";
    grid.grid(["run", "--retries", "1", "-o", "out.%r", "--", "sh", "-c", script]).expect(0);
    assert_eq!((grid.lines("out.1"), grid.lines("out.2")), (vec!["1".to_owned()], vec!["2".to_owned()]));
}

#[test]
fn outputs_to_one_file_by_two_names_do_not_overwrite_each_other() {
    let grid = Grid::new();
    let script = "echo out; echo err >&2; echo more";
    grid.grid(["run", "-o", "all", "-e", "./all", "--", "sh", "-c", script]).expect(0);
    assert_eq!(grid.lines("all"), ["out", "err", "more"]);
}
