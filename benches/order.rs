//! In which order the functions of grid are laid into its file: those that a submit, a start and an end go through lie side by side.
//! A page of the program that is touched first costs microseconds, and a submit that has to start everything touched some 400.
//!
//! `cargo bench --bench order -- --write` writes `.cargo/order`, from which `.cargo/order-cc` makes what the linker is handed: without hashes,
//! so that a list outlives changes of the compiler and of dependencies. A copy of the program has a trap at
//! the beginning of each function; whoever steps on one is stopped, noted, and goes on without it. Without `--write` it only says how
//! many of those functions the list names.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench")]

use nix::errno::Errno;
use nix::sys::ptrace::{self, AddressType, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// With nothing up, with everything up, with a command that waits, with the host read anew; then all leave.
const SCENE: &str = "kill -STOP $$
grid submit -- true; grid wait last
grid submit -- true; grid wait last; grid submit -c 1 -J again -- true; grid wait all
grid run -- true; grid submit -a 1-20 -- true; grid wait last; grid show last; grid status
grid refresh; grid submit --mem 100M -- sleep 0.3; grid wait last; grid submit -H -- true; grid cancel last
grid dispatcher stop";

/// x86: one byte that traps.
const TRAP: u8 = 0xcc;

/// A function of the program.
struct Function {
    name: String,
    /// What stands where the trap is.
    begins_with: u8,
}

fn main() {
    if cfg!(not(target_arch = "x86_64")) {
        return println!("traps are known for x86 alone: .cargo/order stays as it is");
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = built(source);
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("grid");
    let functions = set_traps(&program, &copy);
    let home = dir.path().join("home");
    let founded = Command::new(&program).args(["run", "--", "true"]).env("GRID_HOME", &home).output().expect("grid");
    assert!(founded.status.success(), "{founded:?}");
    let left = Command::new(&program).args(["dispatcher", "stop"]).env("GRID_HOME", &home).status().expect("grid");
    assert!(left.success());
    let order = watch(&functions, dir.path(), &home);
    let list = source.join(".cargo/order");
    let listed = std::fs::read_to_string(&list).unwrap_or_default();
    let listed: HashSet<&str> = listed.lines().collect();
    let order = bare(source, &order);
    let named = order.iter().filter(|name| listed.contains(name.as_str())).count();
    println!("{} of {} functions are gone through; .cargo/order names {named} of them", order.len(), functions.len());
    if std::env::args().any(|word| word == "--write") {
        let text: String = order.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        let head =
            "# Written by `cargo bench --bench order -- --write`: what a submit, a start and an end go through.\n";
        std::fs::write(list, format!("{head}{text}")).expect(".cargo/order");
    }
}

/// The names as the list has them, each once.
fn bare(source: &Path, names: &[String]) -> Vec<String> {
    let mut awk = Command::new("awk");
    awk.arg("-f").arg(source.join(".cargo/order.awk")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut awk = awk.spawn().expect("awk");
    let mut input = awk.stdin.take().expect("stdin");
    let text = names.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let said = awk.wait_with_output().expect("awk");
    writer.join().expect("a thread").expect("awk reads all");
    let mut seen = HashSet::new();
    let said = String::from_utf8_lossy(&said.stdout);
    said.lines().filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

/// The release build of this source as it is shipped.
fn built(source: &Path) -> PathBuf {
    let built = Command::new(source.join(".ci/release")).env("GRID_ORDER_ANEW", "1").status().expect(".ci/release");
    assert!(built.success(), ".ci/release failed");
    let target = Path::new(env!("CARGO_BIN_EXE_grid")).parent().and_then(Path::parent).expect("a target directory");
    target.join("ship/grid")
}

/// Copies the program, with a trap at the beginning of each function. They are given by their addresses.
fn set_traps(program: &Path, copy: &Path) -> BTreeMap<u64, Function> {
    let mut bytes = std::fs::read(program).expect("the program");
    let (at, address, length) = code(&bytes);
    let symbols = Command::new("nm").arg("-S").arg(program).output().expect("nm, of binutils");
    let mut functions = BTreeMap::new();
    for line in String::from_utf8_lossy(&symbols.stdout).lines() {
        let mut words = line.splitn(4, ' ');
        let (Some(begin), Some(size), Some(kind), Some(name)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        let (begin, size) = (number(begin), number(size));
        if size > 0 && "tTwWi".contains(kind) && (address..address + length).contains(&begin) {
            let byte = &mut bytes[(begin - address + at) as usize];
            let begins_with = std::mem::replace(byte, TRAP);
            // Of several names for one place the first stays, with what really stands there.
            functions.entry(begin).or_insert(Function { name: name.to_owned(), begins_with });
        }
    }
    std::fs::write(copy, bytes).expect("a copy");
    std::fs::set_permissions(copy, PermissionsExt::from_mode(0o755)).expect("a program");
    functions
}

/// Where the code stands in the file, at which address it lies when it runs, and how long it is: elf(5), the segment that can be executed.
fn code(file: &[u8]) -> (u64, u64, u64) {
    let read = |at: usize, length: usize| {
        file[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (headers, size, count) = (read(32, 8) as usize, read(54, 2) as usize, read(56, 2) as usize);
    let segment = (0..count).map(|n| headers + n * size).find(|at| read(*at, 4) == 1 && read(at + 4, 4) & 1 == 1);
    let at = segment.expect("code");
    (read(at + 8, 8), read(at + 16, 8), read(at + 32, 8))
}

/// Plays the scene, follows all that it starts, and notes who steps on which trap first.
fn watch(functions: &BTreeMap<u64, Function>, dir: &Path, home: &Path) -> Vec<String> {
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap_or_default());
    let mut scene = Command::new("sh");
    scene.args(["-c", SCENE]).env("PATH", path).env("GRID_HOME", home).stdout(Stdio::null());
    let scene = Pid::from_raw(scene.spawn().expect("sh").id() as i32);
    let stopped = waitpid(scene, Some(WaitPidFlag::WUNTRACED)).expect("the scene");
    assert!(matches!(stopped, WaitStatus::Stopped(_, Signal::SIGSTOP)), "{stopped:?}");
    let follow = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(scene, follow).expect("ptrace");
    nix::sys::signal::kill(scene, Signal::SIGCONT).expect("the scene goes on");
    let (mut order, mut seen) = (Vec::new(), HashSet::new());
    loop {
        let (pid, signal) = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Err(Errno::ECHILD) => return order,
            Err(Errno::EINTR) => continue,
            Err(error) => panic!("waitpid: {error}"),
            Ok(WaitStatus::PtraceEvent(pid, ..)) => (pid, None),
            Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)) => match step_over(pid, functions) {
                Some((address, function)) => {
                    if seen.insert(address) {
                        order.push(function.name.clone());
                    }
                    (pid, None)
                }
                None => (pid, Some(Signal::SIGTRAP)),
            },
            Ok(WaitStatus::Stopped(pid, signal)) => (pid, Some(signal)),
            Ok(_) => continue,
        };
        // One that was shot meanwhile is waited for in the next round.
        let _ = ptrace::cont(pid, signal);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn step_over(_: Pid, _: &BTreeMap<u64, Function>) -> Option<(u64, &Function)> {
    None
}

/// Takes away the trap on which a process stands. None: it stands on none of ours.
#[cfg(target_arch = "x86_64")]
fn step_over(pid: Pid, functions: &BTreeMap<u64, Function>) -> Option<(u64, &Function)> {
    let mut registers = ptrace::getregs(pid).ok()?;
    let address = registers.rip - 1;
    let function = functions.get(&address)?;
    let place = address as AddressType;
    let word = ptrace::read(pid, place).ok()?;
    ptrace::write(pid, place, word & !0xff | i64::from(function.begins_with)).ok()?;
    registers.rip = address;
    ptrace::setregs(pid, registers).ok()?;
    Some((address, function))
}
