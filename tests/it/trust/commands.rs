//! Every message to a dispatcher with random and extreme values in every field, and bytes that are no message: they cost that connection
//! at most.

use crate::support::lies::{self, Lie, encoded, framed};
use crate::support::process::HANG;
use crate::support::{Grid, process};
use grid::model::attempt::Stream;
use grid::model::command::Command;
use grid::model::id::{Index, ServerId, TaskId, TaskUuid};
use grid::model::ssh::Login;
use grid::model::ssh_command::SshCommand;
use grid::model::task::ClientFacts;
use grid::ops::draft::Draft;
use grid::ops::submit::SubmitRequest;
use grid::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use grid::protocol::distributor::Question;
use grid::protocol::frame;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::time::Duration;

/// Connects as any process of the user can, and is greeted.
fn connect(grid: &Grid) -> UnixStream {
    let mut stream = UnixStream::connect(grid.home().join("run/dispatcher.sock")).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.set_write_timeout(Some(HANG)).unwrap();
    assert!(matches!(hear(&mut stream), Some(FromDispatcher::Hello { .. })));
    stream
}

/// The next word; None where the connection has ended.
fn hear(stream: &mut UnixStream) -> Option<FromDispatcher> {
    match frame::read(stream) {
        Ok(message) => message,
        Err(frame::FrameError::Io(error)) => {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the dispatcher stands still");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The account of whoever runs this.
static ACCOUNT: LazyLock<String> = LazyLock::new(|| {
    let said = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(said).unwrap().trim().to_owned()
});

/// A submit with something in every field.
fn sheet() -> SubmitRequest {
    let mut draft = Draft::new(Command::new(vec!["true".into(), "x".into()]).unwrap(), "/".into());
    draft.name = Some("rich".into());
    draft.cpus = Some(1);
    draft.time_limit = Some(Duration::from_secs(60));
    draft.constraint = Some("server.cpus > 0".into());
    draft.prefer = Some("server.power".into());
    draft.home = Some("/".into());
    draft.env.0 = vec![("A".into(), "b".into())];
    draft.stdout = Some("/dev/null".into());
    draft.stdin = Some(b"in".to_vec());
    draft.priority = Some(-1);
    draft.retries = Some(1);
    draft.lost_after = Some(Duration::from_secs(60));
    let me = ACCOUNT.clone();
    let client = ClientFacts { host: "desk".into(), user: me.clone(), os: "linux".into(), arch: "x86_64".into() };
    let (me, uuid) = (me.parse().unwrap(), TaskUuid::new());
    SubmitRequest { uuid, me, client, draft, open: false, remark: None }
}

/// An order in which one value is a lie; a value that JSON can't hold leaves it true.
fn lying_submit(lie: Lie) -> Vec<u8> {
    let order = serde_json::to_value(sheet()).unwrap();
    let lied = lies::with(&encoded(&order), lie);
    let lied: serde_json::Value = rmp_serde::from_slice(&lied).unwrap_or(order);
    serde_json::to_vec(&lied).unwrap()
}

/// Every message.
fn messages(task: TaskId, lie: Lie) -> Vec<ToDispatcher> {
    let (index, stream, ticket) = (Index(0), Stream::Out, 7);
    let owner = grid::model::id::HomeId(TaskUuid::new().0);
    let question = Question::States { owner, user: None, uuids: vec![TaskUuid::new()] };
    let login = Login { command: Some(SshCommand("false".into())), auth_sock: Some("/run/agent".into()) };
    vec![
        ToDispatcher::Wake,
        ToDispatcher::Status,
        ToDispatcher::Leave,
        ToDispatcher::Watch { task, index: Some(index) },
        ToDispatcher::Follow { task, index, out: 0, err: 0 },
        ToDispatcher::Read { task, index, number: 1, stream, offset: 0, max: 10 },
        ToDispatcher::Probe { server: ServerId(1) },
        ToDispatcher::Clear { server: ServerId(9) },
        ToDispatcher::Discard,
        ToDispatcher::Login(login),
        ToDispatcher::Submit(lying_submit(lie)),
        ToDispatcher::Ask { ticket, endpoint: "/nowhere".parse().unwrap(), question: question.clone(), soon: true },
        ToDispatcher::Ask { ticket, endpoint: "ssh:nowhere".parse().unwrap(), question, soon: false },
        ToDispatcher::Piece { ticket, bytes: b"x".to_vec() },
        ToDispatcher::Taken { ticket, bytes: 1 },
        ToDispatcher::Cancel { task, index: Some(index), grace: Duration::from_secs(1) },
        ToDispatcher::Bring { task, index },
    ]
}

/// Tells one lie, and asks something behind it: that is answered, or the connection has ended. What is no frame may be the
/// beginning of one: its connection is given back, and stays open.
fn tell(grid: &Grid, task: TaskId, lie: Lie) -> Option<UnixStream> {
    let mut stream = connect(grid);
    let status = framed(&encoded(&ToDispatcher::Status));
    if lie.message.is_multiple_of(8) {
        let _ = stream.write_all(&lies::garbage(lie));
        return Some(stream);
    }
    let messages = messages(task, lie);
    let message = &messages[lie.message / 8 % messages.len()];
    let body = encoded(message);
    // Half of the orders are lies within, and whole outside.
    let whole = matches!(message, ToDispatcher::Submit(_)) && lie.message.is_multiple_of(2);
    let wire = framed(&if whole { body } else { lies::with(&body, lie) });
    if stream.write_all(&[wire, status].concat()).is_ok() {
        while hear(&mut stream).is_some_and(|word| !matches!(word, FromDispatcher::Status { .. })) {}
    }
    None
}

#[test]
fn lies_to_a_dispatcher_cost_their_connection_alone() {
    let mut grid = Grid::new();
    grid.set_env("GRID_SSH_COMMAND", "false");
    let waits = grid.fifo("waits");
    let mine = grid.submit(["--", "true"]);
    grid.grid(["wait", &mine]).ok();
    let runs = grid.submit(["--", "sh", "-c", &format!("read line <{}", waits.display())]);
    grid.until_state(&runs, "RUNNING");
    let dispatcher = grid.dispatcher();
    let task = TaskId(mine.parse().unwrap());
    let mut told = 0_usize;
    let mut open = std::collections::VecDeque::new();
    lies::tell_each(300, |lie| {
        open.extend(tell(&grid, task, lie));
        if open.len() > 40 {
            open.pop_front();
        }
        told += 1;
        if told.is_multiple_of(50) {
            let id = grid.submit(["--", "true"]);
            grid.grid(["wait", &id]).expect(0);
            assert_eq!(grid.dispatcher(), dispatcher, "the dispatcher lives");
        }
    });
    std::fs::write(&waits, "go\n").unwrap();
    grid.grid(["wait", &runs]).expect(0);
    assert_eq!(grid.dispatcher(), dispatcher, "the dispatcher lives");
    drop(open);
    let checks = grid.grid(["doctor", "--json"]).json();
    for check in checks.as_array().unwrap() {
        let home_s = ["database", "dispatcher", "taken", "rows"].iter().any(|what| check["what"] == *what);
        assert!(!home_s || check["result"] == "ok", "{check}");
    }
    let rows = grid.sql("select id from task_view");
    for row in rows.iter().rev().take(20) {
        grid.grid(["show", &row["id"].to_string(), "--json"]).json();
    }
}

#[test]
fn caller_that_never_reads_is_dropped_and_holds_nobody_up() {
    let grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    let dispatcher = grid.dispatcher();
    let mut deaf = connect(&grid);
    let asks = framed(&encoded(&ToDispatcher::Status)).repeat(10_000);
    let talk = std::thread::spawn(move || while deaf.write_all(&asks).is_ok() {});
    grid.grid(["run", "--", "true"]).expect(0);
    process::until("it is dropped", || talk.is_finished());
    talk.join().unwrap();
    grid.grid(["run", "--", "true"]).expect(0);
    assert_eq!(grid.dispatcher(), dispatcher, "the dispatcher lives");
}
