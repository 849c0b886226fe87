//! The steps of a history.

use proptest::collection::vec;
use proptest::prelude::*;

/// Servers by their number: this host, `a`, `b`.
pub const SERVERS: [&str; 3] = ["local", "a", "b"];

/// One step. Numbers of tasks and running commands wrap around.
#[derive(Debug, Clone)]
pub enum Step {
    Submit(Submit),
    Hold(usize),
    Release(usize),
    Cancel(usize),
    Retry(usize),
    Drain(usize),
    Resume(usize),
    Add(usize),
    Remove(usize),
    /// Ends a command on a server.
    End {
        server: usize,
        which: usize,
        code: u8,
        long: bool,
    },
    Cut(usize),
    Unreachable(usize),
    Reachable(usize),
    HostRestarts(usize),
    SpoolLost(usize),
    /// An agent refuses all starts, or stops to.
    Refuses(usize),
    Accepts(usize),
    /// Kills the dispatcher and starts another one.
    DispatcherRestarts,
    /// Kills the dispatcher right after a transaction: effects may not be carried out.
    DispatcherDies,
    Pass {
        ms: u64,
    },
    /// Sets the wall clock by this many minutes.
    ClockIsSet(i64),
}

/// The parts of a submit.
#[derive(Debug, Clone, Default)]
pub struct Submit {
    pub count: u32,
    pub at_once: Option<u32>,
    pub cpus: u32,
    pub priority: i32,
    pub retries: u32,
    pub retry_lost: bool,
    pub lost_after: bool,
    pub hold: bool,
    /// The only allowed server.
    pub on: Option<usize>,
}

/// What the commands of a history do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// Few of a few members end, most of them well.
    MostlySucceed,
    /// Many of many members end, most of them badly, with retries.
    MostlyFail,
}

fn submit(commands: Commands) -> impl Strategy<Value = Step> {
    let (members, retries) = match commands {
        Commands::MostlySucceed => (7u32, 3u32),
        Commands::MostlyFail => (20, 6),
    };
    let size = (1..members, proptest::option::weighted(0.3, 1u32..3), 1u32..5, 0i32..3);
    let fate = (0..retries, any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1));
    (size, fate, proptest::option::weighted(0.3, 0..SERVERS.len())).prop_map(
        |((count, at_once, cpus, priority), (retries, retry_lost, lost_after, hold), on)| {
            Step::Submit(Submit { count, at_once, cpus, priority, retries, retry_lost, lost_after, hold, on })
        },
    )
}

/// The steps of a history, common ones more often.
pub fn any_steps(commands: Commands) -> impl Strategy<Value = Vec<Step>> {
    let (most, ends, succeed, fail) = match commands {
        Commands::MostlySucceed => (24, 12, 3, 1),
        Commands::MostlyFail => (60, 40, 1, 2),
    };
    let server = || 0..SERVERS.len();
    let far = || 1..SERVERS.len();
    let code = prop_oneof![succeed => Just(0u8), fail => Just(1u8)];
    let end = (server(), 0usize..8, code, proptest::bool::weighted(0.1));
    let pass = prop_oneof![Just(20u64), Just(400), Just(5_000), Just(60_000), Just(400_000)];
    let step = prop_oneof![
        8 => submit(commands),
        ends => end.prop_map(|(server, which, code, long)| Step::End { server, which, code, long }),
        4 => pass.prop_map(|ms| Step::Pass { ms }),
        1 => (0usize..8).prop_map(Step::Hold),
        1 => (0usize..8).prop_map(Step::Release),
        2 => (0usize..8).prop_map(Step::Cancel),
        1 => (0usize..8).prop_map(Step::Retry),
        1 => server().prop_map(Step::Drain),
        1 => server().prop_map(Step::Resume),
        1 => far().prop_map(Step::Add),
        1 => far().prop_map(Step::Remove),
        1 => server().prop_map(Step::Cut),
        1 => far().prop_map(Step::Unreachable),
        1 => far().prop_map(Step::Reachable),
        1 => server().prop_map(Step::HostRestarts),
        1 => server().prop_map(Step::SpoolLost),
        1 => server().prop_map(Step::Refuses),
        1 => server().prop_map(Step::Accepts),
        1 => (-300i64..300).prop_map(Step::ClockIsSet),
        1 => Just(Step::DispatcherRestarts),
        1 => Just(Step::DispatcherDies),
    ];
    vec(step, 1..most)
}
