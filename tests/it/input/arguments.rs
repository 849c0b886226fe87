//! Arguments of any bytes arrive as they were given, or are refused before anything is queued.

use super::Kept;
use crate::support::Grid;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The longest argument that Linux executes.
const LONGEST: usize = 128 * 1024 - 1;

fn odd() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        ["", " ", "a b", "new\nline", "tab\t", "it's", "quo\"te", "back\\slash", "$HOME", "`id`", "$(id)"]
            .iter()
            .chain(&["*", "~", "#", "{}", "{0}", "%s", "-n", "--", "é", "\u{202e}x", "\u{1b}[31m", "\r", "'; exit 9 #"])
            .map(|text| text.as_bytes().to_vec())
            .collect();
    all.push(b"\xff\xfe\x80".to_vec());
    all.push((1..=255).collect());
    all
}

fn nul_joined(all: &[Vec<u8>]) -> Vec<u8> {
    all.iter().flat_map(|part| part.iter().copied().chain([0])).collect()
}

#[test]
fn any_bytes_arrive_as_given() {
    let grid = Grid::new();
    let bash = grid.sh("command -v bash").code() == 0;
    // What is shown is shortened after 1,000 characters, hence in parts.
    for arguments in odd().chunks(8) {
        let mut line: Vec<OsString> = ["run", "--", "printf", r"%s\0"].map(OsString::from).to_vec();
        line.extend(arguments.iter().cloned().map(OsString::from_vec));
        let done = grid.grid(&line).expect(0);
        assert_eq!(done.out, nul_joined(arguments));
        // They stand in one line, also on a terminal, and what is shown can be pasted into a shell.
        let shown = grid.show("last")["command"].as_str().unwrap().to_owned();
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        if bash {
            let pasted = crate::support::process::run(grid.command("bash").args(["-c", &shown]));
            assert_eq!(pasted.out, done.out, "{pasted:?}");
        }
    }
    for listing in [&["status"][..], &["show", "last"], &["explain", "last"]] {
        let told = grid.grid(listing).ok();
        assert!(!told.contains(['\u{1b}', '\r', '\u{202e}']), "{listing:?}: {told:?}");
    }
}

#[test]
fn environment_directory_and_files_may_be_odd_too() {
    let grid = Grid::new();
    let name = OsStr::from_bytes(b"odd \xff\n'dir");
    std::fs::create_dir(grid.work().join(name)).unwrap();
    let value = OsString::from_vec([b"A=".as_slice(), b"x\n\xff'"].concat());
    let mut command = grid.typed(["run", "--cwd"]);
    command.arg(name).arg("--env").arg(&value).args([
        "-o",
        "out\nfile",
        "--",
        "sh",
        "-c",
        r#"printf %s "$A"; pwd -P >&2"#,
    ]);
    let done = crate::support::process::run(&mut command).expect(0);
    assert_eq!(std::fs::read(grid.work().join(name).join("out\nfile")).unwrap(), b"x\n\xff'");
    assert!(done.err.windows(name.len()).any(|w| w == name.as_bytes()), "{done:?}");
}

#[test]
fn the_longest_argument_runs_and_a_longer_one_never_reaches_grid() {
    let kept = Kept::new();
    let longest = "x".repeat(LONGEST);
    let dry = kept.grid.grid(["submit", "-n", "--", "true", &longest]);
    dry.expect(0);
    // The system itself refuses to start grid with more.
    let longer = "x".repeat(LONGEST + 1);
    assert!(kept.grid.typed(["submit", "--", "true", &longer]).spawn().is_err());
    // Many arguments together.
    let part = "x".repeat(100_000);
    let line = ["submit", "--", "true"].into_iter().chain(std::iter::repeat_n(part.as_str(), 12));
    kept.refuses(line, 2, &["bytes together", "in a file or with --stdin"]);
}

#[test]
fn the_longest_argument_arrives_whole() {
    let grid = Grid::new();
    let longest = "x".repeat(LONGEST);
    assert_eq!(grid.grid(["run", "--", "sh", "-c", "printf %s \"$1\"", "sh", &longest]).ok(), longest);
    assert_eq!(grid.grid(["run", "--", "sh", "-c", "echo ${#1}", "sh", &longest]).ok(), LONGEST.to_string());
}

