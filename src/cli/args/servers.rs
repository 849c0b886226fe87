//! The database of servers.

use super::Listing;
use super::databases::{Drain, Named, Names, SET_HELP, Unset, change};
use super::number::at_least;
use crate::model::name::Name;
use crate::model::resources::Bytes;
use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Add a server; it is probed at once
    Add(Box<ServerAdd>),
    /// List all servers
    List(Listing),
    /// Show every attribute of a server, with source and age
    Show(Named),
    /// Change the options and attributes of a server
    Set(Box<ServerSet>),
    /// Remove declared options, applications and attributes
    Unset(Unset),
    /// Remove a server on which nothing runs
    Remove(ServerRemove),
    /// Start no new tasks on a server; running tasks keep running
    Drain(Drain),
    /// Start tasks on drained servers again
    Resume(Names),
    /// Probe servers now
    Refresh(ServerRefreshArgs),
    /// Add the hosts of ~/.ssh/config, of an Ansible inventory, or of a list
    Import(Box<ServerImport>),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("engine").args(["local", "ssh", "of"]))]
pub struct ServerAdd {
    /// Its name
    pub name: Name,
    /// It is this host, or a part of it
    #[arg(long)]
    pub local: bool,
    /// It is made of these servers
    #[arg(long, value_name = "SERVER,..", value_delimiter = ',')]
    pub of: Vec<Name>,
    #[command(flatten)]
    pub way: SshArgs,
    /// The second-tier distributor that it belongs to; default: the first
    #[arg(long, value_name = "NAME")]
    pub distributor: Option<Name>,
    /// Do not add a server that can't be probed now
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub declared: ServerOptions,
}

#[derive(Debug, Args)]
pub struct ServerRemove {
    /// Servers to remove
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Also remove the files of this home on its host, and unused agents
    #[arg(long)]
    pub clear: bool,
    /// Leave the files on its host
    #[arg(long, conflicts_with = "clear")]
    pub keep: bool,
}

#[derive(Debug, Args)]
pub struct ServerImport {
    /// Add only these of the list; `-` reads the list from stdin
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Read this ssh configuration instead of ~/.ssh/config
    #[arg(long, value_name = "FILE", conflicts_with = "ansible")]
    pub config: Option<PathBuf>,
    /// Read an Ansible inventory, INI or YAML
    #[arg(long, value_name = "FILE")]
    pub ansible: Option<PathBuf>,
    /// Add without asking
    #[arg(short = 'y', long)]
    pub yes: bool,
    #[command(flatten)]
    pub declared: ServerOptions,
    #[command(flatten)]
    pub listing: Listing,
}

/// How a host is reached over ssh.
#[derive(Debug, Args)]
pub struct SshArgs {
    /// It is a host over ssh, as ssh and ~/.ssh/config name it
    #[arg(long, value_name = "HOST")]
    pub ssh: Option<String>,
    /// An option for ssh, as for its -o; may be repeated; replaces the earlier options
    #[arg(long = "ssh-option", value_name = "OPTION")]
    pub ssh_options: Vec<String>,
    /// The directory of the agent and its records on that host, absolute or below $HOME; default: ~/.cache/grid and ~/.local/state/grid
    #[arg(long, value_name = "DIR")]
    pub remote_dir: Option<String>,
    /// The ssh command that reaches it, as 'ssh -F file'; default: the current $GRID_SSH_COMMAND, else that of the home
    #[arg(long, value_name = "COMMAND")]
    pub ssh_command: Option<String>,
}

#[derive(Debug, Args)]
#[command(override_usage = "grid server set NAME OPTION..", group = change(&["slots", "cpus", "mem", "max_load", "accepts", "shared_account", "prologue", "apps", "set", "ssh", "ssh_options", "remote_dir", "ssh_command"]))]
pub struct ServerSet {
    /// The server
    pub name: Name,
    #[command(flatten)]
    pub way: SshArgs,
    #[command(flatten)]
    pub declared: ServerOptions,
}

/// What a person declares of a server.
#[derive(Debug, Args)]
pub struct ServerOptions {
    /// How many tasks may run at once; default: its processors
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub slots: Option<u32>,
    /// How many of the host's processors it may use; more than the host has count too
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub cpus: Option<u32>,
    /// How much of the host's memory it may use
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = Bytes::parse_some)]
    pub mem: Option<Bytes>,
    /// Start no task while the load is at or above this
    #[arg(long, value_name = "LOAD", allow_negative_numbers = true, value_parser = positive)]
    pub max_load: Option<f64>,
    /// Let tasks of other users run there under the account of this home: they can read and change all that it can
    #[arg(long)]
    pub shared_account: bool,
    /// Accept only tasks for which this expression is true, as '"staff" in user.groups'
    #[arg(long, value_name = "EXPR")]
    pub accepts: Option<String>,
    /// Shell lines that set up the environment of tasks there, as 'module load cuda'
    #[arg(long, value_name = "LINES")]
    pub prologue: Option<String>,
    /// An application that is installed there; may be repeated
    #[arg(long = "app", value_name = "NAME[=VERSION]")]
    pub apps: Vec<String>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(load) if load.is_finite() && load > 0.0 => Ok(load),
        _ => Err("a load is a number above 0, as 6 or 7.5".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct ServerRefreshArgs {
    /// Servers to probe; default: all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub listing: Listing,
}
