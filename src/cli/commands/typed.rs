//! From the options of `submit` and `run` to a draft: files and stdin are read here, what is not built yet is refused.

use super::super::args::tasks::{NotYetOptions, TaskOptions};
use super::super::caller;
use super::super::failure::Failure;
use super::super::output::Out;
use super::profiles::environment_choice;
use crate::model::array::AtOnce;
use crate::model::command::{Command, Text, unprintable};
use crate::model::task::Members;
use crate::ops::OpsError;
use crate::ops::draft::{Draft, environment};
use crate::ops::expressions::{ExpressionRole, remarks};
use crate::ops::output_files::overwritten;
use crate::ops::submit::pack::FileRequest;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most that `--stdin` takes: it travels in one message.
const STDIN_MAX: u64 = 8 << 20;
/// The longest list that `--each-line` takes.
const LINES_MAX: usize = 10_000_000;

/// Everything that was typed, checked and read.
pub fn draft(options: TaskOptions, hold: bool, out: &mut Out) -> Result<Draft, Failure> {
    refuse(&options.not_yet)?;
    if options.stdin && options.each_line.as_deref() == Some(Path::new("-")) {
        return Err(Failure::usage("--stdin and --each-line -: both read stdin; put the lines in a file"));
    }
    if options.each_line.is_some()
        && options.shell.as_ref().is_some_and(|s| s.as_bytes().windows(2).any(|w| w == b"{}"))
    {
        return Err(Failure::usage(
            "--shell: the shell would run the text of a line that {} inserts: write \"$GRID_ENTRY\" for the line",
        ));
    }
    let command = command(options.command, options.shell, out)?;
    let members = match (options.array, &options.each_line) {
        (Some(array), _) => array,
        (None, Some(file)) => Members::Lines { lines: lines(file, command.entry_max())?, at_once: None },
        (None, None) => Members::Single,
    };
    let members = match options.at_once {
        Some(most) => bounded(members, most)?,
        None => members,
    };
    if let Some(number) = options.name.as_ref().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        out.note(&format!("-J {number} names the task {number:?}; -j {number} runs {number} members at once"));
    }
    let stdin = if options.stdin { Some(stdin()?) } else { None };
    if let Some(name) = &options.name
        && (name.is_empty() || name.chars().count() > 200 || name.chars().any(unprintable))
    {
        return Err(Failure::usage("--name: 1 to 200 characters that can be seen: no control or direction marks"));
    }
    for (option, file) in [("--stdout", &options.stdout), ("--stderr", &options.stderr)] {
        if file.as_ref().is_some_and(|file| file.is_empty()) {
            return Err(Failure::usage(format!("{option}: say which file; /dev/null for none")));
        }
    }
    let cwd = match options.cwd {
        Some(dir) if dir.is_absolute() => dir,
        Some(dir) => here()?.join(dir),
        None => here()?,
    };
    let (cwd, home) = caller::with_home(cwd);
    let draft = Draft {
        command,
        members,
        name: options.name,
        profile: options.profile,
        cpus: options.cpus,
        mem: options.mem,
        apps: options.apps,
        time_limit: options.time,
        max_output: options.max_output,
        constraint: options.constraint,
        prefer: options.prefer,
        on: options.on,
        exclude: options.exclude,
        hold_unmatched: options.hold_unmatched,
        user: options.user,
        home: home.map(|home| home.into_os_string().into()),
        cwd: cwd.into_os_string().into(),
        env: environment(&options.env, |name| std::env::var_os(name))?,
        environment: environment_choice(options.env_all, options.env_none),
        stdout: options.stdout.map(Text::from),
        stderr: options.stderr.map(Text::from),
        stdin,
        priority: options.priority,
        retries: options.retries,
        retry_lost: options.retry_lost,
        lost_after: options.lost_after,
        hold,
        files: FileRequest { dir: options.dir, send: options.send, fetch: options.fetch },
    };
    overwritten(&draft).iter().for_each(|line| out.note(line));
    let typed = [(&draft.constraint, ExpressionRole::Constraint), (&draft.prefer, ExpressionRole::Preference)];
    remarks(&typed).iter().for_each(|line| out.note(line));
    Ok(draft)
}

