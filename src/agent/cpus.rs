//! Processors: how many this process may use, and how many of them are idle.

use std::fs;
use std::time::Duration;

/// Logical processors by affinity and by the quotas of all our cgroups.
pub fn usable() -> u32 {
    let affinity = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    let quota = quota().map_or(u32::MAX, |cores| (cores.ceil() as u32).max(1));
    affinity.min(quota).max(1)
}

/// Cores that the tightest cgroup grants; None without a limit.
fn quota() -> Option<f64> {
    let groups = super::memory::cgroup_dirs("cpu");
    let limits = groups.iter().filter_map(|dir| {
        let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
        read("cpu.max").and_then(|text| parse_cpu_max(&text)).or_else(|| {
            let quota: f64 = read("cpu.cfs_quota_us")?.trim().parse().ok()?;
            let period: f64 = read("cpu.cfs_period_us")?.trim().parse().ok()?;
            (quota > 0.0 && period > 0.0).then_some(quota / period)
        })
    });
    limits.min_by(f64::total_cmp)
}

/// `max 100000` or `150000 100000`.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

/// Ticks since boot, of all processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    idle: u64,
    total: u64,
    processors: u32,
}

/// Reads the ticks.
pub fn ticks() -> Option<Ticks> {
    parse_ticks(&fs::read_to_string("/proc/stat").ok()?)
}

fn parse_ticks(text: &str) -> Option<Ticks> {
    let all: Vec<u64> =
        text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let idle = all.get(3)? + all.get(4).unwrap_or(&0);
    // Guests' time is counted in user's already.
    let total = all.iter().take(8).sum();
    let one = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let processors = text.lines().filter(one).count();
    Some(Ticks { idle, total, processors: u32::try_from(processors).ok()? })
}

/// Idle cores between two readings, at most those that we may use.
pub fn idle_between(before: Ticks, after: Ticks, usable: u32) -> Option<f64> {
    let total = after.total.checked_sub(before.total).filter(|t| *t > 0)?;
    let share = after.idle.saturating_sub(before.idle) as f64 / total as f64;
    Some((share * f64::from(after.processors)).clamp(0.0, f64::from(usable)))
}

/// Idle cores since `before`, or over 100 ms; leaves the newest reading in `before`.
pub fn idle(before: &mut Option<Ticks>, usable: u32) -> Option<f64> {
    let first = match before.take() {
        Some(ticks) => ticks,
        None => {
            let ticks = ticks()?;
            std::thread::sleep(Duration::from_millis(100));
            ticks
        }
    };
    let now = ticks()?;
    *before = Some(now);
    idle_between(first, now, usable)
}

/// The one-minute load average.
pub fn load1() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_quota_is_parsed() {
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_cpu_max("max 100000\n"), None);
    }

    #[test]
    fn idle_cores_are_the_difference_of_two_readings() {
        let text = |idle: u64| format!("cpu  100 0 100 {idle} 0 0 0 0 0 0\ncpu0 1 1 1\ncpu1 1 1 1\nintr 5\n");
        let (a, b) = (parse_ticks(&text(1000)).unwrap(), parse_ticks(&text(1200)).unwrap());
        assert_eq!(a.processors, 2);
        assert_eq!(idle_between(a, b, 4), Some(2.0));
        assert_eq!(idle_between(a, b, 1), Some(1.0));
        assert_eq!(idle_between(a, a, 1), None);
    }
}
