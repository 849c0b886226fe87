//! Starts, built from the rows of their tasks.

use crate::dispatch::settings::Settings;
use crate::matching::Place;
use crate::model::command::Text;
use crate::model::id::{AttemptId, BootId, Epoch, LaneId, TaskId};
use crate::model::task::Launch;
use crate::protocol::agent::{Start, StartMember};
use crate::store::placing::Claimed;
use crate::store::tasks::{Shape, TaskRow};
use crate::store::{Result, StoreError, View};
use std::os::unix::ffi::OsStrExt;

/// A start, and the place that it goes to.
#[derive(Debug)]
pub struct PlacedStart {
    pub place: Place,
    pub start: Start,
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
    pub fn starts(
        &self,
        view: &View<'_>,
        place: Place,
        lane: LaneId,
        boot: &BootId,
        epoch: Epoch,
        members: &[Claimed],
    ) -> Result<Vec<PlacedStart>> {
        let server = view.server_name(place.server)?.map_or_else(String::new, |n| n.to_string());
        let host = if place.host == place.server {
            server.clone()
        } else {
            view.server_name(place.host)?.map_or_else(String::new, |n| n.to_string())
        };
        let apart = [&self.launch.stdout, &self.launch.stderr].into_iter().flatten().any(|p| p.lossy().contains('%'));
        let batches = if apart { members.chunks(1).collect() } else { batches(members) };
        let prologue = view.prologue(place.host)?;
        let start = |batch| self.start(place, lane, boot, epoch, batch, &server, &host, prologue.clone());
        Ok(batches.into_iter().map(start).collect())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn start(
        &self,
        place: Place,
        lane: LaneId,
        boot: &BootId,
        epoch: Epoch,
        members: &[Claimed],
        server: &str,
        host: &str,
        prologue: Option<String>,
    ) -> PlacedStart {
        let mut launch = self.launch.clone();
        if let [member] = members {
            let expand = |path: &Option<Text>| path.as_ref().map(|p| self.path(p, member, host));
            (launch.stdout, launch.stderr) = (expand(&self.launch.stdout), expand(&self.launch.stderr));
        }
        let array = self.row.shape != Shape::Single;
        let members = members
            .iter()
            .map(|m| StartMember {
                attempt: AttemptId { task: self.row.uuid, index: m.index, number: m.number },
                array_index: array.then_some(m.index.0),
                entry: m.entry.clone(),
                directory: None,
            })
            .collect::<Vec<_>>();
        let grid_env = self.environment(server);
        let mem_limit = self.row.demand.needs.mem;
        let features = self.features.clone();
        let start = Start { lane, boot: boot.clone(), epoch, launch, mem_limit, grid_env, prologue, features, members };
        PlacedStart { place, start }
    }

    /// The environment variables that identify the attempt.
    fn environment(&self, server: &str) -> Vec<(Text, Text)> {
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
