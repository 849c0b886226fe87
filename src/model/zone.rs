//! The time zone of the caller, from TZ and the files that it names. Only a regular file of a zone's
//! size is read: TZ may name a device or a pipe, which has no end.

use jiff::tz::TimeZone;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Directories of zones, in the order of jiff.
const DIRECTORIES: [&str; 4] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];
/// The zone of a host whose environment names none.
const OF_THE_HOST: &str = "/etc/localtime";
/// The largest file of a zone that is read; those of 2026 are below 4 KiB.
const FILE_MAX: u64 = 256 << 10;

/// A zone, and the fault of the one that was asked for, if any.
#[derive(Debug, Clone)]
struct Zone {
    zone: TimeZone,
    fault: Option<String>,
}

static CALLERS: OnceLock<Zone> = OnceLock::new();

/// The caller's zone. Read once, when the first time is shown.
pub fn callers() -> TimeZone {
    let read = || Zone::of(std::env::var_os("TZ"), std::env::var_os("TZDIR"));
    CALLERS.get_or_init(read).zone.clone()
}

/// Why times were shown in UTC instead of the zone in TZ, if they were.
pub fn fault() -> Option<&'static str> {
    CALLERS.get()?.fault.as_deref()
}

impl Zone {
    fn of(tz: Option<OsString>, directory: Option<OsString>) -> Self {
        let found = |zone| Self { zone, fault: None };
        let Some(tz) = tz else {
            return found(read(Path::new(OF_THE_HOST)).unwrap_or(TimeZone::UTC));
        };
        let text = tz.to_string_lossy();
        if text.is_empty() {
            return found(TimeZone::UTC);
        }
        let name = text.strip_prefix(':').unwrap_or(&text);
        if let Ok(zone) = TimeZone::posix(&text) {
            return found(zone);
        }
        let directories = directory.map(PathBuf::from).into_iter().chain(DIRECTORIES.map(PathBuf::from));
        // Joining an absolute path gives that path alone.
        let files = directories.map(|directory| directory.join(name)).chain([PathBuf::from(name)]);
        files.into_iter().find_map(|file| read(&file)).map_or_else(
            || {
                let shown: String = text.chars().take(80).collect();
                let fault = format!("TZ={shown}: no such time zone; times are shown in UTC");
                Self { zone: TimeZone::UTC, fault: Some(fault) }
            },
            found,
        )
    }
}

/// The zone in a file; None if it can't be read or is no zone.
fn read(path: &Path) -> Option<TimeZone> {
    // Opening a pipe would wait for a writer; opening a terminal could make it this process's controlling one.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= FILE_MAX)?;
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).ok()?);
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    TimeZone::tzif("", &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;

    /// Noon in UTC of a summer's day, as a zone shows it.
    fn shown(tz: &str, directory: Option<&Path>) -> (String, Option<String>) {
        let Zone { zone, fault } = Zone::of(Some(tz.into()), directory.map(|d| d.as_os_str().to_owned()));
        (Timestamp(1_751_371_200_000).in_zone(zone), fault)
    }

    #[test]
    fn rules_names_and_paths_of_zones_are_read() {
        assert_eq!(shown("<+09>-9", None), ("2025-07-01 21:00:00".to_owned(), None));
        assert_eq!(shown("", None), ("2025-07-01 12:00:00".to_owned(), None));
        if Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
            for tz in ["Asia/Tokyo", ":Asia/Tokyo", "/usr/share/zoneinfo/Asia/Tokyo"] {
                assert_eq!(shown(tz, None), ("2025-07-01 21:00:00".to_owned(), None), "{tz}");
            }
        }
    }

    #[test]
    fn devices_pipes_directories_and_large_files_are_no_zones() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::fs::File::create(dir.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
        for tz in ["/dev/zero", ":/dev/zero", "../../../dev/zero", "pipe", "huge", ".", "/", "Mars/Olympus"] {
            let (time, fault) = shown(tz, Some(dir.path()));
            assert_eq!(time, "2025-07-01 12:00:00", "{tz}");
            assert!(fault.is_some_and(|fault| fault.contains(tz) && fault.contains("UTC")), "{tz}");
        }
        assert_eq!(shown("zero", Some(Path::new("/dev"))).0, "2025-07-01 12:00:00");
    }
}
