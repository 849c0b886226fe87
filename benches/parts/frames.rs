//! Messages: there and back within a process, and over a socket to another thread.

use crate::counted::counted;
use crate::world;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use grid::model::attempt::{Cause, End, Usage};
use grid::model::id::{AttemptId, BootId, Epoch, Index, LaneId, TaskUuid};
use grid::model::resources::Bytes;
use grid::model::time::Timestamp;
use grid::protocol::agent::{Ended, Event, FromAgent, Start, StartMember, ToAgent};
use grid::protocol::frame::{self, Inbox, Outbox};
use std::os::unix::net::UnixStream;

/// The start of so many members in one lane.
fn start(members: u32) -> ToAgent {
    let task = TaskUuid::new();
    let member = |index| StartMember {
        attempt: AttemptId { task, index: Index(index), number: 1 },
        array_index: Some(index),
        entry: None,
        directory: None,
    };
    let pairs = [("GRID_TASK_ID", "1234"), ("GRID_CPUS", "1"), ("GRID_SERVER", "n1"), ("GRID_SUBMIT_DIR", "/")];
    ToAgent::Start(Start {
        lane: LaneId(7),
        boot: BootId("0b5a7d0e-8f1d-4a0c-9a7e-1a2b3c4d5e6f".into()),
        epoch: Epoch(3),
        launch: world::launch(),
        mem_limit: None,
        grid_env: pairs.map(|(name, value)| (name.into(), value.into())).to_vec(),
        prologue: None,
        features: Vec::new(),
        inherited: None,
        members: (1..=members).map(member).collect(),
    })
}

/// The ends of so many members, with their output.
fn ends(members: u32) -> FromAgent {
    let task = TaskUuid::new();
    let now = Timestamp::now();
    let usage = Usage { cpu_ms: 2, max_rss: Bytes(3 << 20) };
    let end = End {
        cause: Cause::Exited { code: 0 },
        started_at: Some(now),
        ended_at: now,
        usage,
        out_len: 6,
        err_len: 0,
        cut: None,
        without: Vec::new(),
    };
    let event = |index| Event::Ended {
        attempt: AttemptId { task, index: Index(index), number: 1 },
        ended: Ended { end: end.clone(), out: Some(b"hello\n".to_vec()), err: Some(Vec::new()) },
    };
    FromAgent::Events((1..=members).map(event).collect())
}

#[divan::bench(args = [1, 128])]
fn start_encode_decode(bencher: Bencher, members: u32) {
    let message = start(members);
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        counted(|| {
            let mut wire = Vec::new();
            frame::encode(black_box(&message), &mut wire).expect("a frame");
            frame::read::<ToAgent>(&mut &wire[..]).expect("a message")
        })
    });
}

#[divan::bench(args = [1, 128])]
fn ends_encode_decode(bencher: Bencher, members: u32) {
    let message = ends(members);
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        counted(|| {
            let mut wire = Vec::new();
            frame::encode(black_box(&message), &mut wire).expect("a frame");
            frame::read::<FromAgent>(&mut &wire[..]).expect("a message")
        })
    });
}

/// A start goes out, its end comes back: as dispatcher and agent do it, by inbox and outbox over a socket.
#[divan::bench(args = [1, 128])]
fn round_trip(bencher: Bencher, members: u32) {
    let (mut ours, mut theirs) = UnixStream::pair().expect("a socket");
    let answer = ends(members);
    let agent = std::thread::spawn(move || {
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        while inbox.fill(&mut theirs).is_ok_and(|read| read != Some(0)) {
            while let Some(ToAgent::Start(start)) = inbox.next().expect("a message") {
                black_box(start);
                outbox.push(&answer).expect("a frame");
                outbox.flush(&mut theirs).expect("the socket");
            }
        }
    });
    let message = start(members);
    let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        outbox.push(black_box(&message)).expect("a frame");
        outbox.flush(&mut ours).expect("the socket");
        loop {
            if let Some(answer) = inbox.next::<FromAgent>().expect("a message") {
                return answer;
            }
            inbox.fill(&mut ours).expect("the socket");
        }
    });
    drop(ours);
    agent.join().expect("the other side");
}
