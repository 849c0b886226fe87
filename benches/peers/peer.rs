//! What a peer has to be able to do, and how commands are run for it.

use rustix::fs::MemfdFlags;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A task queue. What it has not got stays `Ok(None)`.
pub trait Peer {
    fn name(&self) -> &'static str;
    fn version(&self) -> String;
    /// Hands one command in, and returns when its acceptance is known.
    fn submit(&mut self, _command: &[&str]) -> Outcome<Option<()>> {
        Ok(None)
    }
    /// Ends what is resident, as after a long time without work; its records stay.
    fn rest(&mut self) -> Outcome<Option<()>> {
        Ok(None)
    }
    /// Hands a no-op in and returns when its end is known.
    fn submit_and_wait(&mut self) -> Outcome<Option<()>> {
        Ok(None)
    }
    /// Runs so many no-ops, two at a time, handed in at once; returns how many ran, by the peer's own record.
    fn array(&mut self, _size: usize) -> Outcome<Option<usize>> {
        Ok(None)
    }
    /// Waits until nothing waits or runs; returns how many ended since the last call, by the peer's own record.
    fn settle(&mut self) -> Outcome<Option<usize>> {
        Ok(None)
    }
    /// The list of what waits, as a person would ask for it.
    fn list(&mut self) -> Outcome<Option<()>> {
        Ok(None)
    }
    /// Fills the queue behind two tasks that sleep; returns how many wait (fewer where more is not bearable).
    fn fill(&mut self, _size: usize) -> Outcome<Option<usize>> {
        Ok(None)
    }
    /// So many tasks that have ended lie in its records from now on.
    fn age(&mut self, _size: usize) -> Outcome<Option<()>> {
        Ok(None)
    }
    /// Throws away what waits.
    fn empty(&mut self) -> Outcome<()> {
        Ok(())
    }
    /// Tasks print their number and exit with its last digit; each must be found again with both. None: it keeps no such thing.
    fn proof(&mut self, _tasks: usize) -> Outcome<Option<()>> {
        Ok(None)
    }
    /// At most so many no-ops are run one by one or as an array: for those that would take minutes.
    fn patience(&self) -> usize {
        usize::MAX
    }
    /// Its processes.
    fn processes(&self) -> Vec<u32> {
        Vec::new()
    }
    /// Ends what it has started.
    fn stop(&mut self) {}
}

/// A directory for one run; it goes with it.
pub struct Sandbox {
    pub dir: PathBuf,
}

impl Sandbox {
    pub fn new() -> Outcome<Self> {
        let dir = std::env::temp_dir().join(format!("grid-peers-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    pub fn sub(&self, name: &str) -> Outcome<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

type Found = Outcome<Option<Box<dyn Peer>>>;
type Find = fn(&Sandbox) -> Found;

/// The peers that are wanted, with whether they are on this machine. Those that are no single command are up from here on.
pub fn find(sandbox: &Sandbox, wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, Found)> {
    let all: [(&str, Find); 8] = [
        ("xargs", crate::floor::find),
        ("grid", crate::grid::find),
        ("tsp", crate::spoolers::find_tsp),
        ("nq", crate::spoolers::find_nq),
        ("parallel", crate::parallel::find),
        ("hyperqueue", crate::hyperqueue::find),
        ("pueue", crate::pueue::find),
        ("slurm", crate::slurm::find),
    ];
    all.into_iter().filter(|(name, _)| wanted(name)).map(|(name, find)| (name, find(sandbox))).collect()
}

/// A program on PATH, or where `benches/setup` puts it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).chain([setup_dir().join("bin")]).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// Where `benches/setup` puts what no package has.
pub fn setup_dir() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    var("GRID_PEERS").or_else(|| Some(cache()?.join("grid-peers"))).unwrap_or_default()
}

/// Runs a command; what it said, or why it failed. Into a file, not a pipe: daemons keep what they inherit, and we would wait for them.
pub fn run(command: &mut Command) -> Outcome<String> {
    let (status, said, complained) = ended(command)?;
    if status.success() {
        return Ok(said);
    }
    Err(format!("{:?}: {status}: {}", command.get_program(), complained.trim()).into())
}

/// The same, however it ended.
pub fn ended(command: &mut Command) -> Outcome<(ExitStatus, String, String)> {
    let memory = |name: &str| rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).map(File::from);
    let (mut out, mut err) = (memory("out")?, memory("err")?);
    let status = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?).status()?;
    let read = |file: &mut File| -> Outcome<String> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok((status, read(&mut out)?, read(&mut err)?))
}

/// The same, for its stdout as text.
pub fn text(command: &mut Command) -> Outcome<String> {
    Ok(run(command)?.trim().to_owned())
}

/// The first line that a command prints.
pub fn first_line(command: &mut Command) -> String {
    text(command).ok().and_then(|said| said.lines().next().map(str::to_owned)).unwrap_or_default()
}

/// Memory of processes that is theirs alone plus their share of what is shared, in MiB.
pub fn pss(processes: &[u32]) -> f64 {
    let of = |pid: &u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    processes.iter().filter_map(of).sum::<f64>() / 1024.0
}

/// Processes whose command line has this text, and which are not we.
pub fn with_command_line(text: &str) -> Vec<u32> {
    let me = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != me && String::from_utf8_lossy(&line).replace('\0', " ").contains(text) {
            found.push(pid);
        }
    }
    found
}

/// Processes with this in their environment: what was started in a sandbox.
pub fn with_environment(text: &str) -> Vec<u32> {
    let me = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != me && has(Path::new(&format!("/proc/{pid}/environ")), text)).collect()
}

fn has(file: &Path, text: &str) -> bool {
    let content = fs::read(file).unwrap_or_default();
    content.windows(text.len().max(1)).any(|window| window == text.as_bytes())
}
