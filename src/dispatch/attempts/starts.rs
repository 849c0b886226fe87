//! Starts, built from the rows of their tasks.

use crate::dispatch::settings::Settings;
use crate::matching::Place;
use crate::model::command::Text;
use crate::model::feature::Feature;
use crate::model::id::{AttemptId, BootId, Epoch, LaneId, TaskId};
use crate::model::task::Launch;
use crate::protocol::agent::{Start, StartMember};
use crate::store::placing::Claimed;
use crate::store::tasks::{Shape, TaskRow};
use crate::store::{Result, StoreError, View};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A start, and the place that it goes to.
#[derive(Debug)]
pub struct PlacedStart {
    pub place: Place,
    pub start: Start,
}

/// Where starts go.
#[derive(Debug)]
pub struct StartTarget<'a> {
    pub place: Place,
    pub lane: LaneId,
    pub boot: &'a BootId,
    pub epoch: Epoch,
    /// The directory of the home, if the place is on its own host: only there the task inherits from its submitter.
    pub home: Option<&'a Path>,
}

/// What all starts of a task share; built once for a batch.
#[derive(Debug, Clone)]
pub struct Template {
    pub row: TaskRow,
    launch: Launch,
    /// Names of features that the task needs and not every agent has.
    features: Vec<String>,
}

impl Template {
    /// Reads a task. None if it is removed.
    pub fn read(view: &View<'_>, settings: &Settings, task: TaskId) -> Result<Option<Self>> {
        let (Some(row), Some(mut launch)) = (view.task(task)?, view.launch(task)?) else { return Ok(None) };
        if let Some(why) = row.unreadable {
            // A task is not started with only a part of what was requested.
            return Err(StoreError::Unreadable(why));
        }
        let features = launch.features().map(|feature| feature.name().to_owned()).collect();
        if launch.max_output.is_none() {
            launch.max_output = Some(settings.max_output(view)?);
        }
        Ok(Some(Self { row, launch, features }))
    }

    /// The starts of these members in one lane: one start, or one for each member if their output files differ.
    pub fn starts(&self, view: &View<'_>, to: &StartTarget<'_>, members: &[Claimed]) -> Result<Vec<PlacedStart>> {
        let place = to.place;
        let server = view.server_name(place.server)?.map_or_else(String::new, |n| n.to_string());
        let host = if place.host == place.server {
            server.clone()
        } else {
            view.server_name(place.host)?.map_or_else(String::new, |n| n.to_string())
        };
        let inherited = match to.home {
            Some(_) => view.environment_of(self.row.id)?.map(|kept| kept.inherited),
            None => None,
        };
        let mut features = self.features.clone();
        features.extend(inherited.as_ref().map(|_| Feature::Inherit.name().to_owned()));
        let whole = Start {
            lane: to.lane,
            boot: to.boot.clone(),
            epoch: to.epoch,
            launch: self.launch.clone(),
            mem_limit: self.row.demand.needs.mem,
            // A task of another home is no user of this one.
            grid_env: self.environment(&server, to.home.filter(|_| inherited.is_some())),
            prologue: view.prologue(place.host)?,
            features,
            inherited,
            members: Vec::new(),
        };
        let apart = [&self.launch.stdout, &self.launch.stderr].into_iter().flatten().any(|p| p.lossy().contains('%'));
        let batches = if apart { members.chunks(1).collect() } else { batches(members) };
        let start = |batch| PlacedStart { place, start: self.start(&whole, batch, &host) };
        Ok(batches.into_iter().map(start).collect())
    }

    /// The start of these members alone.
    fn start(&self, whole: &Start, members: &[Claimed], host: &str) -> Start {
        let mut start = whole.clone();
        if let [member] = members {
            let expand = |path: &Option<Text>| path.as_ref().map(|p| self.path(p, member, host));
            (start.launch.stdout, start.launch.stderr) = (expand(&self.launch.stdout), expand(&self.launch.stderr));
        }
        let array = self.row.shape != Shape::Single;
        let one = |m: &Claimed| StartMember {
            attempt: AttemptId { task: self.row.uuid, index: m.index, number: m.number },
            array_index: array.then_some(m.index.0),
            entry: m.entry.clone(),
            directory: None,
        };
        start.members = members.iter().map(one).collect();
        start
    }

    /// The environment variables that identify the attempt, and the home where it is on this host.
    fn environment(&self, server: &str, home: Option<&Path>) -> Vec<(Text, Text)> {
        let needs = self.row.demand.needs;
        let mut all = vec![
            ("GRID_TASK_ID", self.row.id.to_string()),
            ("GRID_CPUS", needs.cpus.to_string()),
            ("GRID_MEM", needs.mem.map_or_else(String::new, |m| m.0.to_string())),
            ("GRID_GPUS", String::new()),
            ("GRID_SERVER", server.to_owned()),
            ("GRID_SUBMIT_HOST", self.row.client.clone()),
        ];
        all.retain(|(_, value)| !value.is_empty());
        let mut env: Vec<(Text, Text)> =
            all.into_iter().map(|(name, value)| (name.into(), value.as_str().into())).collect();
        env.push(("GRID_SUBMIT_DIR".into(), self.launch.cwd.clone()));
        env.extend(home.map(|home| ("GRID_HOME".into(), home.as_os_str().to_owned().into())));
        env
    }

    /// `%j` task, `%A` the same, `%a` index, `%r` attempt, `%x` name, `%h` host, `%%`.
    fn path(&self, pattern: &Text, member: &Claimed, host: &str) -> Text {
        let mut out = Vec::new();
        let mut bytes = pattern.as_bytes().iter();
        while let Some(byte) = bytes.next() {
            if *byte != b'%' {
                out.push(*byte);
                continue;
            }
            match bytes.next() {
                Some(b'j' | b'A') => out.extend(self.row.id.to_string().bytes()),
                Some(b'a') => out.extend(member.index.to_string().bytes()),
                Some(b'r') => out.extend(member.number.to_string().bytes()),
                Some(b'x') => out.extend(self.row.name.as_deref().unwrap_or("task").bytes()),
                Some(b'h') => out.extend(host.bytes()),
                Some(b'%') => out.push(b'%'),
                Some(other) => out.extend([b'%', *other]),
                None => out.push(b'%'),
            }
        }
        Text::from(std::ffi::OsStr::from_bytes(&out).to_owned())
    }
}

/// Entries in one message stay below this many bytes, far from the longest frame.
const ENTRIES_BYTES: usize = 1 << 20;

/// Batches of members whose entries fit into one message.
fn batches(members: &[Claimed]) -> Vec<&[Claimed]> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, member) in members.iter().enumerate() {
        let entry = member.entry.as_ref().map_or(0, |entry| entry.as_bytes().len());
        if at > from && bytes + entry > ENTRIES_BYTES {
            batches.push(&members[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += entry;
    }
    batches.push(&members[from..]);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::Index;

    #[test]
    fn long_entries_are_split_into_several_messages() {
        let member = |index, len: usize| {
            let entry = Some("x".repeat(len).as_str().into());
            Claimed { index: Index(index), number: 1, entry }
        };
        let members: Vec<Claimed> = (0..128).map(|index| member(index, 127 << 10)).collect();
        let split = batches(&members);
        assert_eq!(split.iter().map(|batch| batch.len()).sum::<usize>(), 128);
        assert!(split.iter().all(|batch| batch.len() <= 8), "{}", split.len());
        assert_eq!(batches(&members[..3]).len(), 1);
        assert_eq!(batches(&[member(0, 3 << 20), member(1, 1)]).len(), 2);
        assert_eq!(batches(&[]).len(), 1);
    }
}
