//! Checks of a task when its seal is opened: what no command line could have written is refused.

use super::launch::launch;
use super::{Message, Unacceptable, field};
use crate::model::attribute::Value;
use crate::model::bounds::{self, Checked, OutOfBounds};
use crate::model::command::{Command, Text, unprintable};
use crate::model::demand::Demand;
use crate::model::task::{ClientFacts, Launch, Members, Request};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;

/// Most members of a task, as ranges or lines.
pub const MEMBERS_MAX: u32 = 10_000_000;
/// Longest name of a task, in characters.
const NAME_MAX: usize = 200;
/// Longest text about a client.
const CLIENT_MAX: usize = 253;

impl Message for Request {
    fn check(&self) -> Result<(), Unacceptable> {
        demand(&self.demand)?;
        launch(&self.launch)?;
        places(&self.launch)?;
        members(&self.members)?;
        some_time("time_limit", self.launch.time_limit)?;
        some_time("lost_after", self.lost_after)?;
        client(&self.client)
    }
}

fn refused(field: &'static str, fault: impl Into<String>) -> Unacceptable {
    Unacceptable { field, fault: fault.into() }
}

fn demand(demand: &Demand) -> Result<(), Unacceptable> {
    if demand.needs.cpus == 0 || demand.needs.mem.is_some_and(|mem| mem.0 == 0) {
        return Err(refused("cpus and mem", "a task needs more than nothing"));
    }
    demand.needs.mem.map_or(Ok(()), |mem| field("mem", bounds::counter(mem.0)))?;
    for (_, version) in demand.apps.iter().filter_map(|app| app.version.as_ref()) {
        field("app", bounds::word(&version.0))?;
    }
    for (name, text) in [("constraint", &demand.constraint), ("prefer", &demand.prefer)] {
        text.as_ref().map_or(Ok(()), |text| field(name, bounds::text(text, bounds::LINES_MAX)))?;
    }
    if let Some(name) = &demand.name
        && (name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(unprintable))
    {
        return Err(refused("name", "1 to 200 characters that can be seen, no control or direction marks"));
    }
    let of = [
        ("task attributes", &demand.labels, bounds::VALUES_MAX),
        ("client attributes", &demand.client, bounds::CLIENT_VALUES_MAX),
    ];
    of.into_iter().try_for_each(|(what, values, max)| {
        field(what, bounds::values(values, max))?;
        let check = |(name, value)| label(value).map_err(|error| refused(what, format!("{name}: {error}")));
        values.iter().try_for_each(check)
    })
}

/// Checks a label: one value, or a list of values.
fn label(value: &Value) -> Checked {
    match value {
        Value::Map(_) => Err(OutOfBounds::Deep),
        Value::List(items) if items.iter().any(|item| matches!(item, Value::List(_) | Value::Map(_))) => {
            Err(OutOfBounds::Deep)
        }
        Value::List(items) => items.iter().try_for_each(label),
        Value::Text(text) if text.chars().any(char::is_control) => Err(OutOfBounds::Control),
        _ => Ok(()),
    }
}

/// Checks that the system can open the directories and files.
fn places(launch: &Launch) -> Result<(), Unacceptable> {
    let path = |name: &'static str, path: &Text| match path.as_bytes().len() {
        0 => field(name, Err(OutOfBounds::Empty)),
        len => field(name, bounds::long(len, bounds::PATH_MAX)),
    };
    path("cwd", &launch.cwd)?;
    for (name, text) in [("home", &launch.home), ("stdout", &launch.stdout), ("stderr", &launch.stderr)] {
        text.as_ref().map_or(Ok(()), |text| path(name, text))?;
    }
    let Some(fetch) = &launch.fetch else { return Ok(()) };
    fetch.patterns.iter().try_for_each(|one| field("fetch", bounds::long(one.as_bytes().len(), bounds::PATH_MAX)))
}

fn some_time(name: &'static str, time: Option<Duration>) -> Result<(), Unacceptable> {
    match time {
        Some(time) if time.is_zero() => Err(refused(name, "no time at all")),
        Some(time) => field(name, bounds::length(time)),
        None => Ok(()),
    }
}

