//! Verbs on tasks.

use super::number::{at_least, whole};
use crate::model::array::parse_array;
use crate::model::demand::{AppNeed, Target};
use crate::model::max_output::MaxOutput;
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::selector::Selector;
use crate::model::task::Members;
use crate::model::time::parse_duration;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const SUBMIT_EXAMPLES: &str = "\
Examples:
  grid submit -- ./render.sh scene.blend
  grid submit -c 8 --mem 16G -t 2h --app 'blender>=4.1' -- blender -b scene.blend
  grid submit -a 1-100%4 -- sh -c 'echo $GRID_ARRAY_INDEX'
  ls *.wav | grid submit --each-line - -- flac {}
  grid submit --send job.py --send in.csv --fetch 'out*' -- python3 job.py in.csv
  grid submit --shell 'make && make test'
  grid submit -C 'server.site == client.site' --prefer server.power -- ./job

Exit codes:
  0 accepted   75 no server can ever run it, with the reasons   2 wrong usage
  With --wait the task's own code, as of `grid run`.";

const RUN_EXAMPLES: &str = "\
Examples:
  grid run -- uname -n
  grid run --stdin -- wc -l < book.txt
  grid run --dir -- make

Exit codes: the task's own, and
  75 no server can ever run it    124 time limit
  125 grid failed, task lost      126, 127 as in sh
  128+n ended by signal n         130 cancelled
  141 the reader of its output has gone

Ctrl-C cancels the task; a second Ctrl-C returns at once, and the cancel goes on. A reader that goes cancels it too (`grid run -- yes | head`);
a dropped session (its terminal goes too) leaves the task running.";

