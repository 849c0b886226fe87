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

pub(super) const SET_HELP: &str =
    "An attribute of your own: 90 int, 90.5 double, true/false bool, else text; repeat for a list";

/// A change without a change is a slip: one of these at least.
pub(super) fn change(options: &[&'static str]) -> ArgGroup {
    ArgGroup::new("change").required(true).multiple(true).args(options)
}

#[derive(Debug, Args)]
pub struct Named {
    /// Which one
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
    /// Whose
    pub name: String,
    /// Attributes, of a server also options (as max-load) and applications
    #[arg(required = true, value_name = "WHAT")]
    pub what: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Drain {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Shown wherever it is listed
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
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
    /// What it may do: submit (its own tasks only), see-all, operate (change all tasks), administer (drain servers, without bounds)
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
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<0>)]
    pub share: Option<u32>,
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
pub enum TaskCommand {
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
    #[command(override_usage = "grid task set NAME OPTION..", group = change(&["cpus", "mem", "apps", "time", "max_output", "constraint", "prefer", "priority", "retries", "set"]))]
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
    #[arg(short = 'c', long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<1>)]
    pub cpus: Option<u32>,
    /// Memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = Bytes::parse_some)]
    pub mem: Option<Bytes>,
    /// An application on the server; may be repeated, replaces the earlier ones
    #[arg(long = "app", value_name = "NAME[>=VERSION]", value_delimiter = ',')]
    pub apps: Vec<AppNeed>,
    /// Time limit
    #[arg(short = 't', long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration)]
    pub time: Option<Duration>,
    /// Of a longer output (64K or more) keep the first and the last 64M; with ,kill end the task soon after; none: keep all
    #[arg(long, value_name = "SIZE[,kill]", allow_hyphen_values = true, value_parser = MaxOutput::parse)]
    pub max_output: Option<MaxOutput>,
    /// Only servers for which this is true
    #[arg(short = 'C', long, value_name = "EXPR")]
    pub constraint: Option<String>,
    /// Among those, the one with the highest value
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub prefer: Option<String>,
    /// The higher, the earlier
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole)]
    pub priority: Option<i32>,
    /// Start again after a failure, at most N times
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least::<0>)]
    pub retries: Option<u32>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
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
    /// Whose
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
    /// Have searches pass distributors over; what runs goes on
    Drain(Drain),
    /// Have them searched again
    Resume(Names),
    /// Put members first, in this order
    #[command(after_help = "Example:\n  grid distributor order --tier 2 lab-x,lab-y")]
    Order(SearchOrder),
    /// Choose how a tier is searched; without a policy, say how it is
    Search(SearchArgs),
    /// Offer a second-tier distributor of this home to a first tier in another one, and report its state there
    Register(Register),
    /// Report a distributor to a first tier no more
    Unregister(Unregister),
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
    /// The first tier's home: a path on this host, ssh:HOST or ssh:HOST:PATH; may be repeated
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
#[command(after_help = "\
Example:
  grid distributor unregister --with ssh:front-a

What that first tier knows stays there, until its owner drains or removes it.")]
pub struct Unregister {
    /// The first tier's home, as it was registered with; may be repeated
    #[arg(long, value_name = "ENDPOINT", required = true)]
    pub with: Vec<String>,
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
    #[arg(long, value_name = "1|2")]
    pub tier: Tier,
    /// It lives in another home: a path on this host, ssh:HOST or ssh:HOST:PATH
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// Its name over there; default: the first of its tier
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub there: Option<Name>,
    #[arg(long = "set", value_name = "NAME=VALUE", help = SET_HELP)]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SearchOrder {
    #[arg(long, value_name = "1|2")]
    pub tier: Tier,
    #[arg(required = true, value_name = "NAME,..", value_delimiter = ',')]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    #[arg(long, value_name = "1|2")]
    pub tier: Tier,
    /// in-order, round-robin or least-loaded
    pub policy: Option<Policy>,
}
