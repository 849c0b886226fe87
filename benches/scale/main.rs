//! What commands cost in homes that have become large: by what has ended, by what waits, by servers, by callers at once.
//!
//! `cargo bench --bench scale` measures all of it and writes it into benches/README.md. `SCALE=0.1` makes everything a tenth as large,
//! `-- ended`, `-- growth`, `-- storm` measure one part: then nothing is written. `GRID_BIN=..` measures another binary.

#![expect(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

mod ended;
mod growth;
#[path = "../page.rs"]
mod page;
mod program;
mod storm;
#[path = "../world.rs"]
mod world;

fn main() {
    let scale: f64 = std::env::var("SCALE").map_or(1.0, |text| text.parse().expect("SCALE is a number"));
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    let dir = tempfile::tempdir().expect("a directory");
    let mut parts = Vec::new();
    if wanted("ended") {
        parts.push(ended::table(dir.path(), (1e6 * scale) as u64, (1e5 * scale) as u64));
    }
    if wanted("growth") {
        parts.push(growth::table(dir.path(), scale));
    }
    if wanted("storm") {
        parts.push(storm::rounds(dir.path()));
    }
    let text = format!("{}. Medians of 40.\n\n{}", page::machine(), parts.join("\n\n"));
    println!("{text}");
    if words.is_empty() && scale == 1.0 {
        page::keep("scale", &text);
    }
}