/// What is asked for a task, by `submit` and `run`.
#[derive(Debug, Default, Args)]
pub struct TaskOptions {
    /// The command and its arguments, executed as given
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present = "shell")]
    pub command: Vec<OsString>,

    /// One string for `sh -c`
    #[arg(long, value_name = "SCRIPT", conflicts_with = "command", help_heading = "What")]
    pub shell: Option<OsString>,
    /// An array: indexes A-B, step :S, at most N at once %N
    #[arg(short = 'a', long, value_name = "A-B[:S][%N]", allow_negative_numbers = true, value_parser = parse_array, help_heading = "What")]
    pub array: Option<Members>,
    /// A member for each line of FILE (- is stdin); {} in the command is the line, in a --shell "$GRID_ENTRY"
    #[arg(long, value_name = "FILE|-", conflicts_with = "array", help_heading = "What")]
    pub each_line: Option<PathBuf>,
    /// A name for the task
    #[arg(short = 'J', long, value_name = "NAME", help_heading = "What")]
    pub name: Option<String>,
    /// Begin with the attributes of a profile (`grid task list`)
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub profile: Option<Name>,

    /// Processors
    #[arg(short = 'c', long, value_name = "N", allow_negative_numbers = true, alias = "cpus-per-task", value_parser = at_least::<1>, help_heading = "What it needs")]
    pub cpus: Option<u32>,
    /// Memory, reserved and enforced, as 512M or 8G
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = Bytes::parse_some, help_heading = "What it needs")]
    pub mem: Option<Bytes>,
    /// An application on the server, as blender or 'blender>=4.1'; may be repeated
    #[arg(long = "app", value_name = "NAME[>=VERSION]", value_delimiter = ',', help_heading = "What it needs")]
    pub apps: Vec<AppNeed>,
    /// Time limit, as 1h30m or 1-02:00:00
    #[arg(short = 't', long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration, help_heading = "What it needs")]
    pub time: Option<Duration>,

    /// Only servers for which this is true (CEL over server, task, user, client)
    #[arg(short = 'C', long, value_name = "EXPR", help_heading = "Where")]
    pub constraint: Option<String>,
    /// Among those, the one with the highest value
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true, help_heading = "Where")]
    pub prefer: Option<String>,
    /// Only this server, as fast or lab-b/n1
    #[arg(short = 'w', long, value_name = "SERVER", help_heading = "Where")]
    pub on: Option<Target>,
    /// Not these servers
    #[arg(short = 'x', long, value_name = "SERVER,..", value_delimiter = ',', help_heading = "Where")]
    pub exclude: Vec<Target>,
    /// Keep it held where no server can ever run it, instead of refusing
    #[arg(long, help_heading = "Where")]
    pub hold_unmatched: bool,
    /// Whose attributes count (the owner may name any user)
    #[arg(long, value_name = "NAME", help_heading = "Where")]
    pub user: Option<Name>,

    /// Working directory; default: this one
    #[arg(long, value_name = "DIR", help_heading = "How it runs")]
    pub cwd: Option<PathBuf>,
    /// An environment variable from here, or with a value; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "How it runs")]
    pub env: Vec<OsString>,
    /// Write stdout to FILE on the server, relative to the working directory; %j is the task's id, %a the index, %r the attempt
    #[arg(short = 'o', long = "stdout", value_name = "FILE", help_heading = "How it runs")]
    pub stdout: Option<OsString>,
    /// Write stderr to FILE on the server
    #[arg(short = 'e', long = "stderr", value_name = "FILE", help_heading = "How it runs")]
    pub stderr: Option<OsString>,
    /// Of a longer output (64K or more) keep the first and the last 64M; with ,kill end the task soon after; none: keep all [default: max_output, 1G]
    #[arg(long, value_name = "SIZE[,kill]", allow_hyphen_values = true, value_parser = MaxOutput::parse, help_heading = "How it runs")]
    pub max_output: Option<MaxOutput>,
    /// Give the task what stands on stdin here; default: nothing
    #[arg(long, help_heading = "How it runs")]
    pub stdin: bool,
    /// The higher, the earlier
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole, help_heading = "How it runs")]
    pub priority: Option<i32>,
    /// Start again after a failure, at most N times
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<0>, help_heading = "How it runs")]
    pub retries: Option<u32>,
    /// Also when the task was lost: it may then run twice
    #[arg(long, help_heading = "How it runs")]
    pub retry_lost: bool,
    /// Give it up as LOST once its server was out of reach so long; it may still run there
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration, help_heading = "How it runs")]
    pub lost_after: Option<Duration>,
    /// Say where it would run and why, submit nothing
    #[arg(short = 'n', long, help_heading = "How it runs")]
    pub dry_run: bool,

    /// Send a file or directory along; the task runs in a directory of its own with it; may be repeated
    #[arg(long, value_name = "PATH", conflicts_with = "cwd", help_heading = "Files")]
    pub send: Vec<PathBuf>,
    /// Send a directory (default: this one) less what .gitignore leaves out; bring back what the task changed
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = ".", conflicts_with = "cwd", help_heading = "Files")]
    pub dir: Option<PathBuf>,
    /// Bring back PATH or 'GLOB' from the task's directory at the end; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub fetch: Vec<OsString>,

    #[command(flatten)]
    pub not_yet: NotYetOptions,
}

/// Options that are known and refused: nothing is accepted without effect.
#[derive(Debug, Default, Args)]
pub struct NotYetOptions {
    #[arg(short = 'd', long, hide = true)]
    pub dependency: Option<OsString>,
    #[arg(long, hide = true)]
    pub after: Option<OsString>,
    #[arg(short = 'b', long, hide = true)]
    pub begin: Option<OsString>,
    #[arg(short = 'L', long, hide = true)]
    pub license: Option<OsString>,
    #[arg(short = 'G', long, hide = true)]
    pub gpus: Option<OsString>,
}

