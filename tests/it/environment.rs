//! What a task gets depends on its submit and its server, never on who started a process of grid.

use crate::support::Grid;
use crate::support::done::Done;
use crate::support::process;

/// Prints what a process inherits.
const ALL: &str = "echo path=$PATH; echo tz=$TZ lang=$LANG num=$LC_NUMERIC; echo var=$WANTED venv=$VIRTUAL_ENV; echo home=$GRID_HOME; \
                   echo t=$(ulimit -St) f=$(ulimit -Sf) n=$(ulimit -Sn) s=$(ulimit -Ss) v=$(ulimit -Sv) c=$(ulimit -Sc); \
                   echo nice=$(nice) oom=$(cat /proc/self/oom_score_adj) umask=$(umask)";

/// A shell that is unlike the one that starts the dispatcher in everything that a task can inherit.
const SHELL_B: &str = "export PATH=/b/bin:$PATH TZ=Asia/Tokyo LANG=de_DE.UTF-8 LC_NUMERIC=fr_FR.UTF-8 WANTED='a b' VIRTUAL_ENV=/b; umask 027; \
                       ulimit -St 777; ulimit -Sf 4096; ulimit -Sn 301; ulimit -Ss 4096; ulimit -Sv 8000000; ulimit -Sc 5";

/// The settings of a shell that starts the dispatcher; nothing of them may reach a task.
const SHELL_A: &str = "export PATH=/a/bin:$PATH TZ=Europe/Prague LANG=cs_CZ.UTF-8 LC_NUMERIC=cs_CZ.UTF-8 WANTED=a VIRTUAL_ENV=/a; umask 077; \
                       ulimit -St 60; ulimit -Sn 128; ulimit -Sc 1";

fn bash(grid: &Grid, script: &str) -> Done {
    process::run(grid.command("bash").args(["-c", script]))
}

#[test]
fn task_gets_what_its_submitter_has_whoever_started_the_dispatcher() {
    let grid = Grid::new();
    bash(&grid, &format!("{SHELL_A}; nice -n 3 grid run -- true")).ok();
    // The same command with and without a grid before it.
    let typed =
        |verb: &str| format!("{SHELL_B}; echo 9 > /proc/self/oom_score_adj; exec nice -n 7 {verb} bash -c '{ALL}'");
    let alone = bash(&grid, &typed("")).ok();
    for part in ["path=/b/bin:", "num=fr_FR.UTF-8", "var=a b", "n=301 s=4096 v=8000000 c=5", "umask=0027"] {
        assert!(alone.contains(part), "{part}: {alone}");
    }
    assert_eq!(bash(&grid, &typed("grid run --")).ok(), alone);
    // It waits while cron's refresh starts another dispatcher.
    let id = bash(&grid, &typed("grid submit -H --parsable --")).ok().trim().to_owned();
    grid.grid(["dispatcher", "stop"]).ok();
    bash(&grid, "env -i HOME=$HOME PATH=/usr/bin:/bin GRID_HOME=$GRID_HOME $(command -v grid) refresh").ok();
    grid.grid(["release", &id]).ok();
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.grid(["logs", &id]).ok(), alone);
    let shown = grid.show(&id);
    assert!(shown["path"].as_str().unwrap().starts_with("/b/bin:"), "{shown}");
}

#[test]
fn variable_that_only_the_starter_of_the_dispatcher_has_reaches_no_task() {
    let grid = Grid::new();
    bash(&grid, "export TZ=Europe/Prague LANG=cs_CZ.UTF-8 LC_ALL=cs_CZ.UTF-8 WANTED=a; grid run -- true").ok();
    let without = "unset TZ LANG LC_ALL WANTED; grid";
    let typed = "sh -c 'echo ${TZ-none},${LANG-none},${LC_ALL-none},${WANTED-none}; exit 3'";
    assert_eq!(bash(&grid, &format!("{without} run -- {typed}")).expect(3).out(), "none,none,none,none\n");
    // What it had at its submit holds for a retry, from whichever shell it is asked for.
    let id = bash(&grid, &format!("{without} submit --parsable -- {typed}")).ok().trim().to_owned();
    grid.grid(["wait", &id]).expect(3);
    bash(&grid, &format!("export TZ=Asia/Tokyo WANTED=b; grid retry {id}")).ok();
    grid.grid(["wait", &id]).expect(3);
    assert_eq!(grid.grid(["logs", &id]).ok(), "none,none,none,none");
    assert_eq!(grid.show(&id)["attempts"].as_array().unwrap().len(), 2);
}