/// The members with a bound on how many run at once.
fn bounded(mut members: Members, most: AtOnce) -> Result<Members, Failure> {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX));
    match &mut members {
        Members::Single => {
            return Err(Failure::usage(
                "-j: a single task has no members; -c N asks for processors, -a or --each-line makes an array",
            ));
        }
        Members::Range { at_once: Some(already), .. } => {
            return Err(Failure::usage(format!("-j and %{already}: say once how many members run at a time")));
        }
        Members::Range { at_once, .. } | Members::Lines { at_once, .. } => *at_once = most.most(cpus),
    }
    Ok(members)
}

/// This directory as the person came to it: links on the way mean the same on other hosts, what they lead to may not.
fn here() -> Result<PathBuf, Failure> {
    let gone = |error| Failure::usage(format!("this directory is gone ({error}); go to another, or add --cwd /DIR"));
    let real = std::env::current_dir().map_err(gone)?;
    let said = std::env::var_os("PWD").map(PathBuf::from).filter(|said| said.is_absolute());
    let same = |said: &PathBuf| match (said.metadata(), real.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    };
    Ok(said.filter(same).unwrap_or(real))
}

fn refuse(options: &NotYetOptions) -> Result<(), Failure> {
    let NotYetOptions { dependency, after, begin, license, gpus } = options;
    let given = [
        ("--dependency", dependency.is_some()),
        ("--after", after.is_some()),
        ("--begin", begin.is_some()),
        ("--license", license.is_some()),
        ("--gpus", gpus.is_some()),
    ];
    given.iter().find(|(_, given)| *given).map_or(Ok(()), |(name, _)| Err(Failure::NotYet((*name).to_owned())))
}

fn command(typed: Vec<OsString>, shell: Option<OsString>, out: &mut Out) -> Result<Command, Failure> {
    let arguments = match shell {
        Some(script) => vec!["sh".into(), "-c".into(), script.into()],
        None => {
            if let [only] = typed.as_slice()
                && only.as_bytes().contains(&b' ')
                && !Path::new(only).exists()
            {
                out.note(
                    "the command is one word with spaces; for a shell line write --shell, else leave out the quotes",
                );
            }
            typed.into_iter().map(Text::from).collect()
        }
    };
    let command = Command::new(arguments).map_err(|error| Failure::usage(error.to_string()))?;
    if command.arguments().first().is_some_and(|program| has_directives(Path::new(program.as_os()))) {
        return Err(Failure::NotYet("#GRID lines in a script".to_owned()));
    }
    Ok(command)
}

/// Does this script carry `#GRID` lines? They would have no effect.
fn has_directives(program: &Path) -> bool {
    let mut head = vec![0; 2];
    let read = File::open(program).and_then(|mut file| {
        if !file.metadata()?.is_file() {
            return Ok(());
        }
        file.read_exact(&mut head)?;
        // What is no script is not looked through.
        if head == b"#!" { file.take(64 * 1024).read_to_end(&mut head).map(drop) } else { Ok(()) }
    });
    read.is_ok() && head.starts_with(b"#!") && head.split(|b| *b == b'\n').any(|line| line.starts_with(b"#GRID "))
}

fn lines(file: &Path, longest: usize) -> Result<Vec<Text>, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("--each-line {}: {error}", file.display()));
    let source: Box<dyn Read> =
        if file == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(File::open(file).map_err(failed)?) };
    let mut lines = Vec::new();
    for line in BufReader::new(source).split(b'\n') {
        let line = line.map_err(failed)?;
        let bad = |what: &str| Failure::usage(format!("--each-line: line {} {what}", lines.len() + 1));
        if line.len() > longest {
            let len = line.len();
            return Err(bad(&format!("is {len} bytes long; the system executes this command with at most {longest}")));
        }
        let text = Text::from_bytes(line).ok_or_else(|| bad("holds a NUL byte, which no program can be given"))?;
        lines.push(text);
        if lines.len() > LINES_MAX {
            return Err(Failure::usage(format!("--each-line: more than {LINES_MAX} lines")));
        }
    }
    if lines.is_empty() {
        return Err(Failure::usage(format!("--each-line {}: no lines; nothing was submitted", file.display())));
    }
    Ok(lines)
}

fn stdin() -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    let read = std::io::stdin().take(STDIN_MAX + 1).read_to_end(&mut all);
    read.map_err(|error| OpsError::Grid(format!("stdin: {error}")))?;
    if all.len() as u64 > STDIN_MAX {
        return Err(Failure::usage("--stdin: more than 8M; put it in a file that the command reads"));
    }
    Ok(all)
}
