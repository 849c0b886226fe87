//! Computing power: how fast one core runs a fixed loop. It serves to compare hosts, and is not a benchmark.

use super::spool::write_atomically;
use crate::model::id::BootId;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Million rounds per second of one core: the best of three, measured once for each boot and kept in `cache`.
pub fn core_score(cache: &Path, machine: &str, boot: &BootId) -> f64 {
    let key = format!("{machine} {boot} ");
    let known = fs::read_to_string(cache.join("power")).unwrap_or_default();
    if let Some(score) = known.strip_prefix(&key).and_then(|score| score.trim().parse().ok()) {
        return score;
    }
    let score = (0..3).map(|_| measure(Duration::from_millis(20))).fold(0.0, f64::max);
    // Where the cache can't be written it is measured again.
    let _ = write_atomically(cache, "power", format!("{key}{score}").as_bytes());
    score
}

fn measure(length: Duration) -> f64 {
    const ROUNDS: u32 = 10_000;
    let began = Instant::now();
    let (mut word, mut number, mut done) = (0x9e37_79b9_7f4a_7c15_u64, 1.0_f64, 0_u64);
    while began.elapsed() < length {
        for _ in 0..ROUNDS {
            // Integer and floating point half and half; each round needs the one before.
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            number = number * 0.999_999 + (1.0 / (1.0 + (word & 0xff) as f64));
        }
        done += u64::from(ROUNDS);
        std::hint::black_box((word, number));
    }
    done as f64 / began.elapsed().as_secs_f64() / 1e6
}