#[test]
fn task_of_a_venv_and_of_make_gets_what_any_command_there_would() {
    let grid = Grid::new();
    bash(&grid, "python3 -m venv --without-pip venv && grid run -- true").ok();
    let prefix = "python3 -c 'import sys; print(sys.prefix)'";
    let venv = grid.file("venv").display().to_string();
    assert_eq!(bash(&grid, &format!(". venv/bin/activate; grid run -- {prefix}")).ok(), venv);
    // What `make` exports reaches its recipes, and the task that a recipe submits; its own options do not.
    let makefile = "export COMPILER = of-make\nall:\n\t@grid run -- sh -c 'echo $$COMPILER,$$MAKEFLAGS,$$ON_LINE'\n";
    std::fs::write(grid.file("Makefile"), makefile).unwrap();
    assert_eq!(bash(&grid, "make -s -j2 ON_LINE=typed").ok(), "of-make,,typed");
}

#[test]
fn dispatcher_sheds_the_limits_and_the_oom_score_of_its_starter() {
    let grid = Grid::new();
    bash(&grid, "ulimit -St 60; ulimit -Su 900; ulimit -Ss 4096; echo 9 > /proc/self/oom_score_adj; grid run -- true")
        .ok();
    let pid = grid.dispatcher().unwrap();
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let limits = of("limits");
    for name in ["Max cpu time", "Max processes"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let (soft, hard) = (line.split_whitespace().next(), line.split_whitespace().nth(1));
        assert_eq!(soft, hard, "{name}");
    }
    let stack = limits.lines().find_map(|line| line.strip_prefix("Max stack size")).unwrap();
    assert_eq!(stack.split_whitespace().next(), Some("8388608"));
    assert_eq!(of("oom_score_adj").trim(), "0");
}

#[test]
fn dispatcher_sheds_the_scheduling_policy_and_the_class_of_its_starter() {
    let grid = Grid::new();
    let asked = "chrt -p $$ | sed 's/pid [0-9]*//'; ionice -p $$";
    bash(&grid, "chrt -b 0 ionice -c 3 grid run -- true").ok();
    let alone = bash(&grid, asked).ok();
    assert!(alone.contains("SCHED_OTHER"), "{alone}");
    assert_eq!(grid.grid(["run", "--", "bash", "-c", asked]).ok(), alone);
}

#[test]
fn submits_of_one_shell_keep_one_environment() {
    let grid = Grid::new();
    grid.sh("for n in 1 2 3 4 5; do grid submit -H -- true; done; grid submit -H --env-none -- true").ok();
    assert_eq!(grid.number("SELECT count(*) FROM environment"), 2);
    // Written by the command itself: an array of lines.
    grid.grid_with(b"a\nb\n", ["submit", "-H", "--each-line", "-", "--", "true"]).ok();
    assert_eq!(grid.number("SELECT count(*) FROM environment"), 2);
}

#[test]
fn minimal_environment_is_that_of_a_login_with_the_language() {
    let mut grid = Grid::new();
    grid.set_env("WANTED", "a");
    grid.set_env("TZ", "Asia/Tokyo");
    let seen =
        |arguments: &[&str]| grid.grid([arguments, &["--", "sh", "-c", "echo $WANTED,$TZ,$GRID_HOME"]].concat()).ok();
    let home = grid.home().display().to_string();
    assert_eq!(seen(&["run"]), format!("a,Asia/Tokyo,{home}"));
    assert_eq!(seen(&["run", "--env-none"]), format!(",Asia/Tokyo,{home}"));
    assert_eq!(seen(&["run", "--env-none", "--env", "WANTED"]), format!("a,Asia/Tokyo,{home}"));
    grid.grid(["config", "set", "env", "minimal"]).ok();
    assert_eq!(seen(&["run"]), format!(",Asia/Tokyo,{home}"));
    assert_eq!(seen(&["run", "--env-all"]), format!("a,Asia/Tokyo,{home}"));
    grid.grid(["config", "set", "env", "all"]).ok();
    grid.grid(["config", "set", "env_exclude", "WAN*"]).ok();
    assert_eq!(seen(&["run"]), format!(",Asia/Tokyo,{home}"));
    grid.grid(["task", "add", "bare", "--env-none", "--env", "WANTED"]).ok();
    assert_eq!(seen(&["run", "--profile", "bare"]), format!("a,Asia/Tokyo,{home}"));
}

#[test]
fn variable_that_may_be_unset_is_asked_for_with_a_question_mark() {
    let grid = Grid::new();
    grid.grid(["run", "--env", "NO_SUCH?", "--", "true"]).ok();
    grid.grid(["run", "--env", "NO_SUCH", "--", "true"]).expect(2).says(&["--env NO_SUCH=VALUE", "--env 'NO_SUCH?'"]);
    grid.grid(["run", "--env", "ALL", "--", "true"]).expect(2).says(&["--env-all"]);
}

