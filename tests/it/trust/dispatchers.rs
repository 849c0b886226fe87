//! Commands that meet something else than their dispatcher at its socket: they go on with a true one, or say what is wrong.

use crate::support::lies::{self, Lie, encoded, framed};
use crate::support::process::{self, HANG};
use crate::support::{Done, Grid};
use grid::model::attempt::Stream;
use grid::model::id::{Index, ServerId, TaskId};
use grid::protocol::agent::Clearing;
use grid::protocol::dispatcher::{FromDispatcher, VERSION};
use grid::protocol::distributor::Answer;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

fn hello() -> FromDispatcher {
    FromDispatcher::Hello { version: VERSION, pid: std::process::id().cast_signed() }
}

/// Every message but the first.
fn messages(task: TaskId) -> Vec<FromDispatcher> {
    let (index, stream, server, ticket) = (Index(0), Stream::Out, ServerId(2), 1);
    let data = |at_end| FromDispatcher::Data {
        task,
        index,
        number: 1,
        stream,
        offset: 0,
        left_out: 0,
        bytes: b"x".to_vec(),
        at_end,
    };
    vec![
        FromDispatcher::Status { pid: 1, epoch: 1, links: 1, lanes: 1, running: 1, ssh: Some("s".into()) },
        FromDispatcher::Ended { task, index: None, code: Some(3) },
        FromDispatcher::Ended { task, index: Some(index), code: None },
        data(false),
        data(true),
        FromDispatcher::Probed { server, error: Some("e".into()) },
        FromDispatcher::Done { answer: Some(br#"{"id":"7"}"#.to_vec()) },
        FromDispatcher::Said { ticket, answer: Answer::Done, last: true },
        FromDispatcher::Unsaid { ticket, heard: true, why: "w".into(), late: false },
        FromDispatcher::Cleared { server, result: Ok(Clearing { bytes: 1, left: vec!["l".into()] }) },
        FromDispatcher::CancelTaken,
        FromDispatcher::Brought { task, index },
    ]
}

/// What each connection is sent: a greeting and a message, one of them a lie.
fn lying(task: TaskId, lie: Lie) -> [Vec<u8>; 2] {
    let hello = encoded(&hello());
    let first = if lie.message.is_multiple_of(8) { lies::with(&hello, lie) } else { hello };
    let messages = messages(task);
    let message = &messages[lie.message / 8 % messages.len()];
    let word = match lie.message % 8 {
        1 => lies::garbage(lie),
        _ => framed(&lies::with(&encoded(message), lie)),
    };
    [framed(&first), word]
}

/// Something at the socket of a home: it says this to whoever connects first, and leaves.
fn pose(grid: &Grid, [hello, word]: [Vec<u8>; 2]) -> JoinHandle<()> {
    let run = grid.home().join("run");
    let lock = File::options().write(true).open(run.join("dispatcher.lock")).unwrap();
    lock.lock().unwrap();
    let socket = run.join("dispatcher.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        // Who has gone again has seen enough.
        let _ = stream.write_all(&hello);
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&word);
        std::fs::remove_file(&socket).unwrap();
        drop(lock);
        // Closed with something unread, what was written would be lost.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// It ended by itself, and where it failed it says why.
fn is_told(done: &Done, lie: Lie) {
    let (code, err) = (done.status.code(), String::from_utf8_lossy(&done.err));
    assert!(code.is_some_and(|code| code != 101), "{lie:?}: {}: {err}", done.line);
    assert!(!err.contains("panicked"), "{lie:?}: {}: {err}", done.line);
    assert!(code == Some(0) || !err.is_empty() || !done.out.is_empty(), "{lie:?}: {} says nothing", done.line);
}

#[test]
fn lies_of_a_dispatcher_are_no_more_than_an_error_to_its_command() {
    let mut grid = Grid::new();
    grid.set_env("GRID_SSH_COMMAND", "false");
    grid.grid(["server", "add", "far", "--ssh", "nowhere"]).ok();
    grid.grid(["config", "set", "output_limit", "20K"]).ok();
    let long = grid.submit(["-w", "local", "--", "sh", "-c", "head -c 30000 /dev/zero"]);
    grid.grid(["wait", &long]).ok();
    let fifo = grid.fifo("waits");
    let runs = grid.submit(["-w", "local", "--", "sh", "-c", &format!("echo begun; read line <{}", fifo.display())]);
    grid.until_state(&runs, "RUNNING");
    let lines: [&[&str]; 9] = [
        &["submit", "-w", "local", "--", "true"],
        &["run", "-w", "local", "--", "true"],
        &["submit", "--", "true"],
        &["dispatcher", "status"],
        &["dispatcher", "start"],
        &["server", "refresh", "far"],
        &["logs", &long],
        &["run", "--", "echo", "x"],
        &["dispatcher", "stop"],
    ];
    let mut at = 0_usize;
    lies::tell_each(36, |lie| {
        grid.grid(["dispatcher", "stop"]).ok();
        let liar = pose(&grid, lying(TaskId(runs.parse().unwrap()), lie));
        let done = process::run(&mut grid.typed(lines[at % lines.len()]));
        at += 1;
        is_told(&done, lie);
        liar.join().unwrap();
    });
    // Who waits for a task is told whom it waits with.
    grid.grid(["dispatcher", "stop"]).ok();
    let liar = pose(&grid, [framed(&encoded(&hello())), framed(&[0xc1; 9])]);
    let told = grid.grid(["wait", &runs]).expect(125).err();
    liar.join().unwrap();
    assert!(
        told.contains("no dispatcher of this grid") && told.contains(&format!("kill {}", std::process::id())),
        "{told}"
    );
    std::fs::write(&fifo, "go\n").unwrap();
    grid.grid(["wait", &runs]).expect(0);
    grid.grid(["run", "-w", "local", "--", "true"]).expect(0);
}