#[test]
fn lines_of_any_bytes_are_members_and_nul_is_refused() {
    let kept = Kept::new();
    let submit = |bytes: &[u8]| kept.grid.grid_with(bytes, ["submit", "--each-line", "-", "--", "echo", "{}"]);
    submit(b"one\nt\0wo\n").expect(2).says(&["line 2", "NUL"]);
    submit(b"").expect(2).says(&["no lines"]);
    let long = [b"short\n".as_slice(), &vec![b'x'; LONGEST]].concat();
    submit(&long).expect(2).says(&["line 2 is 131071 bytes long", "at most 131060"]);
    let half = vec![b'x'; LONGEST / 2 + 10];
    let line = ["submit", "--each-line", "-", "--", "echo", "{}{}"];
    kept.grid.grid_with(&half, line).expect(2).says(&["line 1"]);
}

#[test]
fn lines_of_any_bytes_run() {
    let grid = Grid::new();
    let lines = odd().into_iter().filter(|line| !line.contains(&b'\n')).collect::<Vec<_>>();
    let longest = vec![b'y'; LONGEST - "GRID_ENTRY=".len()];
    let text =
        lines.iter().chain([&longest]).fold(Vec::new(), |text, line| [text, line.clone(), b"\n".to_vec()].concat());
    let id = grid
        .grid_with(
            &text,
            [
                "submit",
                "--parsable",
                "--each-line",
                "-",
                "--",
                "sh",
                "-c",
                r#"printf '%s\0%s\0' "$1" "$GRID_ENTRY""#,
                "sh",
                "{}",
            ],
        )
        .ok();
    grid.grid(["wait", &id]).ok();
    let wanted: Vec<u8> =
        lines.iter().chain([&longest]).flat_map(|line| nul_joined(&[line.clone(), line.clone()])).collect();
    assert!(grid.grid(["logs", &id]).expect(0).out == wanted, "a line arrived otherwise");
}

#[test]
fn no_command_is_wrong_usage() {
    let kept = Kept::new();
    for line in [&["submit"][..], &["submit", "--"], &["run"], &["submit", "--", ""], &["submit", "-c", "--", "true"]] {
        kept.refuses(line, 2, &[]);
    }
    kept.refuses(["submit", "--shell", "true", "--", "false"], 2, &["--shell"]);
    kept.refuses(["submit", "--each-line", "/etc/passwd", "--shell", "echo {}"], 2, &["--shell", "$GRID_ENTRY"]);
}

#[test]
fn submit_from_a_removed_directory_is_refused() {
    let grid = Grid::new();
    // Before the submit: nothing is queued.
    let done = grid.sh("mkdir gone; cd gone; rmdir ../gone; grid submit -- true");
    done.expect(2).says(&["this directory is gone", "--cwd"]);
    assert_eq!(grid.tasks(), 0);
    grid.sh("mkdir gone; cd gone; rmdir ../gone; grid run --cwd / -- pwd").expect(0);
    assert_eq!(grid.sh("mkdir gone; cd gone; rmdir ../gone; grid status").code(), 0, "a listing needs no directory");
    // After it: the task ends with the reason, and is not lost.
    let id = grid.sh("mkdir gone; cd gone; grid submit -H --parsable -- true; rmdir ../gone").ok();
    grid.grid(["release", &id]).ok();
    grid.grid(["wait", &id]).expect(125);
    let shown = grid.show(&id);
    assert_eq!(shown["state"], "FAILED");
    assert!(shown["attempts"][0]["detail"].as_str().unwrap().contains("/gone on local"), "{shown}");
    grid.sh("mkdir gone").ok();
    grid.grid(["retry", &id]).ok();
    grid.grid(["wait", &id]).ok();
    grid.grid(["run", "--cwd", "/etc/passwd", "--", "true"]).expect(125).says(&["/etc/passwd", "--cwd"]);
    grid.grid(["run", "-o", "/no/such/place", "--", "true"]).expect(125).says(&["/no/such/place"]);
}
