//! The attribute databases: servers, users, profiles, clients, distributors.

use super::Listing;
use crate::model::demand::AppNeed;
use crate::model::distributor::Policy;
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::time::parse_duration;
use crate::model::user::Role;
use clap::{ArgGroup, Args, Subcommand};
use std::time::Duration;

const SET_HELP: &str = "An attribute of your own: 90 int, 90.5 double, true/false bool, else text; repeat for a list";

/// A change without a change is a slip: one of these at least.
fn change(options: &[&'static str]) -> ArgGroup {
    ArgGroup::new("change").required(true).multiple(true).args(options)
}

#[derive(Debug, Subcommand)]
pub enum Server {
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
    Remove(Names),
    /// Give a server no more tasks; what runs goes on
    Drain(Drain),
    /// Give it tasks again
    Resume(Names),
    /// Read servers' attributes now
    Refresh(Refresh),
    #[command(hide = true)]
    Import(super::NotYet),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("engine").args(["local", "ssh", "of"]), after_help = "\
Examples:
  grid server add fast --local --slots 2 --set site=brno --app blender=4.1
  grid server add lab1 --ssh lab1 --max-load 6
  grid server add lab2 --ssh me@lab2.example.org --ssh-option Port=2222 --prologue '. /opt/conda/etc/profile.d/conda.sh; conda activate ml'
  grid server add farm --of fast,slow

Nothing is installed by hand on a host over ssh: the agent is sent when it is first needed.
Keys, jumps and known hosts are ssh's own; $GRID_SSH_COMMAND or `grid config set ssh.command` names another ssh.")]
pub struct ServerAdd {
    pub name: Name,
    /// This host
    #[arg(long)]
    pub local: bool,
    /// Several servers taken as one
    #[arg(long, value_name = "SERVER,..", value_delimiter = ',')]
    pub of: Vec<Name>,
    /// A host over ssh, as ssh and ~/.ssh/config know it
    #[arg(long, value_name = "HOST")]
    pub ssh: Option<String>,
    /// An option for ssh, as for its -o; may be repeated
    #[arg(long = "ssh-option", value_name = "OPTION", requires = "ssh")]
    pub ssh_options: Vec<String>,
    /// Where the agent and its records live over there; default: ~/.cache/grid and ~/.local/state/grid
    #[arg(long, value_name = "DIR", requires = "ssh")]
    pub remote_dir: Option<String>,
    /// The second-tier distributor that it belongs to; default: the first one
    #[arg(long, value_name = "NAME")]
    pub distributor: Option<Name>,
    #[command(flatten)]
    pub declared: ServerOptions,
}

#[derive(Debug, Args)]
#[command(override_usage = "grid server set NAME OPTION..", group = change(&["slots", "cpus", "mem", "max_load", "accepts", "shared_account", "prologue", "apps", "set"]))]
pub struct ServerSet {
    pub name: Name,
    #[command(flatten)]
    pub declared: ServerOptions,
}

/// What a person declares of a server.
#[derive(Debug, Args)]
pub struct ServerOptions {
    /// Tasks at once; default: its cpus
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: Option<u32>,
    /// The part of the host's processors that it may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: Option<u32>,
    /// The part of the host's memory
    #[arg(long, value_name = "SIZE", value_parser = Bytes::parse_some)]
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
pub struct Named {
    pub name: String,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Args)]
pub struct Names {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Unset {
    pub name: String,
    /// Options (as max-load), applications or attributes
    #[arg(required = true, value_name = "WHAT")]
    pub what: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Drain {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Shown wherever the server is
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct Refresh {
    /// Default: all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a user
    #[command(
        after_help = "Example:\n  grid user add alice --group staff --share 2 --prefer 'server.site == \"brno\"'"
    )]
    Add(UserSet),
    /// All users
    List(Listing),
    /// Every attribute of a user
    Show(Named),
    /// Change attributes; --group replaces the groups
    #[command(override_usage = "grid user set NAME OPTION..", group = change(&["groups", "share", "prefer", "constraint", "set"]))]
    Set(UserSet),
    /// Take back attributes: prefer, constraint, group, share or one of your own
    Unset(Unset),
    /// Remove a user without tasks
    Remove(Names),
    /// Print the line for authorized_keys by which a user of this home comes in from elsewhere
    Allow(UserAllow),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grid user add alice ; grid user allow alice >> alice.line   # then put her key behind it in ~/.ssh/authorized_keys
  grid user allow front-a --vouch                             # a first tier, which may speak for its users")]
pub struct UserAllow {
    pub name: Name,
    /// What it may do: submit (its own tasks only), see-all, operate, administer
    #[arg(long, value_name = "ROLE")]
    pub role: Option<Role>,
    /// It is a first tier: it may speak for its users, who have to be users here too
    #[arg(long)]
    pub vouch: bool,
}

#[derive(Debug, Args)]
pub struct UserSet {
    pub name: Name,
    /// A group; may be repeated
    #[arg(long = "group", value_name = "NAME", value_delimiter = ',')]
    pub groups: Vec<Name>,
    /// Stored and shown, not used yet
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub share: Option<i64>,
    /// Breaks ties of the task's own preference
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub prefer: Option<String>,
    /// Must be true for every task of this user
    #[arg(short = 'C', long, value_name = "EXPR")]
    pub constraint: Option<String>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Add a profile
    #[command(
        after_help = "Example:\n  grid task add render --cpus 2 --mem 1G --app blender --prefer server.power\n  grid submit --profile render -- blender -b scene.blend"
    )]
    Add(Box<ProfileSet>),
    /// All profiles (`grid status` lists the tasks)
    List(Listing),
    /// A profile; with a number, the task
    Show(Named),
    /// Change a profile; tasks keep what they were submitted with
    #[command(override_usage = "grid task set NAME OPTION..", group = change(&["cpus", "mem", "apps", "time", "constraint", "prefer", "priority", "retries", "set"]))]
    Set(Box<ProfileSet>),
    /// Take back attributes of a profile
    Unset(Unset),
    /// Remove a profile
    Remove(Names),
}

#[derive(Debug, Args)]
pub struct ProfileSet {
    pub name: Name,
    /// Processors
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: Option<u32>,
    /// Memory
    #[arg(long, value_name = "SIZE", value_parser = Bytes::parse_some)]
    pub mem: Option<Bytes>,
    /// An application on the server; may be repeated, replaces the earlier ones
    #[arg(long = "app", value_name = "NAME[>=VERSION]", value_delimiter = ',')]
    pub apps: Vec<AppNeed>,
    /// Time limit
    #[arg(short = 't', long, value_name = "TIME", value_parser = parse_duration)]
    pub time: Option<Duration>,
    /// Only servers for which this is true
    #[arg(short = 'C', long, value_name = "EXPR")]
    pub constraint: Option<String>,
    /// Among those, the one with the highest value
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub prefer: Option<String>,
    /// The higher, the earlier
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Start again after a failure, at most N times
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Client {
    /// All hosts that submit, or are declared to
    List(Listing),
    /// Every attribute of a client
    Show(Named),
    /// Declare attributes; makes a client that is unknown
    #[command(after_help = "Example:\n  grid client set \"$(uname -n)\" --set site=brno")]
    Set(SetOnly),
    /// Take back declared attributes
    Unset(Unset),
    /// Remove a client without tasks
    Remove(Names),
}

/// Open attributes and nothing else.
#[derive(Debug, Args)]
pub struct SetOnly {
    pub name: String,
    #[arg(long = "set", value_name = "NAME=VALUE", required = true, help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Distributor {
    /// Add a member to a tier of this home
    Add(DistributorAdd),
    /// The members of both tiers, in the order in which they are searched
    List(Listing),
    /// Every attribute of a distributor
    Show(Named),
    /// Declare attributes
    Set(SetOnly),
    /// Take back declared attributes
    Unset(Unset),
    /// Remove a distributor without servers and tasks
    Remove(Names),
    /// Pass it over in searches
    Drain(Drain),
    /// Search it again
    Resume(Names),
    /// Put members first, in this order
    #[command(after_help = "Example:\n  grid distributor order --tier 2 lab-x,lab-y")]
    Order(Order),
    /// Choose how a tier is searched; without a policy, say how it is
    Search(Search),
    /// Offer a second-tier distributor of this home to a first tier in another one, and report its state there
    Register(Register),
    /// Let tasks be redirected to a second-tier distributor that registered itself here
    Allow(Allow),
    /// Report the state of registered distributors now
    Push(Listing),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grid distributor register --as lab-x --with ssh:front-a --endpoint ssh:lab-x
  grid distributor register --as lab-x --with /home/me/front --on change,period:5min

A first tier on another host redirects tasks here once its owner has run `grid distributor allow`.")]
pub struct Register {
    /// What the first tier is to call it
    #[arg(long = "as", value_name = "NAME")]
    pub name: Name,
    /// The first tier's home: a path on this host, or ssh:HOST[:PATH]; may be repeated
    #[arg(long, value_name = "ENDPOINT", required = true)]
    pub with: Vec<String>,
    /// Where this home is reached from there; with a path, this home's own path
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Report to every first-tier home that this one knows (the default), or only to those registered with
    #[arg(long, value_name = "all|registered", default_value = "all", value_parser = ["all", "registered"])]
    pub to: String,
    /// When to report: change, event, period:TIME, or never
    #[arg(long, value_name = "WHEN,..", value_delimiter = ',', default_value = "change,event,period:60s")]
    pub on: Vec<String>,
    /// Which distributor of this home
    #[arg(long, value_name = "NAME", default_value = "tier2")]
    pub distributor: Name,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  grid distributor allow lab-x --endpoint ssh:lab-x")]
pub struct Allow {
    pub name: Name,
    /// Where it is reached; only what is said here counts, never what it says itself
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grid distributor add lab-b --tier 2
  grid distributor add front-a --tier 1 --endpoint ssh:front-a")]
pub struct DistributorAdd {
    pub name: Name,
    /// 1 redirects, 2 has servers
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub tier: u8,
    /// It lives in another home: a path on this host, or ssh:HOST[:PATH]
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Its name over there; default: the first of its tier
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub there: Option<Name>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Order {
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub tier: u8,
    #[arg(required = true, value_name = "NAME,..", value_delimiter = ',')]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Search {
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub tier: u8,
    /// in-order, round-robin or least-loaded
    pub policy: Option<Policy>,
}
