//! Every message to an agent with random and extreme values in every field: it costs that link at most. Another home's task on the same
//! host goes on, and what the liar left in the spool can be read.

use crate::driver::*;
use crate::lies::{self, Lie, encoded, framed};
use grid::model::command::{Environment, Text};
use grid::model::files::{Digest, Fetch, RelPath, Sent, Workplace};
use grid::model::id::{AttemptId, Epoch, HomeId, LaneId, TaskUuid};
use grid::model::max_output::MaxOutput;
use grid::model::resources::Bytes;
use grid::model::task::Launch;
use grid::protocol::agent::{Event, FromAgent, HeldState, Refusal, Start, StartMember, ToAgent};
use std::path::Path;
use std::time::Duration;

/// A home whose dispatcher lies.
struct Liar {
    home: Home,
    /// Ended and running attempts of it.
    known: [AttemptId; 2],
    agent: Option<Agent>,
    /// Links that it has cost.
    links: usize,
}

impl Liar {
    /// In the spool of another home.
    fn beside(other: &Home) -> Self {
        let home = Home { spool: other.spool.clone(), quiet: true, ..Home::new() };
        let mut agent = home.agent();
        let ended = agent.start(1, sh("echo out; echo err >&2"));
        agent.end(ended);
        let running = agent.start(2, sh("exec sleep 1000"));
        agent.began(running);
        Self { home, known: [ended, running], agent: Some(agent), links: 0 }
    }

    /// Tells one lie, and asks something behind it: that is answered, or the link has ended.
    fn tell(&mut self, lie: Lie) {
        if lie.message.is_multiple_of(20) {
            return self.tell_first(&framed(&lies::with(&encoded(&self.home.hello()), lie)));
        }
        let mut agent = self.agent.take().unwrap_or_else(|| self.home.agent());
        let wire = if lie.message % 20 == 1 {
            lies::garbage(lie)
        } else {
            let messages = messages(&agent, self.known, &self.home.path("."));
            let message = &messages[lie.message / 20 % messages.len()];
            framed(&lies::with(&encoded(message), lie))
        };
        let after = attempt();
        let ask = ToAgent::Read { attempt: after, stream: grid::model::attempt::Stream::Out, offset: 0, max: 1 };
        let mut said = agent.say(&wire) && agent.try_tell(&ask);
        if lie.message % 20 == 1 {
            // What is cut off in the middle of a frame waits for the rest of it.
            return self.lost(agent);
        }
        while said {
            match agent.message() {
                Some(FromAgent::Data { attempt, .. }) if attempt == after => return self.agent = Some(agent),
                Some(message) => is_no_crash(&message),
                None => said = false,
            }
        }
        self.lost(agent);
    }

    /// A lie in the first message. An epoch beyond all others is the spool's from then on, so another home lies on.
    fn tell_first(&mut self, hello: &[u8]) {
        if let Some(agent) = self.agent.take() {
            agent.leave();
        }
        let mut agent = self.home.spawn();
        agent.say(hello);
        self.lost(agent);
        self.can_be_read();
        *self = Self { links: self.links, ..Self::beside(&self.home) };
    }

    /// It was shown the door: the agent left, and did not crash.
    fn lost(&mut self, agent: Agent) {
        self.links += 1;
        let status = agent.status();
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    }

    /// Whatever was said last to its agent, the next one finds all that it left.
    fn can_be_read(&self) {
        let newest = Home {
            spool: self.home.spool.clone(),
            id: self.home.id,
            epoch: Epoch(i64::MAX as u64),
            incarnation: i64::MAX as u64,
            ..Home::new()
        };
        let mut agent = newest.agent();
        for attempt in agent.inventory.iter().map(|held| held.attempt).collect::<Vec<_>>() {
            agent.cancel(attempt, Duration::ZERO);
        }
        agent.leave();
    }
}

