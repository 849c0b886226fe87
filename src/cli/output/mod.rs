//! The only place of the program that prints. Results go to stdout, messages to stderr.

mod colours;
pub mod log_lines;
pub mod progress;
pub mod table;

use super::failure::Failure;
use crate::model::command::printable;
use colours::ColoursOnly;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, Write};
use table::Table;

/// How a listing may look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; None in a pipe, where nothing is cut.
    pub width: Option<u16>,
    pub bold: bool,
}

impl Style {
    /// As the terminal and the person's variables (no-color.org, bixense.com/clicolors) have it.
    fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let off = std::env::var_os("CLICOLOR").is_some_and(|value| value == "0");
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
        let width = || rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| size.ws_col);
        Self {
            width: terminal.then(width).map(|columns| if columns == 0 { 80 } else { columns }),
            bold: !set("NO_COLOR") && (forced || (terminal && !off && !dumb)),
        }
    }
}

/// Both outputs of the program.
pub struct Out {
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    pub look: Style,
    done: Option<PendingReport>,
    /// Of stdout and stderr, if it is a terminal that gets only text and colours of tasks.
    colours: [Option<ColoursOnly>; 2],
}

/// A change that is carried out, and whose report may not have reached stdout yet.
struct PendingReport {
    what: String,
    report: &'static str,
}

impl Out {
    /// The process's own.
    pub fn standard() -> Self {
        Self {
            stdout: Box::new(BufWriter::new(io::stdout())),
            stderr: Box::new(io::stderr()),
            look: Style::of_stdout(),
            done: None,
            colours: [None, None],
        }
    }

    /// Any other, for tests.
    #[cfg(test)]
    pub fn new(stdout: Box<dyn Write>, stderr: Box<dyn Write>, look: Style) -> Self {
        Self { stdout, stderr, look, done: None, colours: [None, None] }
    }

    /// Asks yes or no on the terminal; None where there is nobody to ask.
    pub fn ask(&mut self, question: &str, stdin_is_taken: bool) -> Result<Option<bool>, Failure> {
        self.finish()?;
        if stdin_is_taken || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(None);
        }
        write!(self.stderr, "{question} [y/N] ")?;
        self.stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
    }

    /// A line of data; what would disturb a terminal is escaped.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{}", printable(text))?)
    }

    /// Text of ours, as it is.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.stdout.write_all(text.as_bytes())?)
    }

    /// A line between outputs, for who looks on; a pipe or file gets the outputs alone.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        if self.look.width.is_none() {
            return Ok(());
        }
        writeln!(self.stdout, "{}", printable(text))
    }

    /// From here on a terminal gets only text and colours of what tasks wrote.
    pub fn colours_only(&mut self) {
        let terminals = [self.look.width.is_some(), io::stderr().is_terminal()];
        self.colours = terminals.map(|terminal| terminal.then(ColoursOnly::default));
    }

    /// The colours of one output are not those of the next.
    pub fn end_colours(&mut self) -> io::Result<()> {
        let [out, err] = self.colours.each_mut().map(|colours| colours.as_mut().map_or(&b""[..], ColoursOnly::end));
        self.stdout.write_all(out)?;
        self.stderr.write_all(err)
    }

    /// What a task wrote on its stdout.
    pub fn task_stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.colours[0] {
            Some(colours) => self.stdout.write_all(&colours.pass(bytes))?,
            None => self.stdout.write_all(bytes)?,
        }
        self.stdout.flush()
    }

    /// What a task wrote on its stderr.
    pub fn task_stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.flush()?;
        match &mut self.colours[1] {
            Some(colours) => self.stderr.write_all(&colours.pass(bytes)),
            None => self.stderr.write_all(bytes),
        }
    }

    /// A table; nothing for one without rows.
    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        self.text(&table.render(self.look))
    }

    /// One JSON document; on a terminal for people too.
    pub fn json<T: Serialize + ?Sized>(&mut self, report: &T) -> Result<(), Failure> {
        let written = if self.look.width.is_some() {
            serde_json::to_writer_pretty(&mut self.stdout, report)
        } else {
            serde_json::to_writer(&mut self.stdout, report)
        };
        written.map_err(|error| Failure::from(io::Error::from(error)))?;
        Ok(writeln!(self.stdout)?)
    }

    /// Text of ours on stderr, as it is.
    pub fn talk(&mut self, text: &str) {
        let _ = self.stdout.flush();
        let _ = self.stderr.write_all(text.as_bytes());
    }

    /// A line of talk.
    pub fn note(&mut self, text: &str) {
        self.complain(text);
    }

    /// `grid: ..` on stderr; lines after the first (a caret under its place) stand below.
    pub fn complain(&mut self, text: &str) {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        // Nobody is left to be told that stderr is gone.
        let _ = self.stdout.flush();
        let _ = writeln!(self.stderr, "grid: {}", printable(first));
        for line in lines {
            self.complaint_below(line);
        }
    }

    /// A line that belongs to the complaint before it.
    pub fn complaint_below(&mut self, text: &str) {
        let _ = writeln!(self.stderr, "  {}", printable(text));
    }

    /// A change is carried out (`task 12 is queued`), and from here on a part of it (`its id`) is written to stdout. Where that
    /// fails, [`Self::undelivered`] says so: a failed write must not be taken for a failed change.
    pub fn did(&mut self, what: impl Into<String>, report: &'static str) {
        self.done = Some(PendingReport { what: what.into(), report });
    }

    /// Says on stderr which change is carried out although stdout can't be written, for this reason. False: none is.
    pub fn undelivered(&mut self, why: &str) -> bool {
        let Some(PendingReport { what, report }) = self.done.take() else { return false };
        self.complain(&format!("{what}; {report} could not be written to stdout: {}", without_number(why)));
        true
    }

    /// Everything is written, or the reason why not.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.stdout.flush()?;
        self.done = None;
        Ok(())
    }
}

/// The system's words without its number.
fn without_number(error: &str) -> &str {
    error.split(" (os error").next().unwrap_or(error)
}
