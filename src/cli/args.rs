//! What can be typed: clap's types and nothing else.

pub mod databases;
mod number;
pub mod remove;
pub mod servers;
pub mod tasks;

use crate::model::name::Name;
use crate::ops::cron::every::Every;
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

const ABOUT: &str = "A local grid: submit a task, it runs on the server that fits best, now or when one frees up";

const EXAMPLES: &str = "\
Examples:
  grid run -- make -j4                     run where it fits best, see its output, get its exit code
  grid submit -c 4 --mem 8G -- ./train.sh  queue it and go on; prints the id
  grid status                              what runs, what waits and why (also plain `grid`)
  grid logs -f last                        follow the output of the newest task
  grid explain last                        why it runs where it does, or why it waits
  grid server list                         the servers and what is known of them

Tasks are named 12, 12.3 (a member of an array), 12-15, last or all. Every listing takes --json.
The grid lives in $GRID_HOME, else $XDG_DATA_HOME/grid, else ~/.local/share/grid.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "grid", bin_name = "grid", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<SubCommand>,
}

/// One variant a verb.
#[derive(Debug, Subcommand)]
pub enum SubCommand {
    /// Queue a task and print its id
    Submit(Box<tasks::SubmitArgs>),
    /// Submit a task, show its output, exit with its code
    Run(Box<tasks::RunArgs>),
    /// What runs, what waits and why, what ended last
    Status(tasks::StatusArgs),
    /// All about tasks
    Show(tasks::Show),
    /// Why a task runs where it does, or why it waits: tier by tier, server by server
    Explain(tasks::Explain),
    /// The output of a task
    Logs(tasks::Logs),
    /// Unpack what tasks brought back
    Fetch(tasks::FetchArgs),
    /// Wait until tasks have ended; exit with the highest of their codes
    Wait(tasks::Wait),
    /// End tasks: TERM, a grace, KILL
    Cancel(tasks::CancelArgs),
    /// Keep waiting tasks from starting
    Hold(tasks::ChosenArgs),
    /// Let held tasks start
    Release(tasks::ChosenArgs),
    /// Start ended tasks again
    Retry(tasks::RetryArgs),
    /// Remove ended tasks, with their outputs and files
    Remove(remove::Remove),
    /// The servers: where tasks run
    #[command(subcommand)]
    Server(servers::ServerCommand),
    /// The users: who submits
    #[command(subcommand)]
    User(databases::UserCommand),
    /// The profiles: named sets of task attributes, for --profile
    #[command(subcommand)]
    Task(databases::TaskCommand),
    /// The clients: hosts that submit
    #[command(subcommand)]
    Client(databases::ClientCommand),
    /// The distributors of both tiers
    #[command(subcommand)]
    Distributor(databases::Distributor),
    /// Read all servers' attributes now, clean up, wake the dispatcher: for cron
    Refresh(RefreshArgs),
    /// Lines in your crontab that keep this grid fresh
    #[command(subcommand)]
    Cron(Cron),
    /// The process that starts and follows tasks; comes and goes by itself
    #[command(subcommand)]
    Dispatcher(DispatcherCommand),
    /// Settings of this grid
    #[command(subcommand)]
    Config(Config),
    /// Ask the database, read-only
    Sql(Sql),
    /// Check this host and this grid, or the way to another host, with remedies
    Doctor(Doctor),
    /// Write the whole database into a file, while it is in use
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// A file that is not there yet
        file: PathBuf,
    },
    /// Make a home of a backup
    #[command(after_help = RESTORE_HELP)]
    Restore {
        /// A file that `grid backup` wrote
        file: PathBuf,
    },
    /// Remove outputs and tasks older than `keep_outputs` and `keep_rows`
    Gc(Gc),
    /// Print a completion script for your shell
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a directory, or print grid(1)
    Man { dir: Option<PathBuf> },

    #[command(hide = true)]
    Agent(AgentArgs),
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    #[command(hide = true)]
    Serve(ServeArgs),
}

/// `grid serve`: this home, for a caller in another one.
#[derive(Debug, ClapArgs)]
pub struct ServeArgs {
    /// Default: $GRID_HOME, as for every command
    #[arg(long, value_name = "PATH")]
    pub home: Option<PathBuf>,
    /// Whoever comes in here is this user; default: the home's own account
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<Name>,
    /// A first tier comes in here, which may speak for its users
    #[arg(long, value_name = "NAME", requires = "user")]
    pub vouch: Option<Name>,
}

