//! grid beside every peer that is found on this machine, on the same work, in one run.
//!
//! `benches/setup` installs the peers; `cargo bench --bench peers` measures and writes the table into benches/README.md.
//! `-- --rounds N` (3), `-- --quick` (one round, small numbers, no file written), `-- --only tsp,grid`, `-- --rows ssh` (of
//! idle, waiting, ssh).
//!
//! All of it is measured from outside: a command is started, and what counts is when it has returned, when its task has
//! begun (the task opens a FIFO), when its end is known. In each round every peer takes its turn at every row.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says what it measures, and prints the table")]

mod backlog;
mod floor;
mod grid;
mod hosts;
mod hyperqueue;
mod parallel;
mod peer;
mod pueue;
mod rows;
mod slurm;
mod spoolers;
mod ssh;
mod table;

#[expect(clippy::expect_used, clippy::panic, reason = "the hosts of the tests")]
#[path = "../../tests/support/mod.rs"]
mod support;

use peer::{Outcome, Peer, Sandbox};
use rows::{Row, Scale};
use std::time::Instant;
use table::Table;

/// What the command line says.
struct Options {
    rounds: usize,
    quick: bool,
    only: Option<Vec<String>>,
    rows: Option<Vec<String>>,
}

impl Options {
    /// Are these peers, and these rows, asked for?
    fn wants(&self, peer: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|o| o == peer))
    }

    fn wants_rows(&self, kind: &str) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows.iter().any(|r| r == kind))
    }
}

fn options() -> Options {
    let mut options = Options { rounds: 3, quick: false, only: None, rows: None };
    let mut words = std::env::args().skip(1);
    let list = |text: Option<String>| text.map(|text| text.split(',').map(str::to_owned).collect());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => options.rounds = words.next().and_then(|n| n.parse().ok()).unwrap_or(options.rounds),
            "--quick" => options.quick = true,
            "--only" => options.only = list(words.next()),
            "--rows" => options.rows = list(words.next()),
            // cargo says --bench to every bench target.
            _ => {}
        }
    }
    if options.quick {
        options.rounds = 1;
    }
    options
}

fn main() -> Outcome<()> {
    let options = options();
    let sandbox = Sandbox::new()?;
    let scale = if options.quick { Scale::QUICK } else { Scale::FULL };
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    for (name, found) in peer::find(&sandbox, |name| options.wants(name)) {
        match found {
            Ok(Some(peer)) => peers.push(peer),
            Ok(None) => {}
            Err(error) => eprintln!("{name} is left out: {error}"),
        }
    }
    let mut table = Table::new(peers.iter().map(|p| (p.name(), p.version())).collect());
    let began = Instant::now();
    if options.wants_rows("idle") {
        idle(&mut peers, &options, &scale, &mut table);
    }
    if options.wants_rows("waiting") {
        for size in scale.backlogs {
            backlog::measure(&mut peers, *size, options.rounds, &scale, &mut table);
        }
    }
    for peer in &mut peers {
        peer.stop();
    }
    if options.wants_rows("ssh") {
        ssh::measure(&peers.iter().map(|p| p.name()).collect::<Vec<_>>(), options.rounds, &scale, &mut table)?;
    }
    let text = table.markdown(&scale, began.elapsed(), options.rounds);
    println!("{text}");
    if options.quick || options.only.is_some() || options.rows.is_some() { Ok(()) } else { table::keep(&text) }
}

/// While nothing waits: in each round every peer takes its turn at every row.
fn idle(peers: &mut [Box<dyn Peer>], options: &Options, scale: &Scale, table: &mut Table) {
    let began = Instant::now();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}, {:.0} s", options.rounds, began.elapsed().as_secs_f64());
        for row in Row::idle() {
            for (at, peer) in peers.iter_mut().enumerate() {
                table.add(&row, at, row.measure(peer.as_mut(), scale));
            }
        }
    }
    for (at, peer) in peers.iter_mut().enumerate() {
        // Not timed: tasks that say their number and end with it, so that outputs and exit codes are seen to be kept.
        table.add(&Row::Proof, at, Row::Proof.measure(peer.as_mut(), scale));
    }
}