fn members(members: &Members) -> Result<(), Unacceptable> {
    let (Members::Range { at_once, .. } | Members::Lines { at_once, .. }) = members else { return Ok(()) };
    if *at_once == Some(0) {
        return Err(refused("array", "none of its members may run"));
    }
    if let Members::Range { first, step, count, .. } = members {
        let last = u64::from(*first) + u64::from(*step) * u64::from(count.saturating_sub(1));
        if *count == 0 || *step == 0 || *count > MEMBERS_MAX || last >= u64::from(u32::MAX) {
            return Err(refused("array", format!("{count} members, step {step}: at most {MEMBERS_MAX} are taken")));
        }
    }
    Ok(())
}

/// Checks that the host can be shown, and what it tells of the account.
fn client(client: &ClientFacts) -> Result<(), Unacceptable> {
    let host = |c: char| c.is_ascii_graphic() && !"'\"\\`$;&|<>*?".contains(c);
    if client.host.is_empty() || client.host.len() > CLIENT_MAX || !client.host.chars().all(host) {
        return Err(refused("client.host", format!("no name of a host: 1 to {CLIENT_MAX} plain characters")));
    }
    for (name, text) in [("client.user", &client.user), ("client.os", &client.os), ("client.arch", &client.arch)] {
        field(name, bounds::long(text.len(), CLIENT_MAX).and_then(|()| bounds::word(text)))?;
    }
    Ok(())
}

/// The lines of an array. Decoding stops at the first line too many: an empty line takes more memory than bytes of the message.
#[derive(Debug)]
pub struct Lines(pub Vec<Text>);

