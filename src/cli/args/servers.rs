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
    /// Add a server; it is read at once
    Add(Box<ServerAdd>),
    /// All servers
    List(Listing),
    /// Every attribute of a server, with source and age
    Show(Named),
    /// Change what is declared of a server
    Set(Box<ServerSet>),
    /// Take back declared options, applications and attributes
    Unset(Unset),
    /// Remove a server on which nothing runs
    Remove(ServerRemove),
    /// Give a server no more tasks; what runs goes on
    Drain(Drain),
    /// Give it tasks again
    Resume(Names),
    /// Read servers' attributes now
    Refresh(ServerRefreshArgs),
    /// Add the hosts of ~/.ssh/config, of an Ansible inventory, or of a list
    Import(Box<ServerImport>),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("engine").args(["local", "ssh", "of"]), after_help = "\
Examples:
  grid server add fast --local --slots 2 --set site=brno --app blender=4.1
  grid server add lab1 --ssh lab1 --max-load 6
  grid server add lab2 --ssh me@lab2.example.org --ssh-option Port=2222 --prologue '. /opt/conda/etc/profile.d/conda.sh; conda activate ml'
  grid server add farm --of fast,slow

Nothing is installed by hand on a host over ssh: the agent is sent when it is first needed. \
Keys, jumps and known hosts are ssh's own; $GRID_SSH_COMMAND, --ssh-command or `grid config set ssh.command` names another ssh. \
What a server was named with stays with it.")]
pub struct ServerAdd {
    pub name: Name,
    /// This host
    #[arg(long)]
    pub local: bool,
    /// Several servers taken as one
    #[arg(long, value_name = "SERVER,..", value_delimiter = ',')]
    pub of: Vec<Name>,
    #[command(flatten)]
    pub way: SshArgs,
    /// The second-tier distributor that it belongs to; default: the first one
    #[arg(long, value_name = "NAME")]
    pub distributor: Option<Name>,
    #[command(flatten)]
    pub declared: ServerOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
On a host over ssh lie this home's records, outputs and files there, and the agents that were sent. On a terminal you are asked \
whether they go too; elsewhere they stay, and it is said where.")]
pub struct ServerRemove {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Remove what lies on its host too: this home's own, and agents that nobody uses
    #[arg(long)]
    pub clear: bool,
    /// Leave what lies on its host
    #[arg(long, conflicts_with = "clear")]
    pub keep: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
It shows what it would add and asks; where nobody can be asked, it wants --yes or names. Each host is logged in to first; \
nothing is installed where something is wrong, and the failing step is named with its remedy. Patterns, Match blocks and \
hosts that only serve git are passed over. A host key that was never seen is shown, not accepted.

Examples:
  grid server import                          the hosts of ~/.ssh/config
  grid server import lab1 lab2 --set site=brno
  grid server import --ansible inventory.ini --yes
  printf 'lab1\\nlab2\\n' | grid server import - --yes")]
pub struct ServerImport {
    /// Of the list, only these; `-` reads the list from stdin
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Another ssh configuration than ~/.ssh/config
    #[arg(long, value_name = "FILE", conflicts_with = "ansible")]
    pub config: Option<PathBuf>,
    /// An Ansible inventory, INI or YAML
    #[arg(long, value_name = "FILE")]
    pub ansible: Option<PathBuf>,
    /// Do not ask
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
    /// A host over ssh, as ssh and ~/.ssh/config know it
    #[arg(long, value_name = "HOST")]
    pub ssh: Option<String>,
    /// An option for ssh, as for its -o; may be repeated, replaces the earlier ones
    #[arg(long = "ssh-option", value_name = "OPTION")]
    pub ssh_options: Vec<String>,
    /// Where the agent and its records live over there, from / on or below $HOME; default: ~/.cache/grid and ~/.local/state/grid
    #[arg(long, value_name = "DIR")]
    pub remote_dir: Option<String>,
    /// The ssh command that reaches it, as 'ssh -F file'; default: $GRID_SSH_COMMAND as it is now, without it the home's
    #[arg(long, value_name = "COMMAND")]
    pub ssh_command: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grid server set lab1 --slots 4 --set rack=7
  grid server set lab1 --ssh lab1.example.org --ssh-option Port=2222   another way to it, when nothing runs there", override_usage = "grid server set NAME OPTION..", group = change(&["slots", "cpus", "mem", "max_load", "accepts", "shared_account", "prologue", "apps", "set", "ssh", "ssh_options", "remote_dir", "ssh_command"]))]
pub struct ServerSet {
    pub name: Name,
    #[command(flatten)]
    pub way: SshArgs,
    #[command(flatten)]
    pub declared: ServerOptions,
}

/// What a person declares of a server.
#[derive(Debug, Args)]
pub struct ServerOptions {
    /// Tasks at once; default: its cpus
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub slots: Option<u32>,
    /// The part of the host's processors that it may use
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub cpus: Option<u32>,
    /// The part of the host's memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = Bytes::parse_some)]
    pub mem: Option<Bytes>,
    /// Start nothing while the load is at or above this
    #[arg(long, value_name = "LOAD", allow_negative_numbers = true, value_parser = positive)]
    pub max_load: Option<f64>,
    /// Let tasks of other users run there under this home's own account: they can read and change whatever it can
    #[arg(long)]
    pub shared_account: bool,
    /// Which tasks it takes, as '"staff" in user.groups'
    #[arg(long, value_name = "EXPR")]
    pub accepts: Option<String>,
    /// Shell lines whose environment tasks get there, as 'module load cuda'
    #[arg(long, value_name = "LINES")]
    pub prologue: Option<String>,
    /// An application residing there; may be repeated
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
    /// Default: all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub listing: Listing,
}
