//! What a task gets depends on its submit and its server, never on who started a process of grid.

use crate::support::done::Done;
use crate::support::grid::tested_program;
use crate::support::{Grid, process, skipped};
use rustix::process::getuid;

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

/// Becomes a plain user, if the test is root.
const AS_NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// The words before a command of a plain user: none if the test is one.
fn as_plain_user() -> &'static [&'static str] {
    if getuid().is_root() { &AS_NOBODY } else { &[] }
}

/// A grid without a home yet, in directories of a plain user, with a program that this user may execute. None, after saying why, where
/// there is no such user.
fn grid_of_plain_user(test: &str) -> Option<Grid> {
    let mut grid = Grid::bare();
    let dir = grid.work().parent().unwrap().to_owned();
    let program = dir.join("bin/grid");
    std::fs::create_dir(dir.join("bin")).unwrap();
    std::fs::copy(tested_program(), &program).unwrap();
    if getuid().is_root() {
        for part in ["", "user", "work"] {
            std::os::unix::fs::chown(dir.join(part), Some(65_534), Some(65_534)).unwrap();
        }
    }
    grid.set_env("PATH", &format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap_or_default()));
    let tried = process::run(grid.command("sh").args(["-c", &format!("{} grid --version", as_plain_user().join(" "))]));
    match tried.code() {
        0 => Some(grid),
        _ => {
            skipped(test, &format!("no plain user can execute grid here: {}", tried.err()));
            None
        }
    }
}

/// A script of the plain user.
fn plain_bash(grid: &Grid, script: &str) -> Done {
    let words = [as_plain_user(), &["bash", "-c", script]].concat();
    process::run(grid.command(words[0]).args(&words[1..]))
}

/// Compares a command with and without a grid before it, in another shell than the one that starts the dispatcher.
fn task_gets_what_its_submitter_has(bash: impl Fn(&str) -> Done) {
    bash(&format!("{SHELL_A}; nice -n 3 grid run -- true")).ok();
    let typed =
        |verb: &str| format!("{SHELL_B}; echo 9 > /proc/self/oom_score_adj; exec nice -n 7 {verb} bash -c '{ALL}'");
    let (out, err) = (bash(&typed("")).out(), bash(&typed("")).err());
    let alone = out.trim_end();
    for part in ["path=/b/bin:", "num=fr_FR.UTF-8", "var=a b", "n=301 s=4096 v=8000000 c=5", "oom=9 umask=0027"] {
        assert!(alone.contains(part), "{part}: {alone}");
    }
    let ran = bash(&typed("grid run --"));
    assert_eq!((ran.out(), ran.err()), (out.clone(), err));
    // It waits while cron's refresh starts another dispatcher.
    let id = bash(&typed("grid submit -H --parsable --")).ok();
    bash("grid dispatcher stop").ok();
    bash("env -i HOME=$HOME PATH=/usr/bin:/bin GRID_HOME=$GRID_HOME $(command -v grid) refresh").ok();
    bash(&format!("grid release {id} && grid wait {id}")).ok();
    assert_eq!(bash(&format!("grid logs {id}")).ok(), alone);
    let shown = bash(&format!("grid show {id} --json")).json();
    assert!(shown["path"].as_str().unwrap().starts_with("/b/bin:"), "{shown}");
}

#[test]
fn task_gets_what_its_submitter_has_whoever_started_the_dispatcher() {
    let grid = Grid::new();
    task_gets_what_its_submitter_has(|script| bash(&grid, script));
}

#[test]
fn task_of_a_plain_user_gets_what_its_submitter_has_whoever_started_the_dispatcher() {
    let Some(grid) = grid_of_plain_user("environment of a plain user's task") else { return };
    task_gets_what_its_submitter_has(|script| plain_bash(&grid, script));
}

#[test]
fn submit_names_the_limits_that_its_dispatcher_cannot_shed() {
    let Some(grid) = grid_of_plain_user("limits that a plain user's dispatcher cannot shed") else { return };
    let (root, become_plain) = (getuid().is_root(), as_plain_user().join(" "));
    // What root has set a plain user can't lower, where root may do so itself.
    let oom_score = if root { "echo 9 > /proc/self/oom_score_adj;" } else { "" };
    let lower = "echo 0 > /proc/self/oom_score_adj";
    let keeps_oom_score = root && bash(&grid, &format!("{oom_score} {become_plain} bash -c '{lower}'")).code() != 0;
    let start = "ulimit -t 600; ulimit -n 200; nice -n 3 grid run -- true";
    bash(&grid, &format!("{oom_score} {become_plain} bash -c '{start}'")).ok();
    let of_login = plain_bash(&grid, ALL).ok();
    let limits = |printed: &str| {
        let word = |name: &str| printed.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
        ["t=", "n=", "nice=", "oom="].map(word)
    };
    let [time, files, nice, oom] = limits(&of_login);
    let ran = plain_bash(&grid, &format!("grid run -- bash -c '{ALL}'"));
    let mut tighter = vec![format!("processor time 600 (here {time})"), format!("open files 200 (here {files})")];
    tighter.push(format!("niceness 3 (here {nice})"));
    if keeps_oom_score {
        tighter.push(format!("oom score 9 (here {oom})"));
    }
    let all = tighter.join(", ");
    let note = format!("started under tighter limits, which its tasks keep to: {all}; `grid dispatcher stop`");
    let kept = limits(&ran.clone().says(&[&note]).ok());
    assert_eq!(kept, ["600", "200", "3", if keeps_oom_score { "9" } else { &oom }].map(str::to_owned));
    plain_bash(&grid, "grid dispatcher stop").ok();
    let ran = plain_bash(&grid, &format!("grid run -- bash -c '{ALL}'"));
    assert_eq!((ran.err(), limits(&ran.clone().ok())), (String::new(), [time, files, nice, oom]));
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
    // What a shell would split or expand is quoted, so that it can be pasted.
    grid.grid(["run", "--env", "NO SUCH", "--", "true"]).expect(2).says(&["--env 'NO SUCH=VALUE'", "--env 'NO SUCH?'"]);
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
