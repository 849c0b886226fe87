//! What people read, as it looks: in a pipe, in 80 columns, in 60.

use super::super::caller;
use super::super::exit::Speaks;
use super::super::failure::Failure;
use super::super::output::table::Table;
use super::super::output::{Out, Style};
use super::{explain, servers, status};
use crate::model::command::{Command, Text};
use crate::model::resources::Bytes;
use crate::model::task::{Members, State};
use crate::ops::draft::Draft;
use crate::ops::selecting::Chosen;
use crate::ops::status::StatusFilter;
use crate::ops::{fixture, submit};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Both outputs of something said, ages left out.
fn said(width: Option<u16>, say: impl FnOnce(&mut Out)) -> String {
    let sink = Sink::default();
    let mut out = Out::new(Box::new(sink.clone()), Box::new(sink.clone()), Style { width, bold: false });
    say(&mut out);
    out.finish().unwrap();
    let text = String::from_utf8_lossy(&sink.0.borrow()).into_owned();
    ageless(&text)
}

fn ageless(text: &str) -> String {
    regex::Regex::new(r"\d+(\.\d+)? ?(ms|s) ago").unwrap().replace_all(text, "AGE ago").into_owned()
}

fn widths(table: &Table) -> String {
    let at = |width| table.render(Style { width, bold: false });
    format!("in a pipe\n{}\n\nin 80 columns\n{}\n\nin 60 columns\n{}", at(None), at(Some(80)), at(Some(60)))
}

fn draft(words: &[&str]) -> Draft {
    Draft::new(Command::new(words.iter().map(|word| Text::from(*word)).collect()).unwrap(), "/tmp".into())
}

#[test]
fn the_servers() {
    let (_dir, grid) = fixture::world();
    let all = crate::ops::servers::list(&grid).unwrap();
    let read = all[0].attributes["load1"].read_at;
    insta::assert_snapshot!(widths(&servers::table(&all, read.plus(Duration::from_secs(42)))));
}

#[test]
fn the_status() {
    let (_dir, mut grid) = fixture::world();
    for (words, code) in [(&["true"][..], 0), (&["sh", "-c", "echo $HOME; exit 3"], 3)] {
        let id = fixture::add_task(&mut grid, draft(words));
        let claimed = fixture::start(&mut grid, id);
        fixture::end(&mut grid, id, &claimed, code, "", false);
    }
    let mut long = draft(&["blender", "-b", "a scene with a long name.blend", "--python-expr", "import bpy"]);
    long.name = Some("long render of the night".into());
    let id = fixture::add_task(&mut grid, long);
    fixture::start(&mut grid, id);
    let mut array = draft(&["./step", "--of", "100"]);
    array.members = Members::Range { first: 1, step: 1, count: 100, at_once: None };
    let id = fixture::add_task(&mut grid, array);
    fixture::start(&mut grid, id);
    let mut held = draft(&["make", "test"]);
    held.hold = true;
    fixture::add_task(&mut grid, held);
    let mut report = crate::ops::status::status(&mut grid, &StatusFilter::default()).unwrap();
    let begun = report.tasks[0].submitted_at;
    for task in &mut report.tasks {
        // The fixture gives every task a reason; one that runs has none.
        task.head.reason = task.head.reason.take().filter(|_| task.head.state != State::Running);
        task.submitted_at = begun;
        task.started_at = task.started_at.map(|_| begun);
        task.ended_at = task.ended_at.map(|_| begun.plus(Duration::from_millis(1200)));
    }
    let now = begun.plus(Duration::from_secs(3725));
    let table = status::tasks(&report.tasks, "me", now);
    insta::assert_snapshot!(format!("{}\n\n{}", widths(&table), status::summary(&report).join("\n")));
    assert_eq!(report.counts[&State::Running], 2);
}

#[test]
fn why_it_waits() {
    let (_dir, mut grid) = fixture::world();
    let mut wide = draft(&["make"]);
    (wide.cpus, wide.mem) = (Some(3), Some(Bytes(2 << 30)));
    wide.constraint = Some("server.site == client.site && server.load1 < 0.1".into());
    let refused = Failure::from(submit::dry_run(&mut grid, wide, &caller::submitter()).unwrap_err());
    insta::assert_snapshot!("refused", said(None, |out| assert_eq!(refused.tell(out, Speaks::Grid).0, 75)));
    let mut later = draft(&["make"]);
    later.constraint = Some("server.idle_cpus > 3.9".into());
    let mut report = submit::dry_run(&mut grid, later, &caller::submitter()).unwrap();
    // Where lines are broken must not depend on how long that took.
    for reason in report.servers.iter_mut().flat_map(|verdict| &mut verdict.reasons) {
        *reason = ageless(reason);
    }
    let at = |width| said(width, |out| assert!(explain::print(&report, false, out).is_ok()));
    insta::assert_snapshot!("dry_run", format!("{}\nin 60 columns\n{}", at(None), at(Some(60))));
    let id = fixture::add_task(&mut grid, draft(&["true"]));
    let report = crate::ops::explain::explain(&mut grid, Chosen { task: id, index: None }).unwrap();
    insta::assert_snapshot!("explained", said(Some(80), |out| assert!(explain::print(&report, false, out).is_ok())));
}
