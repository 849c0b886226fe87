//! Medians, spread, ratios to the floor; and the page on which the latest table stands.

use crate::peer::Outcome;
use crate::rows::{Row, Sample, Scale};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[derive(Default, Clone)]
struct Cell {
    samples: Vec<Sample>,
    error: Option<String>,
}

pub struct Table {
    peers: Vec<(&'static str, String)>,
    rows: Vec<(Row, Vec<Cell>)>,
}

const BEGIN: &str = "<!-- written by `cargo bench --bench peers`: do not edit from here -->";
const END: &str = "<!-- to here -->";

impl Table {
    pub fn new(peers: Vec<(&'static str, String)>) -> Self {
        Self { peers, rows: Vec::new() }
    }

    /// Takes a sample of one peer in.
    pub fn add(&mut self, row: &Row, peer: usize, sample: Outcome<Option<Sample>>) {
        let at = match self.rows.iter().position(|(r, _)| r == row) {
            Some(at) => at,
            None => {
                self.rows.push((row.clone(), vec![Cell::default(); self.peers.len()]));
                self.rows.len() - 1
            }
        };
        let cell = &mut self.rows[at].1[peer];
        match sample {
            Ok(Some(sample)) => {
                eprintln!("{row:?}, {}: {}", self.peers[peer].0, short(sample.value));
                cell.samples.push(sample);
            }
            Ok(None) => {}
            Err(error) => {
                eprintln!("{}: {row:?}: {error}", self.peers[peer].0);
                cell.error = Some(error.to_string());
            }
        }
    }

    /// The table as Markdown: median (lowest to highest), and the ratio to the floor where there is one.
    pub fn markdown(&self, scale: &Scale, took: Duration, rounds: usize) -> String {
        let mut text = format!(
            "{}; {rounds} rounds in {:.0} s. Medians, in brackets the lowest and highest; x: times the floor (`xargs -P2`) of the same run.\n\n",
            machine(),
            took.as_secs_f64()
        );
        let _ = writeln!(text, "| |{}", self.peers.iter().map(|(name, _)| format!(" {name} |")).collect::<String>());
        let _ = writeln!(text, "|---|{}", "---|".repeat(self.peers.len()));
        for (row, cells) in &self.rows {
            let (title, more_is_better) = row.title(scale);
            let floor = cells.first().filter(|_| more_is_better).and_then(|cell| Some(median(&cell.samples)?.value));
            let _ = write!(text, "| {title} |");
            for (at, cell) in cells.iter().enumerate() {
                let _ = write!(
                    text,
                    " {} |",
                    words(cell, floor.filter(|_| at > 0), matches!(row, Row::Proof | Row::SshProof))
                );
            }
            text.push('\n');
        }
        text.push_str("\nVersions: ");
        let versions: Vec<String> = self.peers.iter().map(|(name, version)| format!("{name}: {version}")).collect();
        let _ = writeln!(text, "{}.", versions.join("; "));
        text
    }
}

fn words(cell: &Cell, floor: Option<f64>, proof: bool) -> String {
    let Some(middle) = median(&cell.samples) else {
        return if cell.error.is_some() { "failed".into() } else { "–".into() };
    };
    let note = middle.note.as_ref().map(|note| format!(", {note}")).unwrap_or_default();
    if proof {
        return note.trim_start_matches(", ").to_owned();
    }
    let values = || cell.samples.iter().map(|sample| sample.value);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(0.0, f64::max);
    let ratio = floor.map(|floor| format!(", {:.2}x", middle.value / floor)).unwrap_or_default();
    format!("{} ({}-{}){ratio}{note}", short(middle.value), short(low), short(high))
}

fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The sample in the middle, with what was noted of it.
fn median(samples: &[Sample]) -> Option<&Sample> {
    let mut sorted: Vec<&Sample> = samples.iter().collect();
    sorted.sort_by(|one, other| one.value.total_cmp(&other.value));
    sorted.get(sorted.len() / 2).copied()
}

fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| crate::peer::first_line(Command::new(program).args(arguments));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!(
        "{}, {cpus} processors, {}, load {load} at the end",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said("uname", &["-sr"])
    )
}

/// Writes the table into benches/README.md, between its two marks.
pub fn keep(table: &str) -> Outcome<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let text = std::fs::read_to_string(&path)?;
    let (Some(from), Some(to)) = (text.find(BEGIN), text.find(END)) else {
        return Err(format!("{}: the marks are gone", path.display()).into());
    };
    let new = format!("{}\n\n{table}\n{}", &text[..from + BEGIN.len()], &text[to..]);
    Ok(std::fs::write(&path, new)?)
}
