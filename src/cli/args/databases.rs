//! The attribute databases: servers, users, profiles, clients, distributors.

use super::Listing;
use super::number::{at_least, whole};
use crate::model::demand::AppNeed;
use crate::model::distributor::{Policy, Tier};
use crate::model::max_output::MaxOutput;
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::time::parse_duration;
use crate::model::user::Role;
use clap::{ArgGroup, Args, Subcommand};
use std::time::Duration;

pub(super) const SET_HELP: &str = "An attribute of your own: 90 is an int, 90.5 a double, true or false a bool, anything else a text; repeat for a list";

/// A change without a change is a slip: one of these at least.
pub(super) fn change(options: &[&'static str]) -> ArgGroup {
    ArgGroup::new("change").required(true).multiple(true).args(options)
}

#[derive(Debug, Args)]
pub struct Named {
    /// Its name
    pub name: String,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Args)]
pub struct Names {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Unset {
    /// Its name
    pub name: String,
    /// Attributes to remove; of a server also options (as max-load) and applications
    #[arg(required = true, value_name = "WHAT")]
    pub what: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Drain {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// A reason that the lists show
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add(UserSet),
    /// List all users
    List(Listing),
    /// Show every attribute of a user
    Show(Named),
    /// Change attributes; --group replaces the groups
    #[command(override_usage = "grid user set NAME OPTION..", group = change(&["groups", "share", "prefer", "constraint", "set"]))]
    Set(UserSet),
    /// Remove attributes: prefer, constraint, group, share or one of your own
    Unset(Unset),
    /// Remove a user without tasks
    Remove(Names),
    /// Print a line for authorized_keys that lets a user log in from another home
    Allow(UserAllow),
}

#[derive(Debug, Args)]
pub struct UserAllow {
    /// A user of this home
    pub name: Name,
    /// The role: submit (own tasks only), see-all, operate (change all tasks), administer (also drain servers; no limits)
    #[arg(long, value_name = "ROLE")]
    pub role: Option<Role>,
    /// This is a first tier: it may act for its users, who must be users here too
    #[arg(long)]
    pub vouch: bool,
}

#[derive(Debug, Args)]
pub struct UserSet {
    /// The user
    pub name: Name,
    /// A group; may be repeated
    #[arg(long = "group", value_name = "NAME", value_delimiter = ',')]
    pub groups: Vec<Name>,
    /// A share; stored and shown, not used yet
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<0>)]
    pub share: Option<u32>,
    /// An expression that breaks ties of the task's own --prefer
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub prefer: Option<String>,
    /// An expression that must be true of the server, for all tasks of this user
    #[arg(short = 'C', long, value_name = "EXPR")]
    pub constraint: Option<String>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Add a profile
    Add(Box<ProfileSet>),
    /// List all profiles
    List(Listing),
    /// Show a profile; with a number, show that task
    Show(Named),
    /// Change a profile; submitted tasks do not change
    #[command(override_usage = "grid task set NAME OPTION..", group = change(&["cpus", "mem", "apps", "time", "max_output", "constraint", "prefer", "priority", "retries", "env", "env_all", "env_none", "set"]))]
    Set(Box<ProfileSet>),
    /// Remove attributes of a profile
    Unset(Unset),
    /// Remove a profile
    Remove(Names),
}

#[derive(Debug, Args)]
pub struct ProfileSet {
    /// The profile
    pub name: Name,
    /// Processors
    #[arg(short = 'c', long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub cpus: Option<u32>,
    /// Memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = Bytes::parse_some)]
    pub mem: Option<Bytes>,
    /// An application on the server; may be repeated; replaces the earlier ones
    #[arg(long = "app", value_name = "NAME[>=VERSION]", value_delimiter = ',')]
    pub apps: Vec<AppNeed>,
    /// Time limit
    #[arg(short = 't', long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration)]
    pub time: Option<Duration>,
    /// If an output grows longer (64K or more), keep its first and last 64M; with ,kill also stop the task; none keeps all
    #[arg(long, value_name = "SIZE[,kill]", allow_hyphen_values = true, value_parser = MaxOutput::parse)]
    pub max_output: Option<MaxOutput>,
    /// Only servers for which this expression is true
    #[arg(short = 'C', long, value_name = "EXPR")]
    pub constraint: Option<String>,
    /// Of the servers that fit, take the one where this expression is highest
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub prefer: Option<String>,
    /// Tasks with a higher number start first
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole)]
    pub priority: Option<i32>,
    /// Retry after a failure, at most N times
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<0>)]
    pub retries: Option<u32>,
    /// Environment variables, as for `grid submit --env`; may be repeated; replaces the earlier ones; values written here are no secrets
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// The whole environment of the submit, on every server
    #[arg(long, conflicts_with = "env_none")]
    pub env_all: bool,
    /// The environment of a login, with the language and the time zone of the submit
    #[arg(long)]
    pub env_none: bool,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// List all hosts that submit, or are declared
    List(Listing),
    /// Show every attribute of a client
    Show(Named),
    /// Declare attributes; adds a client that is unknown
    Set(SetOnly),
    /// Remove declared attributes
    Unset(Unset),
    /// Remove a client without tasks
    Remove(Names),
}

