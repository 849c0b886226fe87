//! Outputs of tasks as `logs` prints them: whole, the last lines of each, or each line with the task that wrote it.

use super::Out;
use crate::model::attempt::Stream;
use crate::ops::follow::FollowEvent;
use std::collections::VecDeque;
use std::io;

/// A longer line is printed in pieces.
const LINE_MAX: usize = 1 << 20;

/// Prints outputs.
#[derive(Debug)]
pub struct LogLines {
    /// Only so many of the last lines of each output.
    tail: Option<usize>,
    /// Each line begins with the id of its task or member.
    tag: bool,
    /// The task that is printed.
    task: String,
    /// It has members.
    array: bool,
    /// The outputs of which something is kept: one, unless members are followed side by side.
    open: Vec<OpenOutput>,
}

/// An output of which something is not printed yet.
#[derive(Debug)]
struct OpenOutput {
    id: String,
    stream: Stream,
    last: VecDeque<Vec<u8>>,
    /// A line without its end.
    line: Vec<u8>,
}

impl LogLines {
    pub const fn new(tail: Option<usize>, tag: bool) -> Self {
        Self { tail, tag, task: String::new(), array: false, open: Vec::new() }
    }

    /// What follows is of this task or member.
    pub fn of(&mut self, task: &str, out: &mut Out) -> io::Result<()> {
        self.end(out)?;
        task.clone_into(&mut self.task);
        self.array = false;
        Ok(())
    }

    /// Prints an event, or keeps it until more is known.
    pub fn give(&mut self, event: FollowEvent<'_>, out: &mut Out) -> io::Result<()> {
        self.array |= matches!(event, FollowEvent::Member(..));
        match event {
            FollowEvent::Output { index, stream, bytes } if self.tail.is_some() || self.tag => {
                // A single task has the index 0, and a member that was named has its index in the name.
                let id = if index.0 == 0 && !self.array || self.task.contains('.') {
                    self.task.clone()
                } else {
                    format!("{}.{index}", self.task)
                };
                self.take(id, stream, bytes, out)
            }
            FollowEvent::Member(..) if self.tag => Ok(()),
            FollowEvent::Member(..) | FollowEvent::Note(_) => {
                self.end(out)?;
                give(out, event)
            }
            event => give(out, event),
        }
    }

    /// Prints what is kept.
    pub fn end(&mut self, out: &mut Out) -> io::Result<()> {
        for mut open in std::mem::take(&mut self.open) {
            if !open.line.is_empty() {
                if self.tag {
                    open.line.push(b'\n');
                }
                let line = std::mem::take(&mut open.line);
                self.line(&mut open, line, out)?;
            }
            for line in &open.last {
                self.print(&open.id, open.stream, line, out)?;
            }
        }
        out.end_colours()
    }

    fn take(&mut self, id: String, stream: Stream, bytes: &[u8], out: &mut Out) -> io::Result<()> {
        let known = self.open.iter().position(|open| open.id == id && open.stream == stream);
        let mut open = match known {
            Some(at) => self.open.swap_remove(at),
            None => {
                if self.tail.is_some() {
                    // The outputs come one after the other.
                    self.end(out)?;
                }
                OpenOutput { id, stream, last: VecDeque::new(), line: Vec::new() }
            }
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            open.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || open.line.len() >= LINE_MAX {
                let line = std::mem::take(&mut open.line);
                self.line(&mut open, line, out)?;
            }
        }
        if self.tail.is_some() || !open.line.is_empty() {
            self.open.push(open);
        }
        Ok(())
    }

    fn line(&self, open: &mut OpenOutput, line: Vec<u8>, out: &mut Out) -> io::Result<()> {
        let Some(tail) = self.tail else { return self.print(&open.id, open.stream, &line, out) };
        open.last.push_back(line);
        while open.last.len() > tail {
            open.last.pop_front();
        }
        Ok(())
    }

    fn print(&self, id: &str, stream: Stream, line: &[u8], out: &mut Out) -> io::Result<()> {
        let tagged = if self.tag { [id.as_bytes(), b": ", line].concat() } else { line.to_vec() };
        match stream {
            Stream::Out => out.task_stdout(&tagged),
            Stream::Err => out.task_stderr(&tagged),
        }
    }
}

/// The task's stdout on ours, its stderr on ours, talk on stderr.
pub fn give(out: &mut Out, event: FollowEvent<'_>) -> io::Result<()> {
    match event {
        FollowEvent::Output { stream: Stream::Out, bytes, .. } => out.task_stdout(bytes),
        FollowEvent::Output { stream: Stream::Err, bytes, .. } => out.task_stderr(bytes),
        FollowEvent::Member(task, index) => out.heading(&format!("==> {task}.{index} <==")),
        FollowEvent::Note(text) => {
            out.note(text);
            Ok(())
        }
        FollowEvent::Waits { task, place, reason } => {
            let place = place.map_or_else(String::new, |distributor| format!(" in {distributor}"));
            out.note(&format!("task {task} waits{place}: {reason}"));
            Ok(())
        }
        FollowEvent::NeverStarted { task, state } => {
            out.note(&format!("{task} has no output: it never started ({state})"));
            Ok(())
        }
        FollowEvent::Still => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Style;
    use super::*;
    use crate::model::id::{Index, TaskId};
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What stands on stdout after these pieces of outputs of members of task 7.
    fn printed(tail: Option<usize>, tag: bool, pieces: &[(u32, &str)]) -> String {
        let written = Written::default();
        let mut out = Out::new(Box::new(written.clone()), Box::new(io::sink()), Style::default());
        let mut lines = LogLines::new(tail, tag);
        lines.of("7", &mut out).unwrap();
        for (index, text) in pieces {
            if pieces.len() > 1 {
                lines.give(FollowEvent::Member(TaskId(7), Index(*index)), &mut out).unwrap();
            }
            let bytes = text.as_bytes();
            lines.give(FollowEvent::Output { index: Index(*index), stream: Stream::Out, bytes }, &mut out).unwrap();
        }
        lines.end(&mut out).unwrap();
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_that_come_in_pieces_are_tagged_once() {
        let pieces = [(0, "a"), (2, "b\nc"), (0, "a\n"), (2, "c")];
        assert_eq!(printed(None, true, &pieces), "7.2: b\n7.0: aa\n7.2: cc\n");
        assert_eq!(printed(None, true, &[(0, "single\n")]), "7: single\n");
    }

    #[test]
    fn last_lines_of_each_output_are_printed() {
        let pieces = [(1, "1\n2\n3\n"), (2, "4\n5\n6")];
        assert_eq!(printed(Some(2), false, &pieces), "2\n3\n5\n6");
        assert_eq!(printed(Some(1), true, &pieces), "7.1: 3\n7.2: 6\n");
        assert_eq!(printed(Some(0), false, &pieces), "");
        assert_eq!(printed(None, false, &pieces), "1\n2\n3\n4\n5\n6");
    }
}