/// Every message.
fn messages(agent: &Agent, [ended, running]: [AttemptId; 2], dir: &Path) -> Vec<ToAgent> {
    let bundle = Digest([7; 32]);
    let text = |path: &str| Text::from(dir.join(path).into_os_string());
    let one =
        |member: StartMember| Start { mem_limit: Some(Bytes(1 << 30)), ..agent.order(3, rich(dir), vec![member]) };
    let mut first = one(StartMember { array_index: Some(3), entry: Some("one".into()), ..member(attempt()) });
    first.grid_env = vec![("GRID_CPUS".into(), "1".into())];
    first.prologue = Some("X=1".into());
    first.features = vec!["max-output".into()];
    let mut own = one(StartMember { directory: Some(text("none")), ..member(attempt()) });
    own.launch.workplace = Workplace::Own(Sent { bundle, size: 10, files: 1, below: RelPath::default() });
    let again = one(member(running));
    let launch = Launch { stdin: None, ..first.launch.clone() };
    vec![
        ToAgent::Start(first),
        ToAgent::Start(own),
        ToAgent::Start(again),
        ToAgent::Recall { lane: LaneId(3) },
        ToAgent::Cancel { attempt: ended, grace: Duration::from_secs(1) },
        ToAgent::Cancel { attempt: running, grace: Duration::from_secs(1000) },
        ToAgent::Cancel { attempt: attempt(), grace: Duration::ZERO },
        ToAgent::Confirm { attempts: vec![attempt(), running] },
        ToAgent::Probe { watch: vec!["sh".into()], script: Some("echo a=1".into()), prologues: vec!["X=1".into()] },
        ToAgent::Read { attempt: ended, stream: grid::model::attempt::Stream::Out, offset: 1, max: 2 },
        ToAgent::Link { attempt: ended, stream: grid::model::attempt::Stream::Out, to: "/dev/null/out".into() },
        ToAgent::Follow { attempt: running, out: 0, err: 0 },
        ToAgent::Follow { attempt: ended, out: 1, err: 1 },
        ToAgent::Unfollow { attempt: running },
        ToAgent::Piece { bundle, offset: 0, bytes: b"x".to_vec() },
        ToAgent::NoBundle { bundle, error: "gone".into() },
        ToAgent::Pack { attempt: ended, launch },
        ToAgent::ReadPacked { attempt: ended, offset: 0, max: 10 },
        ToAgent::DropFiles { attempt: attempt() },
        ToAgent::Clear,
        ToAgent::Hello { version_min: 1, version: 1, home: HomeId(TaskUuid::new().0), incarnation: 1, epoch: Epoch(1) },
    ]
}

/// A launch with something in every field.
fn rich(dir: &Path) -> Launch {
    let text = |path: &str| Text::from(dir.join(path).into_os_string());
    let pattern = RelPath::new(Path::new("out*")).unwrap();
    Launch {
        cwd: text("."),
        home: Some(text("home")),
        env: Environment(vec![("A".into(), "b".into())]),
        time_limit: Some(Duration::from_secs(60)),
        max_output: Some(MaxOutput::DEFAULT),
        stdout: Some(text("stdout")),
        stderr: Some(text("stderr")),
        stdin: Some(b"in".to_vec()),
        fetch: Some(Fetch { patterns: vec![pattern], changed: false, into: text("into") }),
        ..launch(&["true", "{}"])
    }
}

/// No supervisor has ended otherwise than by leaving.
fn is_no_crash(message: &FromAgent) {
    let FromAgent::Events(events) = message else { return };
    for event in events {
        assert!(!matches!(event, Event::Refused { why: Refusal::Supervisor { .. }, .. }), "{event:?}");
    }
}

#[test]
fn malformed_message_closes_only_the_link_it_came_by() {
    let honest = Home::new();
    let mut agent = honest.agent();
    let fifo = honest.path("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let long = agent.start(1, sh(&format!("read line <{}; echo \"$line\"", fifo.display())));
    agent.began(long);
    let mut liar = Liar::beside(&honest);
    let mut told = 0_usize;
    lies::tell_each(200, |lie| {
        liar.tell(lie);
        told += 1;
        if told.is_multiple_of(25) {
            let meanwhile = agent.start(2, sh("echo meanwhile"));
            assert_eq!(out(&agent.end(meanwhile)), "meanwhile\n", "the other home's tasks go on");
        }
    });
    if let Some(agent) = liar.agent.take() {
        agent.leave();
    }
    liar.can_be_read();
    assert!((10..told).contains(&liar.links), "{} links were lost", liar.links);
    // The next agent of the other home finds its task, and reports it.
    agent.leave();
    let mut agent = honest.agent();
    assert!(matches!(agent.held(long), Some(HeldState::Running { supervised: true, .. })));
    std::fs::write(&fifo, "done\n").unwrap();
    let ended = agent.end(long);
    assert_eq!((exited(&ended), out(&ended)), (0, "done\n"));
}

#[test]
fn start_that_no_hello_could_report_is_refused() {
    let home = Home { quiet: true, ..Home::new() };
    let mut agent = home.agent();
    let id = AttemptId { number: u32::MAX, ..attempt() };
    let order = agent.order(1, sh("exec sleep 1000"), vec![member(id)]);
    agent.tell(&ToAgent::Start(order));
    assert!(agent.message().is_none(), "the link ends");
    assert!(home.agent().inventory.is_empty());
}