#[test]
fn task_that_submits_submits_into_its_own_home() {
    let mut grid = Grid::new();
    grid.unset_env("SLURM_JOB_ID");
    let said = grid.sh("grid run -- sh -c 'env -u GRID_TASK_ID grid run -- sh -c \"echo \\$GRID_TASK_ID\"'").ok();
    assert_eq!(said, "2");
    assert_eq!(grid.tasks(), 2);
}

#[test]
fn grid_in_a_task_makes_no_home_unasked() {
    let mut grid = Grid::bare();
    grid.set_env("GRID_TASK_ID", "7");
    grid.set_env("GRID_SUBMIT_HOST", "alpha");
    grid.sh("env -u GRID_HOME grid submit -- true").expect(1).says(&["task 7", "alpha", "GRID_HOME"]);
}

#[test]
fn values_of_variables_are_shown_nowhere_and_left_out_of_a_backup_if_asked() {
    let mut grid = Grid::new();
    grid.set_env("TOKEN", "s3cret-value");
    let id = grid.submit(["-H", "--env", "NAMED=s3cret-named", "--", "true"]);
    let texts = [
        grid.grid(["show", &id]).ok(),
        grid.grid(["sql", "SELECT hex(variables) AS v, attributes FROM environment"]).ok(),
        grid.grid(["sql", "SELECT hex(env) FROM task"]).ok(),
    ];
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
    for text in texts {
        assert!(!text.contains("s3cret") && !text.contains(&hex("s3cret")), "{text}");
    }
    let holds = |file: &str, text: &str| {
        std::fs::read(grid.file(file)).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    grid.grid(["backup", "all.db"]).ok();
    assert!(holds("all.db", "s3cret-value") && holds("all.db", "s3cret-named"));
    grid.grid(["backup", "--no-env", "without.db"]).ok();
    assert!(!holds("without.db", "s3cret-value") && !holds("without.db", "s3cret-named"));
}

#[test]
fn environment_is_erased_once_it_is_old_and_a_retry_takes_the_callers() {
    let mut grid = Grid::new();
    grid.set_env("WANTED", "old");
    let id = grid.submit(["--", "sh", "-c", "echo $WANTED; exit 1"]);
    grid.grid(["wait", &id]).expect(1);
    grid.grid(["config", "set", "keep_env", "1ms"]).ok();
    grid.grid(["gc"]).ok();
    assert_eq!(grid.number("SELECT count(*) FROM environment WHERE erased_at IS NULL"), 0);
    grid.grid(["show", &id]).shows(&["erased"]);
    grid.set_env("WANTED", "new");
    grid.grid(["retry", &id]).expect(0).says(&["erased"]);
    grid.grid(["wait", &id]).expect(1);
    assert_eq!(grid.grid(["logs", &id]).out(), "new\n");
}

#[test]
fn umask_of_the_submitter_holds_for_files_that_are_made_for_the_task() {
    let grid = Grid::new();
    grid.sh("umask 037; grid run -o out.txt -- sh -c 'echo x; echo y > made.txt'").ok();
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(grid.file(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("out.txt"), mode("made.txt")), (0o640, 0o640));
}

#[test]
fn command_with_limits_of_its_own_fails_as_any_other() {
    let grid = Grid::new();
    std::fs::write(grid.file("no-format"), "echo from sh\n").unwrap();
    grid.sh("chmod +x no-format; ulimit -St 99; grid run -- ./no-format").shows(&["from sh"]);
    grid.sh("ulimit -St 99; grid run -- no-such-command").expect(127);
    grid.sh("ulimit -St 99; grid run -- /").expect(126);
    let spins = "ulimit -St 1; grid run -- sh -c 'while :; do :; done'";
    assert!(matches!(grid.sh(spins).code(), 137 | 152), "SIGXCPU or SIGKILL");
}

#[test]
fn environment_of_too_many_variables_is_refused_and_stops_no_other_task() {
    let grid = Grid::new();
    let with = |many: u32, option: &str| {
        let mut command = grid.typed(["run", option, "--", "sh", "-c", "env | grep -c ^MANY"]);
        command.envs((0..many).map(|number| (format!("MANY_{number}"), "x")));
        process::run(&mut command)
    };
    assert_eq!(with(9_000, "--keep-going").ok(), "9000");
    with(10_001, "--keep-going").expect(2).says(&["at most 10000", "--env-none", "env_exclude"]);
    assert_eq!(with(10_001, "--env-none").out(), "0\n");
    grid.grid(["run", "--", "true"]).ok();
}