/// Open attributes and nothing else.
#[derive(Debug, Args)]
pub struct SetOnly {
    /// Its name
    pub name: String,
    #[arg(long = "set", value_name = "NAME=VALUE", required = true, help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Distributor {
    /// Add a member to a tier of this home
    Add(DistributorAdd),
    /// List the members of both tiers in search order
    List(Listing),
    /// Show every attribute of a distributor
    Show(Named),
    /// Declare attributes
    Set(SetOnly),
    /// Remove declared attributes
    Unset(Unset),
    /// Remove a distributor without servers and tasks
    Remove(Names),
    /// Skip distributors in searches; running tasks keep running
    Drain(Drain),
    /// Search drained distributors again
    Resume(Names),
    /// Search these members first, in this order
    Order(SearchOrder),
    /// Choose how a tier is searched, or print it
    Search(SearchArgs),
    /// Offer a second-tier distributor of this home to a first tier in another home, and report its state there
    Register(Register),
    /// Stop reporting a distributor to a first tier
    Unregister(Unregister),
    /// Let this first tier redirect tasks to a second-tier distributor that registered here
    Allow(Allow),
    /// Report the state of registered distributors now
    Push(Listing),
}

#[derive(Debug, Args)]
pub struct Register {
    /// The name that the first tier uses for it
    #[arg(long = "as", value_name = "NAME")]
    pub name: Name,
    /// The first tier's home: a path on this host, ssh:HOST or ssh:HOST:PATH; may be repeated
    #[arg(long, value_name = "ENDPOINT", required = true)]
    pub with: Vec<String>,
    /// How the first tier reaches this home; with a path, the path of this home
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Report to every first tier that this home knows, or only to those of --with
    #[arg(long, value_name = "all|registered", default_value = "all", value_parser = ["all", "registered"])]
    pub to: String,
    /// When to report: change, event, period:TIME, or never
    #[arg(long, value_name = "WHEN,..", value_delimiter = ',', default_value = "change,event,period:60s")]
    pub on: Vec<String>,
    /// The distributor of this home
    #[arg(long, value_name = "NAME", default_value = "tier2")]
    pub distributor: Name,
}

#[derive(Debug, Args)]
pub struct Unregister {
    /// The first tier's home, as it was registered with; may be repeated
    #[arg(long, value_name = "ENDPOINT", required = true)]
    pub with: Vec<String>,
    /// The distributor of this home
    #[arg(long, value_name = "NAME", default_value = "tier2")]
    pub distributor: Name,
}

#[derive(Debug, Args)]
pub struct Allow {
    /// The name that it registered under
    pub name: Name,
    /// How it is reached; the endpoint that it reports is never used
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
}

#[derive(Debug, Args)]
pub struct DistributorAdd {
    /// Its name
    pub name: Name,
    /// The tier: 1 redirects, 2 has servers
    #[arg(long, value_name = "1|2")]
    pub tier: Tier,
    /// It is in another home: a path on this host, ssh:HOST or ssh:HOST:PATH
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Its name in that home; default: the first of its tier
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub there: Option<Name>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SearchOrder {
    /// The tier
    #[arg(long, value_name = "1|2")]
    pub tier: Tier,
    /// The members to search first
    #[arg(required = true, value_name = "NAME,..", value_delimiter = ',')]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// The tier
    #[arg(long, value_name = "1|2")]
    pub tier: Tier,
    /// in-order, round-robin or least-loaded; default: print how the tier is searched
    pub policy: Option<Policy>,
}
