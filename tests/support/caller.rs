//! Whoever speaks to `grid serve`, good or bad: one connection, message by message.

use super::process;
use grid::model::id::HomeId;
use grid::protocol::distributor::{Answer, FromServe, MAGIC, Question, ToServe, VERSION};
use grid::protocol::envelope::Envelope;
use grid::protocol::frame;
use std::io::Read;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One connection to a home.
pub struct Caller {
    child: Child,
    pub say: ChildStdin,
    hear: ChildStdout,
}

/// The id of a home that nobody has heard of.
pub fn stranger() -> HomeId {
    HomeId(uuid::Uuid::now_v7())
}

impl Caller {
    /// Waits for the first word of what was started, and says nothing yet.
    pub fn knock(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("grid serve");
        let (say, mut hear) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut magic = vec![0; MAGIC.len()];
        hear.read_exact(&mut magic).expect("its first word");
        assert_eq!(magic, MAGIC);
        Self { child, say, hear }
    }

    /// The same as this home, greeted.
    pub fn greeted(command: &mut Command, home: HomeId) -> Self {
        Self::greeted_in(VERSION, command, home)
    }

    /// The same by a program that speaks this version.
    pub fn greeted_in(version: u32, command: &mut Command, home: HomeId) -> Self {
        let mut caller = Self::knock(command);
        let hello = ToServe::Hello { version_min: 1, version, home, incarnation: 1 };
        frame::write(&mut caller.say, &hello).expect("a hello");
        assert!(matches!(caller.hear(), Some(FromServe::Hello { .. })));
        caller
    }

    pub fn hear(&mut self) -> Option<FromServe> {
        frame::read(&mut self.hear).expect("a message")
    }

    pub fn ask(&mut self, question: Question) -> Answer {
        frame::write(&mut self.say, &ToServe::Ask { ticket: 7, question }).expect("a question");
        loop {
            match self.hear().expect("an answer") {
                FromServe::Answer { ticket: 7, answer, last: true } => return answer,
                FromServe::Answer { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// To whom a first tier redirects this.
    pub fn redirect(&mut self, envelope: Envelope) -> Vec<HomeId> {
        frame::write(&mut self.say, &ToServe::Ask { ticket: 8, question: Question::Place(envelope) })
            .expect("a question");
        let mut redirected = Vec::new();
        loop {
            match self.hear().expect("an answer") {
                FromServe::Answer { answer: Answer::Redirect { members }, .. } => redirected = members,
                FromServe::Answer { last: true, .. } => return redirected,
                FromServe::Answer { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Asks, and is told no in these words.
    pub fn denied(&mut self, question: Question, words: &[&str]) {
        match self.ask(question) {
            Answer::Denied(why) | Answer::Unknown(why) | Answer::No { why } => {
                words.iter().for_each(|word| assert!(why.contains(word), "{word:?} is not said: {why}"));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Ends it as nobody who is asked does.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }

    /// Nothing more is said: it must end, and well.
    pub fn leaves(mut self) {
        drop(self.say);
        let mut rest = Vec::new();
        self.hear.read_to_end(&mut rest).expect("the rest");
        assert!(process::wait_for(&mut self.child, process::HANG).is_some_and(|s| s.success()));
    }
}
