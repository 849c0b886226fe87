//! Memory: what the host has, and what our cgroups leave of it.

use crate::model::resources::Bytes;
use std::fs;
use std::path::{Path, PathBuf};

/// Total and available memory, cgroup limits considered.
pub fn total_and_available() -> Option<(Bytes, Bytes)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let (mut total, mut available) = (meminfo(&text, "MemTotal")?, meminfo(&text, "MemAvailable")?);
    for dir in cgroup_dirs("memory") {
        let read = |names: [&str; 2]| names.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok());
        let number = |text: String| text.trim().parse::<u64>().ok();
        let Some(limit) = read(["memory.max", "memory.limit_in_bytes"]).and_then(number) else { continue };
        if limit >= total {
            continue;
        }
        total = limit;
        if let Some(used) = read(["memory.current", "memory.usage_in_bytes"]).and_then(number) {
            // Page cache counts as used, but is freed on demand.
            let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
            let cache = ["inactive_file", "total_inactive_file"].iter().find_map(|name| stat_line(&stat, name));
            available = available.min(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))));
        }
    }
    Some((Bytes(total), Bytes(available.min(total))))
}

fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn stat_line(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The directories of our cgroup for a controller and of all above it, v2 and v1.
pub fn cgroup_dirs(controller: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut dirs = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let mount = if controllers.is_empty() {
            Path::new("/sys/fs/cgroup").to_owned()
        } else if controllers.split(',').any(|c| c == controller) {
            Path::new("/sys/fs/cgroup").join(controllers)
        } else {
            continue;
        };
        let path = Path::new(path.trim_start_matches('/'));
        dirs.extend(path.ancestors().map(|part| mount.join(part)));
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_parsed_in_kib() {
        let text = "MemTotal:       16318480 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(meminfo(text, "MemAvailable"), Some(1 << 20));
        assert_eq!(meminfo(text, "SwapFree"), None);
        assert_eq!(stat_line("anon 5\ninactive_file 77\n", "inactive_file"), Some(77));
    }
}