#[derive(Debug, Default, Args)]
#[command(override_usage = "grid submit [OPTIONS] -- COMMAND [ARGUMENT]..", after_help = SUBMIT_EXAMPLES)]
pub struct SubmitArgs {
    #[command(flatten)]
    pub task: TaskOptions,
    /// Hold it until `grid release`
    #[arg(short = 'H', long, help_heading = "How it runs")]
    pub hold: bool,
    /// Wait for its end and exit with its code
    #[arg(short = 'W', long, help_heading = "Output")]
    pub wait: bool,
    /// Print the id alone
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub parsable: bool,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

#[derive(Debug, Default, Args)]
#[command(override_usage = "grid run [OPTIONS] -- COMMAND [ARGUMENT]..", after_help = RUN_EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    pub task: TaskOptions,
    /// Let the task run on when the reader of its output has gone (`grid run .. | head`)
    #[arg(long, help_heading = "How it runs")]
    pub keep_going: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Lists what has not ended and the last 20 that ended, at most 1,000.")]
pub struct StatusArgs {
    /// Only these: 12, 12-15, last, all
    #[arg(value_name = "ID")]
    pub ids: Vec<Selector>,
    /// At most so many tasks
    #[arg(long, value_name = "N", conflicts_with = "all", allow_negative_numbers = true, value_parser = at_least::<0>)]
    pub limit: Option<u32>,
    /// All tasks in the database
    #[arg(long)]
    pub all: bool,
    /// Only tasks of this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<Name>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

impl StatusArgs {
    /// `grid` alone.
    pub const fn plain() -> Self {
        Self { ids: Vec::new(), limit: None, all: false, user: None, json: false }
    }
}

#[derive(Debug, Args)]
pub struct Show {
    /// 12, 12.3, 12-15, last, all
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<Selector>,
    /// Let `all` and `last` mean everyone's
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document: an object for one task, a list for several
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// 12, 12.3 or last
    #[arg(value_name = "ID")]
    pub id: Selector,
    /// Let `last` mean everyone's
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The task's stdout comes on stdout, its stderr on stderr. Outputs are kept 30 days (`keep_outputs`).

Examples:
  grid logs last
  grid logs -f 12.3
  grid logs --attempt 1 --err 12

Exit codes: 0 all is there   1 an output is gone or can't be had, with the reason")]
pub struct Logs {
    /// 12, 12.3 or last
    #[arg(value_name = "ID")]
    pub id: Selector,
    /// Follow until it ends
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Only its stderr
    #[arg(long, conflicts_with = "out")]
    pub err: bool,
    /// Only its stdout
    #[arg(long)]
    pub out: bool,
    /// Of an earlier attempt
    #[arg(long, value_name = "N", conflicts_with = "follow", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub attempt: Option<u32>,
    /// Let `last` mean everyone's
    #[arg(long)]
    pub everyone: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
`all` is every task of yours that has not ended and is not held; an array's id means all its members.
Exit codes: the highest of the tasks' codes, as of `grid run`.")]
pub struct Wait {
    /// 12, 12.3, 12-15, last, all; default: all
    #[arg(value_name = "ID")]
    pub ids: Vec<Selector>,
    /// Let `all` and `last` mean everyone's
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document at the end
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What was submitted with --fetch or --dir comes home when the task has ended; `run`, \
`wait` and `submit --wait` unpack it by themselves. A file that was changed here since \
the submit is not overwritten: the task's lands beside it as NAME.grid-ID. Nothing is \
written outside of the directory. What could not be brought home is asked for again.

Examples:
  grid fetch last
  grid fetch 12.3 --to results

Exit codes: 0 all is there   1 something is not, with the reason")]
pub struct FetchArgs {
    /// 12, 12.3, 12-15, last, all
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<Selector>,
    /// Below this directory; default: where the task was submitted
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Let `all` and `last` mean everyone's
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Returns when the cancel is recorded; the task is CANCELLED once its server has confirmed it. \
A task that ends first keeps its own end.")]
pub struct CancelArgs {
    /// 12, 12.3, 12-15, last, all
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<Selector>,
    /// Return when they have ended
    #[arg(long)]
    pub wait: bool,
    /// Time between TERM and KILL
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = grace, default_value = "10s")]
    pub grace: Duration,
    /// Give up a task that another home holds, or may hold, and that will not come back; it may run there all the same
    #[arg(long, conflicts_with_all = ["wait", "grace"])]
    pub forget: bool,
    /// Let `all` and `last` mean everyone's
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Zero means KILL at once.
fn grace(text: &str) -> Result<Duration, crate::model::time::BadDuration> {
    if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { parse_duration(text) }
}

#[derive(Debug, Args)]
pub struct ChosenArgs {
    /// 12, 12.3, 12-15, last, all
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<Selector>,
    /// Let `all` and `last` mean everyone's
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    pub chosen: ChosenArgs,
    /// Only what FAILED; default: all that did not complete
    #[arg(long)]
    pub failed: bool,
}