impl Lines {
    /// Checks that the command can be executed with each line.
    pub fn check(&self, command: &Command) -> Result<(), Unacceptable> {
        let longest = command.entry_max();
        for (at, line) in self.0.iter().enumerate() {
            bounds::bytes(line.as_bytes(), longest)
                .map_err(|error| refused("list", format!("line {}: {error}", at + 1)))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(UpTo(MEMBERS_MAX as usize))
    }
}

/// Reads this many lines at most.
struct UpTo(usize);

impl<'de> Visitor<'de> for UpTo {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Lines, A::Error> {
        let mut lines = Vec::new();
        while let Some(line) = items.next_element()? {
            if lines.len() >= self.0 {
                return Err(A::Error::custom(format!("more than {} lines", self.0)));
            }
            lines.push(line);
        }
        Ok(Lines(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::Environment;
    use crate::model::resources::Bytes;
    use crate::protocol::seal;

    fn request() -> Request {
        Request {
            demand: Demand::default(),
            launch: Launch {
                command: Command::new(vec!["true".into()]).unwrap(),
                cwd: "/tmp".into(),
                home: None,
                env: Environment::default(),
                time_limit: None,
                stdout: None,
                stderr: None,
                stdin: None,
                workplace: Default::default(),
                fetch: None,
                max_output: None,
            },
            members: Members::Single,
            retries: 0,
            retry_lost: false,
            lost_after: None,
            hold: false,
            hold_unmatched: false,
            user: None,
            client: ClientFacts { host: "h".into(), user: "me".into(), os: "linux".into(), arch: "x86_64".into() },
        }
    }

    fn opened(change: impl FnOnce(&mut Request)) -> Result<(), String> {
        let mut request = request();
        change(&mut request);
        let sealed = seal::seal(&request).unwrap().0;
        seal::open(&sealed).map(drop).map_err(|error| error.to_string())
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Int(1), |inner, _| Value::List(vec![inner]))
    }

    #[test]
    fn sealed_task_that_no_command_line_could_write_is_refused_with_its_field() {
        assert_eq!(opened(|_| {}), Ok(()));
        let label = |value: Value| move |r: &mut Request| r.demand.labels = [("a".into(), value)].into();
        type Lie = Box<dyn FnOnce(&mut Request)>;
        let lies: Vec<(&str, Lie)> = vec![
            ("task attributes: NaN", Box::new(label(Value::Double(f64::NAN)))),
            ("task attributes: infinity", Box::new(label(Value::List(vec![Value::Double(f64::INFINITY)])))),
            ("task attributes", Box::new(label(nested(2)))),
            ("task attributes", Box::new(label(nested(17)))),
            ("task attributes", Box::new(label(Value::Map(Default::default())))),
            ("control character", Box::new(label("a\nb".into()))),
            ("NUL", Box::new(label("a\0b".into()))),
            ("attribute", Box::new(|r| r.demand.labels = [("no name".into(), Value::Int(1))].into())),
            ("client attributes: NaN", Box::new(|r| r.demand.client = [("a".into(), Value::Double(f64::NAN))].into())),
            ("client attributes", Box::new(|r| r.demand.client = [("a".into(), nested(2))].into())),
            (
                "client attributes",
                Box::new(|r| r.demand.client = [("a".into(), "x".repeat(65_536).as_str().into())].into()),
            ),
            ("name", Box::new(|r| r.demand.name = Some("a\u{202e}b".into()))),
            ("name", Box::new(|r| r.demand.name = Some("x".repeat(201).into()))),
            ("cpus", Box::new(|r| r.demand.needs.cpus = 0)),
            ("mem", Box::new(|r| r.demand.needs.mem = Some(Bytes(u64::MAX)))),
            ("constraint: it holds a NUL", Box::new(|r| r.demand.constraint = Some("true\0".into()))),
            ("cwd: it holds a NUL", Box::new(|r| r.launch.cwd = "/tmp\0".into())),
            ("cwd: 5001 bytes", Box::new(|r| r.launch.cwd = format!("/{}", "x".repeat(5000)).as_str().into())),
            ("home: it holds a NUL", Box::new(|r| r.launch.home = Some("/h\0".into()))),
            ("stdout: it holds a NUL", Box::new(|r| r.launch.stdout = Some("o\0".into()))),
            ("stderr: it is empty", Box::new(|r| r.launch.stderr = Some("".into()))),
            ("env", Box::new(|r| r.launch.env = Environment(vec![("A=B".into(), "".into())]))),
            ("env", Box::new(|r| r.launch.env = Environment(vec![("A".into(), "\0".into())]))),
            ("time_limit", Box::new(|r| r.launch.time_limit = Some(Duration::MAX))),
            ("lost_after", Box::new(|r| r.lost_after = Some(Duration::ZERO))),
            ("client.host", Box::new(|r| r.client.host = "a b".into())),
            ("client.host", Box::new(|r| r.client.host = String::new())),
            ("client.user", Box::new(|r| r.client.user = "a\u{1b}[2J".into())),
            ("array", Box::new(|r| r.members = Members::Range { first: 0, step: 1, count: 0, at_once: None })),
            ("array", Box::new(|r| r.members = Members::Range { first: 1, step: 1, count: 9, at_once: Some(0) })),
            ("array", Box::new(|r| r.members = Members::Range { first: 4, step: u32::MAX, count: 2, at_once: None })),
        ];
        for (words, lie) in lies {
            let told = opened(lie).expect_err(words);
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[test]
    fn lines_are_refused_where_the_command_can_not_be_executed_with_them() {
        let with = |lines: Vec<Text>| {
            let mut task = Request { members: Members::Lines { lines, at_once: None }, ..request() };
            let list = seal::seal(&task).unwrap().1.unwrap();
            seal::open_list(&mut task, &list).map(|()| task.members.count()).map_err(|error| error.to_string())
        };
        assert_eq!(with(vec!["a".into(), "".into()]), Ok(2));
        let nul = with(vec!["a".into(), "b\0".into()]).unwrap_err();
        assert!(nul.contains("list: line 2: it holds a NUL byte"), "{nul}");
        assert!(with(vec!["x".repeat(1 << 17).as_str().into()]).unwrap_err().contains("line 1"));
    }

    #[test]
    fn list_of_many_empty_lines_is_not_decoded_to_its_end() {
        // What follows the third line is not read.
        let bytes = [0xdd, 0xff, 0xff, 0xff, 0xff, 0xc4, 0, 0xc4, 0, 0xc4, 0, 0xc1];
        let mut reader = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
        let error = (&mut reader).deserialize_seq(UpTo(2)).unwrap_err();
        assert!(error.to_string().contains("more than 2 lines"), "{error}");
    }
}