/// Where an agent works: in a spool that its home knows, or behind a link.
#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["spool", "link"]))]
pub struct AgentArgs {
    #[arg(long)]
    pub spool: Option<PathBuf>,
    #[arg(long)]
    pub link: Option<crate::model::ssh::LinkKey>,
    #[arg(long, requires = "link")]
    pub dir: Option<PathBuf>,
    /// So many open files tasks are given.
    #[arg(long)]
    pub files: Option<u64>,
    /// A start is on its way; all of these processors may be used once we were said hello.
    #[arg(long, value_name = "PROCESSORS")]
    pub expecting: Option<crate::model::processors::Processors>,
}

/// One run's supervisor.
#[derive(Debug, ClapArgs)]
pub struct SuperviseArgs {
    pub dir: PathBuf,
    /// So many open files its tasks are given.
    #[arg(long)]
    pub files: Option<u64>,
}

const BACKUP_HELP: &str = "\
The file is whole and of one moment, and for your eyes only (0600): values of tasks' environments are \
in it. Outputs over 16K are not: they lie beside the database, in spool/out of the home.";

const RESTORE_HELP: &str = "\
There must be no home there yet. What had not ended is HELD: it may have run since. Tasks that run are \
asked for at their servers first. Servers that have met the restored home refuse the one that was \
backed up.";

/// Takes anything, to refuse it with "not yet".
#[derive(Debug, ClapArgs)]
#[command(disable_help_flag = true)]
pub struct NotYet {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<OsString>,
}

/// `--json` and nothing else.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct Listing {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Servers are read side by side; one that does not answer delays no other. \
A run that finds another one at work steps aside. `grid cron install` has it run every 5 minutes.")]
pub struct RefreshArgs {
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Subcommand)]
pub enum Cron {
    /// Add the lines, or renew them; try them once with cron's environment
    #[command(after_help = CRON_HELP)]
    Install(CronInstall),
    /// The lines of this grid, as they stand
    Show(CronShow),
    /// Take them away; other lines stay as they are
    Remove,
}

const CRON_HELP: &str = "\
The lines run `grid refresh`, also at boot: it reads all servers, collects what ended, cleans up,
and starts what waits. They name this program, this GRID_HOME and this PATH. Each host over ssh is
logged in to once as cron would, without ssh-agent; those that fail are named, with the remedy.
What the last run said stands in run/cron.log in the home.";

#[derive(Debug, ClapArgs)]
pub struct CronInstall {
    /// How often, as 5min or 1h
    #[arg(long, value_name = "TIME", default_value = "5min")]
    pub every: Every,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub struct CronShow {
    /// Print units for systemd instead
    #[arg(long)]
    pub systemd: bool,
    /// How often, in the units
    #[arg(long, value_name = "TIME", default_value = "5min", requires = "systemd")]
    pub every: Every,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Subcommand)]
pub enum DispatcherCommand {
    /// Does it run, and what does it follow?
    Status(Listing),
    /// Start it, if it does not run
    Start,
    /// Let it leave; running tasks go on under their supervisors
    Stop,
    /// Be the dispatcher, in the foreground
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        home: PathBuf,
        /// stdin is a socket over which its starter has asked something
        #[arg(long)]
        asked: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// All settings with their values
    List(Listing),
    /// The value of one
    Get { name: String },
    /// Change one
    #[command(after_help = "Example:\n  grid config set keep_outputs 60d")]
    Set {
        name: String,
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Go back to the default
    Unset { name: String },
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Views to rely on: server_view user_view client_view distributor_view profile_view attribute_view task_view member_view removed_view

Examples:
  grid sql 'select name, state, idle_cpus from server_view'
  grid sql --json \"select id, exit_code from task_view where state = 'FAILED'\"
  grid sql --schema")]
pub struct Sql {
    /// One SELECT
    #[arg(required_unless_present = "schema")]
    pub query: Option<String>,
    /// Print the schema, commented
    #[arg(long, conflicts_with = "query")]
    pub schema: bool,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  grid doctor          this host and this grid
  grid doctor lab1     the way to a host over ssh, step by step, until one fails")]
pub struct Doctor {
    /// A server over ssh, or a host as ssh knows it
    #[arg(value_name = "HOST")]
    pub host: Option<String>,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub struct Gc {
    /// Say what would go, remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// This host's clock is right, though it was set: remove what is old by it
    #[arg(long)]
    pub trust_clock: bool,
    #[command(flatten)]
    pub listing: Listing,
}
