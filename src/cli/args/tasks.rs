//! Verbs on tasks.

use super::number::{at_least, whole};
use crate::model::array::{AtOnce, parse_array};
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

/// What is asked for a task, by `submit` and `run`.
#[derive(Debug, Default, Args)]
pub struct TaskOptions {
    /// The command and its arguments, run exactly as typed
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present = "shell")]
    pub command: Vec<OsString>,

    /// One string for `sh -c`
    #[arg(long, value_name = "SCRIPT", conflicts_with = "command", help_heading = "What")]
    pub shell: Option<OsString>,
    /// An array: indexes A-B, step :S, at most N at once %N
    #[arg(short = 'a', long, value_name = "A-B[:S][%N]", allow_negative_numbers = true, value_parser = parse_array, help_heading = "What")]
    pub array: Option<Members>,
    /// An array with a member for each line of FILE (- is stdin); {} in the command is the line; with --shell it is "$GRID_ENTRY"
    #[arg(long, value_name = "FILE|-", conflicts_with = "array", help_heading = "What")]
    pub each_line: Option<PathBuf>,
    /// Of an array or of lines, at most N members at once, as %N; 150%: of the processors here; 0: as many as there is room for
    #[arg(short = 'j', long, value_name = "N", allow_hyphen_values = true, help_heading = "What")]
    pub at_once: Option<AtOnce>,
    /// A name for the task
    #[arg(short = 'J', long, value_name = "NAME", help_heading = "What")]
    pub name: Option<String>,
    /// Start from the attributes of a profile (`grid task list`)
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

    /// Only servers for which this expression is true (CEL over server, task, user, client)
    #[arg(short = 'C', long, value_name = "EXPR", help_heading = "Where")]
    pub constraint: Option<String>,
    /// Of the servers that fit, take the one where this expression is highest
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true, help_heading = "Where")]
    pub prefer: Option<String>,
    /// Only this server, as fast or lab-b/n1
    #[arg(short = 'w', long, value_name = "SERVER", help_heading = "Where")]
    pub on: Option<Target>,
    /// Exclude these servers
    #[arg(short = 'x', long, value_name = "SERVER,..", value_delimiter = ',', help_heading = "Where")]
    pub exclude: Vec<Target>,
    /// If no server can ever run the task, hold it until one can, instead of refusing it (with -H: until it is released)
    #[arg(long, help_heading = "Where")]
    pub hold_unmatched: bool,
    /// Use the attributes of this user (the owner of the home may name any user)
    #[arg(long, value_name = "NAME", help_heading = "Where")]
    pub user: Option<Name>,

    /// Working directory; default: the current directory
    #[arg(long, value_name = "DIR", help_heading = "How it runs")]
    pub cwd: Option<PathBuf>,
    /// Pass an environment variable to any server, with its value here or with this value; 'NAME?' if it is set; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "How it runs")]
    pub env: Vec<OsString>,
    /// Pass the whole environment to any server; default: on this host only
    #[arg(long, conflicts_with = "env_none", help_heading = "How it runs")]
    pub env_all: bool,
    /// Run in the environment of a login, also on this host
    #[arg(long, help_heading = "How it runs")]
    pub env_none: bool,
    /// Write stdout to FILE on the server, relative to the working directory; %j is the task's id, %a the index, %r the attempt
    #[arg(short = 'o', long = "stdout", value_name = "FILE", help_heading = "How it runs")]
    pub stdout: Option<OsString>,
    /// Write stderr to FILE on the server
    #[arg(short = 'e', long = "stderr", value_name = "FILE", help_heading = "How it runs")]
    pub stderr: Option<OsString>,
    /// If an output grows longer (64K or more), keep its first and last 64M; with ,kill also stop the task; none keeps all [default: setting max_output, 1G]
    #[arg(long, value_name = "SIZE[,kill]", allow_hyphen_values = true, value_parser = MaxOutput::parse, help_heading = "How it runs")]
    pub max_output: Option<MaxOutput>,
    /// Pass the stdin of this command to the task; default: an empty stdin
    #[arg(long, help_heading = "How it runs")]
    pub stdin: bool,
    /// Tasks with a higher number start first
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole, help_heading = "How it runs")]
    pub priority: Option<i32>,
    /// Retry after a failure, at most N times
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<0>, help_heading = "How it runs")]
    pub retries: Option<u32>,
    /// Retry also when the task is LOST; it may then run twice
    #[arg(long, help_heading = "How it runs")]
    pub retry_lost: bool,
    /// Mark the task LOST once its server has been unreachable for this long; it may still run there
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration, help_heading = "How it runs")]
    pub lost_after: Option<Duration>,
    /// Show where the task would run and why; submit nothing
    #[arg(short = 'n', long, help_heading = "How it runs")]
    pub dry_run: bool,

    /// Send a file or directory with the task, which runs in its own directory; may be repeated
    #[arg(long, value_name = "PATH", conflicts_with = "cwd", help_heading = "Files")]
    pub send: Vec<PathBuf>,
    /// Send a directory (default: the current one) without the files that .gitignore excludes; bring back what the task changed
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = ".", conflicts_with = "cwd", help_heading = "Files")]
    pub dir: Option<PathBuf>,
    /// Bring back PATH or 'GLOB' from the task's directory when it ends; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub fetch: Vec<OsString>,

    #[command(flatten)]
    pub not_yet: NotYetOptions,
}

