//! Computing power: how fast one core runs a fixed loop. It serves to compare hosts, and is not a benchmark.

use super::spool::write_atomically;
use crate::model::id::BootId;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The processor time of one slice: shorter than what else runs leaves undisturbed, and long against the clock.
const SLICE: Duration = Duration::from_millis(1);
/// The first reading ends after so many slices in which the best rose by no hundredth: a processor that was idle takes some 50 ms to
/// reach its clock, and rises meanwhile.
const STEADY: u32 = 40;
/// At most so many slices are measured at first.
const FIRST: u32 = 100;
/// And at each later reading: what was busy at first may be idle by then.
const LATER: u32 = 10;

/// Million rounds per second of one core: the best that was seen since this boot, kept in `cache`. The best of many short slices is
/// what the core can do, whatever else runs: two hosts of one kind have the same.
pub fn core_score(cache: &Path, machine: &str, boot: &BootId) -> f64 {
    let key = format!("{machine} {boot} ");
    let text = fs::read_to_string(cache.join("power")).unwrap_or_default();
    let known: Option<f64> = text.strip_prefix(&key).and_then(|score| score.trim().parse().ok());
    let score = known.map_or_else(|| steady_best(measure), |known| best(LATER).max(known));
    if known != Some(score) {
        // Where the cache can't be written it is measured again.
        let _ = write_atomically(cache, "power", format!("{key}{score}").as_bytes());
    }
    score
}

/// The best of the slices until it is steady.
fn steady_best(mut measure: impl FnMut() -> f64) -> f64 {
    let (mut best, mut risen_to, mut since) = (0.0_f64, 0.0_f64, 0);
    for _ in 0..FIRST {
        best = best.max(measure());
        if best > risen_to * 1.01 {
            (risen_to, since) = (best, 0);
        } else {
            since += 1;
        }
        if since == STEADY {
            break;
        }
    }
    best
}

/// The best of so many slices.
fn best(slices: u32) -> f64 {
    (0..slices).map(|_| measure()).fold(0.0, f64::max)
}

/// The processor time that this thread has had: unlike that of the clock on the wall, none of it is another's.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn measure() -> f64 {
    const ROUNDS: u32 = 5_000;
    let began = spent();
    let (mut word, mut number, mut done) = (0x9e37_79b9_7f4a_7c15_u64, 1.0_f64, 0_u64);
    loop {
        for _ in 0..ROUNDS {
            // Integer and floating point half and half; each round needs the one before.
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            number = number * 0.999_999 + (1.0 / (1.0 + (word & 0xff) as f64));
        }
        done += u64::from(ROUNDS);
        std::hint::black_box((word, number));
        let took = spent().saturating_sub(began);
        if took >= SLICE {
            return done as f64 / took.as_secs_f64() / 1e6;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn score_is_that_of_the_core_whatever_else_runs_on_it() {
        // One core, shared with three busy threads: of the time on the wall this one gets a quarter.
        let all = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap();
        let mut one = CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let busy = best(FIRST);
            stop.store(true, Ordering::Relaxed);
            let idle = best(FIRST);
            assert!(busy > idle * 0.6, "{busy} beside others, {idle} alone");
        });
    }

    #[test]
    fn first_reading_ends_where_the_best_is_steady() {
        let read = |slice: &dyn Fn(u32) -> f64| {
            let mut slices = 0;
            let best = steady_best(|| {
                slices += 1;
                slice(slices)
            });
            (best, slices)
        };
        assert_eq!(read(&|_| 800.0), (800.0, 1 + STEADY));
        assert_eq!(read(&|slice| if slice < 30 { 400.0 } else { 800.0 }), (800.0, 30 + STEADY));
        assert_eq!(read(&|slice| f64::from(slice * slice)), (f64::from(FIRST * FIRST), FIRST));
    }

    #[test]
    fn best_score_since_the_boot_is_kept() {
        let cache = tempfile::tempdir().unwrap();
        let boot = BootId("b1".to_owned());
        let measured = core_score(cache.path(), "m", &boot);
        assert!(measured > 0.0);
        fs::write(cache.path().join("power"), "m b1 1000000").unwrap();
        assert_eq!(core_score(cache.path(), "m", &boot), 1e6, "a later one is no better");
        fs::write(cache.path().join("power"), "m b1 0.001").unwrap();
        assert!(core_score(cache.path(), "m", &boot) > 0.001, "a better one replaces it");
        assert_ne!(fs::read_to_string(cache.path().join("power")).unwrap(), "m b1 0.001");
        assert!(core_score(cache.path(), "m", &BootId("b2".to_owned())) < 1e6, "another boot, another machine perhaps");
    }
}
