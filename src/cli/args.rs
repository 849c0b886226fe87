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

const ABOUT: &str = "A local grid: submit a task; it runs on the server that fits best, now or when a server is free";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "grid", bin_name = "grid", version, about = ABOUT, max_term_width = 100, disable_help_subcommand = true)]
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
    /// List running tasks, waiting tasks with the reason, and recent ends
    #[command(visible_alias = "ls")]
    Status(tasks::StatusArgs),
    /// Show everything about tasks
    Show(tasks::Show),
    /// Explain why a task runs where it does, or why it waits: tier by tier, server by server
    Explain(tasks::Explain),
    /// Print the output of a task
    Logs(tasks::Logs),
    /// Unpack the files that tasks brought back
    Fetch(tasks::FetchArgs),
    /// Wait until tasks have ended; exit with the highest of their codes
    Wait(tasks::Wait),
    /// Stop tasks: TERM, a grace period, KILL
    Cancel(tasks::CancelArgs),
    /// Keep waiting tasks from starting
    Hold(tasks::ChosenArgs),
    /// Let held tasks start
    Release(tasks::ChosenArgs),
    /// Move waiting tasks to another distributor that could start them now
    Move(tasks::ChosenArgs),
    /// Start ended tasks again
    Retry(tasks::RetryArgs),
    /// Remove ended tasks, with their outputs and files
    Remove(remove::Remove),
    /// Manage servers, where tasks run
    #[command(subcommand)]
    Server(servers::ServerCommand),
    /// Manage users, who submit tasks
    #[command(subcommand)]
    User(databases::UserCommand),
    /// Manage profiles: named sets of task attributes, for --profile
    #[command(subcommand)]
    Task(databases::TaskCommand),
    /// Manage clients: the hosts that submit
    #[command(subcommand)]
    Client(databases::ClientCommand),
    /// Manage the distributors of both tiers
    #[command(subcommand)]
    Distributor(databases::Distributor),
    /// Probe all servers, clean up and wake the dispatcher; for cron
    Refresh(RefreshArgs),
    /// Manage the crontab lines that run `grid refresh`
    #[command(subcommand)]
    Cron(Cron),
    /// Manage the process that starts and follows tasks; it starts on demand
    #[command(subcommand)]
    Dispatcher(DispatcherCommand),
    /// Manage the settings of this home
    #[command(subcommand)]
    Config(Config),
    /// Query the database, read-only
    Sql(Sql),
    /// Check this host and this home, or the way to another host; failed checks have remedies
    Doctor(Doctor),
    /// Write a consistent snapshot of the database to a new file
    Backup {
        /// A file that does not exist yet
        file: PathBuf,
        /// Leave out the values of environment variables; tasks that are restored from it get those of a login
        #[arg(long)]
        no_env: bool,
    },
    /// Make a home from a backup
    Restore {
        /// A file that `grid backup` wrote
        file: PathBuf,
    },
    /// Remove outputs and tasks older than `keep_outputs` and `keep_rows`
    Gc(Gc),
    /// Remove what grid made: the home, its lines in the crontab, its files on hosts
    Uninstall(UninstallArgs),
    /// Print a completion script for your shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a directory, or print grid(1)
    Man {
        /// The directory; default: print grid(1)
        dir: Option<PathBuf>,
    },

    /// Be the agent of a server: frames on stdin and stdout
    #[command(hide = true)]
    Agent(AgentArgs),
    /// Be the supervisor of a run
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Take on the attributes of a submitter, then become a command
    #[command(hide = true)]
    Inherit(InheritArgs),
    /// Serve this home to a caller in another home
    #[command(hide = true)]
    Serve(ServeArgs),
}

/// `grid inherit`: what a supervisor starts a command with.
#[derive(Debug, ClapArgs)]
pub struct InheritArgs {
    /// Attributes, file, name, arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// `grid serve`: this home, for a caller in another one.
#[derive(Debug, ClapArgs)]
pub struct ServeArgs {
    /// The home; default: $GRID_HOME, as for every command
    #[arg(long, value_name = "PATH")]
    pub home: Option<PathBuf>,
    /// The caller is this user; default: the account of the home
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<Name>,
    /// The caller is this first tier, which may act for its users
    #[arg(long, value_name = "NAME", requires = "user")]
    pub vouch: Option<Name>,
}

/// Where an agent works: in a spool that its home knows, or behind a link.
#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["spool", "link"]))]
pub struct AgentArgs {
    /// The spool of a home on this host
    #[arg(long)]
    pub spool: Option<PathBuf>,
    /// The link over which a home calls
    #[arg(long)]
    pub link: Option<crate::model::ssh::LinkKey>,
    /// The directory for its records
    #[arg(long, requires = "link")]
    pub dir: Option<PathBuf>,
    /// How many open files a task may have
    #[arg(long)]
    pub files: Option<u64>,
    /// A start follows; all these processors may be used after the hello
    #[arg(long, value_name = "PROCESSORS")]
    pub expecting: Option<crate::model::processors::Processors>,
}

/// One run's supervisor.
#[derive(Debug, ClapArgs)]
pub struct SuperviseArgs {
    /// The directory of the run
    pub dir: PathBuf,
    /// How many open files its tasks may have
    #[arg(long)]
    pub files: Option<u64>,
}

/// `--json` and nothing else.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct Listing {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct RefreshArgs {
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Subcommand)]
pub enum Cron {
    /// Add or renew the lines, and try them once with cron's environment
    Install(CronInstall),
    /// Print the lines of this home in the crontab
    Show(CronShow),
    /// Remove the lines; other lines do not change
    Remove,
}

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
    /// How often the timer runs
    #[arg(long, value_name = "TIME", default_value = "5min", requires = "systemd")]
    pub every: Every,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Subcommand)]
pub enum DispatcherCommand {
    /// Show whether it runs, and what it follows
    Status(Listing),
    /// Start it if it does not run
    Start,
    /// Stop it; running tasks keep running
    Stop,
    /// Be the dispatcher, in the foreground
    #[command(hide = true)]
    Serve {
        /// The home
        #[arg(long)]
        home: PathBuf,
        /// stdin is a socket with a request of its starter
        #[arg(long)]
        asked: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// List all settings with their values
    List(Listing),
    /// Print the value of a setting
    Get {
        /// The setting
        name: String,
    },
    /// Change a setting
    Set {
        /// The setting
        name: String,
        /// Its new value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Return a setting to its default
    Unset {
        /// The setting
        name: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Sql {
    /// A SELECT statement
    #[arg(required_unless_present = "schema")]
    pub query: Option<String>,
    /// Print the schema with its comments
    #[arg(long, conflicts_with = "query")]
    pub schema: bool,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub struct Doctor {
    /// A server over ssh, or a host as ssh names it; default: this host
    #[arg(value_name = "HOST")]
    pub host: Option<String>,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub struct Gc {
    /// Show what would be removed; remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Trust the clock of this host although it was set: remove what is old by it
    #[arg(long)]
    pub trust_clock: bool,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, ClapArgs)]
pub struct UninstallArgs {
    /// Show what would be removed; remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Remove without asking
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Remove the home although a host can't be cleared; what to run on that host is printed
    #[arg(long)]
    pub leave_unreachable: bool,
    #[command(flatten)]
    pub listing: Listing,
}