/// Options that are known and refused: nothing is accepted without effect.
#[derive(Debug, Default, Args)]
pub struct NotYetOptions {
    /// Not supported yet
    #[arg(short = 'd', long, hide = true)]
    pub dependency: Option<OsString>,
    /// Not supported yet
    #[arg(long, hide = true)]
    pub after: Option<OsString>,
    /// Not supported yet
    #[arg(short = 'b', long, hide = true)]
    pub begin: Option<OsString>,
    /// Not supported yet
    #[arg(short = 'L', long, hide = true)]
    pub license: Option<OsString>,
    /// Not supported yet
    #[arg(short = 'G', long, hide = true)]
    pub gpus: Option<OsString>,
}

#[derive(Debug, Default, Args)]
#[command(override_usage = "grid submit [OPTIONS] -- COMMAND [ARGUMENT]..")]
pub struct SubmitArgs {
    #[command(flatten)]
    pub task: TaskOptions,
    /// Hold the task until `grid release`
    #[arg(short = 'H', long, help_heading = "How it runs")]
    pub hold: bool,
    /// Wait until the task ends and exit with its code
    #[arg(short = 'W', long, help_heading = "Output")]
    pub wait: bool,
    /// Print only the id
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub parsable: bool,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

#[derive(Debug, Default, Args)]
#[command(override_usage = "grid run [OPTIONS] -- COMMAND [ARGUMENT]..")]
pub struct RunArgs {
    #[command(flatten)]
    pub task: TaskOptions,
    /// Keep the task running when the reader of its output exits (`grid run .. | head`)
    #[arg(long, help_heading = "How it runs")]
    pub keep_going: bool,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these tasks: 12, 12.3, 12.failed, 12-15, last, all, or a name; of an array also the members that failed or run
    #[arg(value_name = "ID", value_delimiter = ',')]
    pub ids: Vec<Selector>,
    /// List all members of the arrays that are named
    #[arg(long, requires = "ids")]
    pub members: bool,
    /// List only the members that failed of the arrays that are named
    #[arg(long, requires = "ids", conflicts_with = "members")]
    pub failed: bool,
    /// List at most N tasks
    #[arg(long, value_name = "N", conflicts_with = "all", allow_negative_numbers = true, value_parser = at_least::<0>)]
    pub limit: Option<u32>,
    /// List all tasks in the database
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
        Self { ids: Vec::new(), members: false, failed: false, limit: None, all: false, user: None, json: false }
    }
}

#[derive(Debug, Args)]
pub struct Show {
    /// Tasks: 12, 12.3, 12.3-5, 12.failed, 12-15, last, all, or a name; several with commas too
    #[arg(value_name = "ID", required = true, value_delimiter = ',')]
    pub ids: Vec<Selector>,
    /// Let `all` and `last` mean the tasks of all users
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document: an object for one task, a list for several
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A task: 12, 12.3, last or a name
    #[arg(value_name = "ID")]
    pub id: Selector,
    /// Let `last` mean the newest task of any user
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Tasks: 12, 12.3, 12.3-5, 12.failed, 12-15, last, all, or a name; several with commas too
    #[arg(value_name = "ID", required = true, value_delimiter = ',')]
    pub ids: Vec<Selector>,
    /// Follow the output of one task until it ends
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Only the last N lines of each output
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "follow", allow_negative_numbers = true, value_parser = lines)]
    pub tail: Option<usize>,
    /// Begin each line with its task
    #[arg(long)]
    pub tag: bool,
    /// Print only its stderr
    #[arg(long, conflicts_with = "out")]
    pub err: bool,
    /// Print only its stdout
    #[arg(long)]
    pub out: bool,
    /// The output of attempt N
    #[arg(long, value_name = "N", conflicts_with = "follow", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub attempt: Option<u32>,
    /// Let `last` mean the newest task of any user
    #[arg(long)]
    pub everyone: bool,
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Tasks: 12, 12.3, 12.3-5, 12.failed, 12-15, last, all, or a name; several with commas too; default: all
    #[arg(value_name = "ID", value_delimiter = ',')]
    pub ids: Vec<Selector>,
    /// Let `all` and `last` mean the tasks of all users
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document at the end
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Tasks: 12, 12.3, 12.3-5, 12.failed, 12-15, last, all, or a name; several with commas too
    #[arg(value_name = "ID", required = true, value_delimiter = ',')]
    pub ids: Vec<Selector>,
    /// Unpack below this directory; default: where the task was submitted
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Let `all` and `last` mean the tasks of all users
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Tasks: 12, 12.3, 12.3-5, 12.failed, 12-15, last, all, or a name; several with commas too
    #[arg(value_name = "ID", required = true, value_delimiter = ',')]
    pub ids: Vec<Selector>,
    /// Return when the tasks have ended
    #[arg(long)]
    pub wait: bool,
    /// Time between TERM and KILL
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = grace, default_value = "10s")]
    pub grace: Duration,
    /// Give up a task that another home holds or may hold and that will not come back; it may still run there
    #[arg(long, conflicts_with_all = ["wait", "grace"])]
    pub forget: bool,
    /// Let `all` and `last` mean the tasks of all users
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A number of lines; tail's `+N` and `-N` are no numbers here.
fn lines(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is no number of lines"))
}

/// Zero means KILL at once.
fn grace(text: &str) -> Result<Duration, crate::model::time::BadDuration> {
    if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { parse_duration(text) }
}

#[derive(Debug, Args)]
pub struct ChosenArgs {
    /// Tasks: 12, 12.3, 12.3-5, 12.failed, 12-15, last, all, or a name; several with commas too
    #[arg(value_name = "ID", required = true, value_delimiter = ',')]
    pub ids: Vec<Selector>,
    /// Let `all` and `last` mean the tasks of all users
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
    /// Only tasks that FAILED; default: all that did not complete
    #[arg(long)]
    pub failed: bool,
}
