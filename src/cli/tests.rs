//! The command line as people type it.

use super::args::databases::TaskCommand;
use super::args::servers::ServerCommand;
use super::args::{Args, SubCommand};
use super::exit::{Code, Speaks};
use super::failure::Failure;
use super::output::{Out, Style};
use super::{commands, help_last, refused};
use crate::ops::OpsError;
use clap::{CommandFactory, Parser};
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn parse(words: &str) -> Result<SubCommand, clap::Error> {
    let words = words.split_whitespace();
    Args::try_parse_from(std::iter::once("grid").chain(words)).map(|args| args.command.unwrap())
}

/// Exit code and stderr of a command line that must not reach a home.
fn fails(words: &str) -> (Code, String) {
    let stderr = Sink::default();
    let mut out = Out::new(Box::new(Sink::default()), Box::new(stderr.clone()), Style::default());
    let code = match parse(words) {
        Err(error) => {
            let words: Vec<OsString> =
                std::iter::once("grid").chain(words.split_whitespace()).map(OsString::from).collect();
            refused(&error, &words, &mut out)
        }
        Ok(command) => commands::run(command, &mut out).unwrap_or_else(|failure| failure.tell(&mut out, Speaks::Grid)),
    };
    (code, stderr.text())
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn a_verb_parsed_by_itself_is_parsed_as_in_the_whole() {
    for line in [
        "grid submit -- true",
        "grid submit -- -- -c 4 --help",
        "grid submit -H -- true",
        "grid submit --parsable --hold -W -- -H",
        "grid submit --json --wait -- true",
        "grid run --keep-going -- true",
        "grid run -- sh -c exit",
        "grid submit -c 4 --mem 8G -t 1h -J x -a 1-9:2%3 --app R>=4 -C server.cpus>2 --json -- sh -c exit",
        "grid submit --wait --parsable -e err.txt ls -l",
        "grid run -- make -j4",
        "grid run --dir --fetch out --user ann make",
        "grid dispatcher serve --home /tmp/h --asked",
        "grid dispatcher stop",
        "grid agent --spool /tmp/x --files 1024",
        "grid supervise /tmp/x --files 1024",
        "grid serve --as ann --vouch front",
    ] {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let alone = super::often::parse(&words).map(|command| format!("{command:?}"));
        let whole = Args::try_parse_from(words).unwrap().command;
        assert_eq!(alone, whole.map(|command| format!("{command:?}")), "{line}");
    }
    for line in [
        "grid",
        "grid submit",
        "grid submit --",
        "grid submit --help",
        "grid submit --bogus -- true",
        "grid submit -H --hold -- true",
        "grid submit --parsable --json -- true",
        "grid submit -H --",
        "grid run --keep-going --keep-going -- true",
        "grid status",
        "grid run -c x y",
        "grid dispatcher",
        "grid dispatcher --help",
        "grid serve --vouch front",
    ] {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        assert!(super::often::parse(&words).is_none(), "{line}: complaints and help are the whole program's");
    }
}

#[test]
fn a_command_is_taken_as_given_with_and_without_dashes() {
    for words in ["submit -c 2 -- sh -c true", "submit -c 2 sh -c true", "submit --cpus-per-task=2 sh -c true"] {
        let Ok(SubCommand::Submit(submit)) = parse(words) else { panic!("{words}") };
        assert_eq!(submit.task.cpus, Some(2), "{words}");
        assert_eq!(submit.task.command, ["sh", "-c", "true"], "{words}");
    }
    let strange = OsString::from_vec(vec![b'a', 0xff]);
    let words = ["grid".into(), "submit".into(), "-o".into(), strange.clone(), "--".into(), strange.clone()];
    let Some(SubCommand::Submit(submit)) = Args::try_parse_from(words).unwrap().command else { panic!() };
    assert_eq!((submit.task.command, submit.task.stdout), (vec![strange.clone()], Some(strange)));
}

#[test]
fn options_as_people_know_them() {
    let words = "submit -c 8 --mem 16G -t 1-02:00:00 -a 1-100:2%4 -C a --prefer b -w lab/n1 -x n2,n3 --app blender>=4.1 --app a,b \
                 -J n -o o -e e --cwd /tmp --env A --env B=1 -H -W -n --priority -3 --profile p --user u --hold-unmatched --retries 2 \
                 --retry-lost --json -- true";
    let Ok(SubCommand::Submit(submit)) = parse(words) else { panic!() };
    let task = &submit.task;
    assert_eq!((task.priority, task.retries, task.apps.len(), task.exclude.len()), (Some(-3), Some(2), 3, 2));
    assert_eq!(task.time.unwrap().as_secs(), 93_600);
    assert!(submit.hold && submit.wait && submit.json && task.dry_run && task.retry_lost && task.hold_unmatched);
    let Ok(SubCommand::Submit(submit)) = parse("submit --shell a|b") else { panic!() };
    assert!(submit.task.command.is_empty());
    assert!(matches!(
        parse("server add n1 --local --distributor lab-b"),
        Ok(SubCommand::Server(ServerCommand::Add(_)))
    ));
    assert!(matches!(parse("server add x --ssh h --ssh-option Port=2"), Ok(SubCommand::Server(ServerCommand::Add(_)))));
    assert!(matches!(parse("task show 12"), Ok(SubCommand::Task(TaskCommand::Show(_)))));
}

#[test]
fn what_is_not_built_is_refused_in_so_many_words_and_absent_from_help() {
    for words in [
        "submit -d afterok:1 true",
        "submit --after 1 true",
        "submit -b tomorrow true",
        "submit -L matlab:1 true",
        "run -G 1 true",
    ] {
        let (code, said) = fails(words);
        assert_eq!(code, Code::USAGE, "{words}: {said}");
        assert!(said.starts_with("grid: ") && said.contains("not supported yet"), "{words}: {said}");
    }
    let mut command = Args::command();
    command.build();
    for verb in ["submit", "run", "server add"] {
        let found = verb.split(' ').fold(&mut command, |c, name| c.find_subcommand_mut(name).unwrap());
        let help = found.render_long_help().to_string();
        for absent in ["--dependency", "--after", "--begin", "--license", "--gpus"] {
            assert!(!help.contains(absent), "{verb}: {absent}");
        }
    }
    let help = command.render_long_help().to_string();
    assert!(!help.lines().any(|line| ["agent", "supervise", "serve "].iter().any(|v| line.trim().starts_with(v))));
}

#[test]
fn help_may_stand_before_the_verb() {
    let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
    assert_eq!(help_last(words("grid help submit")), words("grid submit --help"));
    assert_eq!(help_last(words("grid help")), words("grid --help"));
    assert_eq!(help_last(words("grid run help")), words("grid run help"));
}

#[test]
fn wrong_usage_is_2_with_a_word_on_what_is_wrong() {
    for (words, part) in [
        ("submit", "-- COMMAND"),
        ("submit -c 0 true", "--cpus"),
        ("submit --mem 512 true", "needs a unit"),
        ("submit -t 90 true", "needs a unit"),
        ("submit -a 5-1 true", "above the last"),
        ("submit --each-line /does/not/exist -- true", "/does/not/exist"),
        ("submit --each-line - --stdin -- true", "both read stdin"),
        ("submit --env GRID_NOT_SET_ANYWHERE -- true", "not set here"),
        ("submit --parsable --json true", "cannot be used"),
        ("server add x", "--local"),
        ("server add -oX --local", "unexpected"),
        ("server add fast --local --set cpus=4", "--cpus"),
        ("server set fast --set mem_total=4", "--mem"),
        ("server set fast --set 1x=4", "attribute name"),
        ("server set fast --max-load 0", "above 0"),
        ("server set fast --max-load -1", "above 0"),
        ("server set fast", "--slots"),
        ("user set alice", "--group"),
        ("task set render", "--cpus"),
        ("client set h --set os=x", "built in"),
        ("distributor add x --tier 3", "--tier"),
        ("distributor search --tier 1 random", "no way to search"),
        ("wait 15-12", "names no task"),
        ("squeue", "no verb \"squeue\"; here it is `grid status`"),
        ("server rm h1", "unrecognized subcommand 'rm'"),
        ("sql", "required"),
        ("sql .tables", "--schema"),
        ("nonsense", "unrecognized"),
    ] {
        let (code, said) = fails(words);
        assert_eq!(code, Code::USAGE, "{words}: {said}");
        assert!(said.starts_with("grid: "), "{words}: {said}");
        assert!(said.contains(part), "{words}: {said}");
    }
}

#[test]
fn what_disturbs_a_terminal_is_escaped_in_complaints() {
    let (_, said) = fails("wait \u{1b}[31m\u{202e}x");
    assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
}

#[test]
fn a_closed_pipe_ends_quietly_as_a_filter_does() {
    let stderr = Sink::default();
    let mut out = Out::new(Box::new(Closed), Box::new(stderr.clone()), Style::default());
    let done = commands::run(parse("sql --schema").unwrap(), &mut out);
    let code = done.unwrap_or_else(|failure| failure.tell(&mut out, Speaks::Grid));
    assert_eq!((code, stderr.text()), (Code::READER_GONE, String::new()));
}

#[test]
fn completions_and_manual_come_from_the_same_types() {
    for words in ["completions bash", "completions zsh", "completions fish", "man"] {
        let stdout = Sink::default();
        let mut out = Out::new(Box::new(stdout.clone()), Box::new(Sink::default()), Style::default());
        commands::run(parse(words).unwrap(), &mut out).unwrap();
        assert!(stdout.text().contains("submit"), "{words}");
        assert!(!stdout.text().contains("supervise") || words == "completions zsh" || words != "man", "{words}");
    }
}

#[test]
fn remove_without_tasks_says_how_they_are_named() {
    let (code, said) = fails("remove");
    assert_eq!(code, Code::USAGE);
    assert!(said.contains("say which tasks") && said.contains("--older 7d"), "{said}");
}

#[test]
fn failure_says_the_error_that_it_ends_with() {
    let error = |text: &str| OpsError::Grid(text.to_owned());
    let failure = Failure::from(error("task 1: the dispatcher did not begin"));
    assert!(failure.says(&error("the dispatcher did not begin")) && !failure.says(&error("the disk is full")));
}
