//! A run's journal: what its supervisor did, one JSON object per line, append-only.
//!
//! The first line is a [`Header`] with a version. Every later agent reads every earlier version
//! (`fixtures/journal/vN.jsonl` holds one of each); a torn last line and lines of kinds that are not known
//! are skipped. The journal is locked (flock) for as long as anything may still begin in its run:
//! a process that gets the lock knows that nothing will.

use crate::model::attempt::{End, ProcessId};
use crate::model::id::{AttemptId, BootId, HomeId, LaneId};
use crate::model::time::Timestamp;
use crate::protocol::agent::Refusal;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The version that this program writes.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub journal: u32,
    pub boot: BootId,
    pub home: HomeId,
    pub lane: LaneId,
}

/// Every other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalRecord {
    /// The supervisor has started.
    Opened { process: ProcessId },
    /// Written before the command is started. The outputs' slices begin at these offsets.
    Begun {
        #[serde(with = "as_text")]
        attempt: AttemptId,
        at: Timestamp,
        /// The same on the clock that only goes forward, in milliseconds; absent in journals of earlier agents.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "as_millis")]
        since_boot: Option<Duration>,
        out: u64,
        err: u64,
        /// As in [`End`]; absent in journals of earlier agents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
    },
    /// The command runs as this process. Absent where it ended within the first milliseconds.
    Spawned {
        #[serde(with = "as_text")]
        attempt: AttemptId,
        process: ProcessId,
    },
    Ended {
        #[serde(with = "as_text")]
        attempt: AttemptId,
        end: End,
        out: u64,
        err: u64,
    },
    /// The system could not start the command; it never ran.
    Refused {
        #[serde(with = "as_text")]
        attempt: AttemptId,
        why: Refusal,
    },
    /// Nothing more begins in this run.
    Closed,
    /// Attempts that begin from here on belong to this lane, not to that of the header.
    Lane { lane: LaneId },
}

/// Attempt ids as `UUID.INDEX.NUMBER`, for people who read a journal.
mod as_text {
    use crate::model::id::AttemptId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(id: &AttemptId, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<AttemptId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod as_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(length: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        length.and_then(|length| u64::try_from(length.as_millis()).ok()).serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

/// Adds one line to `lines`.
pub fn line<T: Serialize>(record: &T, lines: &mut Vec<u8>) {
    // Writing to memory can't fail, and the types have no keys that JSON refuses.
    let _ = serde_json::to_writer(&mut *lines, record);
    lines.push(b'\n');
}

/// Writes a journal, and keeps what could not be written yet.
#[derive(Debug)]
pub struct Writer {
    file: File,
    len: u64,
    pending: Vec<u8>,
    /// There was no room for a record since the last begin.
    full: bool,
}

impl Writer {
    /// Continues at the end of the file, which no other process writes to.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len, pending: Vec::new(), full: false })
    }

    /// Adds a record to what the next [`Writer::commit`] writes.
    pub fn add(&mut self, record: &JournalRecord) {
        line(record, &mut self.pending);
    }

    /// Writes all that is pending in one piece, or nothing of it.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match self.file.write_all(&self.pending) {
            Ok(()) => {
                self.len += self.pending.len() as u64;
                self.pending.clear();
                Ok(())
            }
            Err(error) => {
                // On a full disk a part may have been written: a torn line must not stay before whole ones.
                let _ = self.file.set_len(self.len);
                self.full |= matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                Err(error)
            }
        }
    }

    /// Writes `record` and what is pending, or takes `record` back: for what must be written before it is done.
    pub fn commit_with(&mut self, record: &JournalRecord) -> io::Result<()> {
        let before = self.pending.len();
        self.add(record);
        self.commit().inspect_err(|_| self.pending.truncate(before))?;
        self.full = false;
        Ok(())
    }

    /// Was there no room for a record since the last begin?
    pub const fn met_full_disk(&self) -> bool {
        self.full
    }

    /// Closes a line that a killed writer may have left torn.
    pub fn end_line(&mut self) {
        self.pending.push(b'\n');
    }

    /// Is anything waiting for room on the disk?
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Lets others have the lock: nothing more begins.
    pub fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}

/// The reading end: gives out each record once, as far as whole lines go.
#[derive(Debug, Default)]
pub struct Reader {
    offset: u64,
    partial: Vec<u8>,
    header: Option<Header>,
}

impl Reader {
    /// The first line, once it has been read.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The records that were added since the last call.
    pub fn new_records(&mut self, file: &File) -> io::Result<Vec<JournalRecord>> {
        let mut records = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            let got = match file.read_at(&mut chunk, self.offset) {
                Ok(0) => return Ok(records),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.offset += got as u64;
            self.partial.extend_from_slice(&chunk[..got]);
            let whole = self.partial.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            for text in self.partial[..whole].split(|b| *b == b'\n') {
                if self.header.is_none() {
                    self.header = serde_json::from_slice(text).ok();
                } else if let Ok(record) = serde_json::from_slice(text) {
                    records.push(record);
                }
            }
            self.partial.drain(..whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::Cause;

    fn attempt(index: u32) -> AttemptId {
        format!("019a0000-0000-7000-8000-00000000000a.{index}.1").parse().unwrap()
    }

    #[test]
    fn journal_of_version_1_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/journal/v1.jsonl");
        let mut reader = Reader::default();
        let records = reader.new_records(&File::open(path).unwrap()).unwrap();
        let header = reader.header().unwrap();
        assert_eq!((header.journal, header.lane), (1, LaneId(4)));
        let [opened, begun, spawned, ended, second, refused, closed] = &records[..] else { panic!("{records:#?}") };
        let process = |pid, start_time| ProcessId { pid, start_time };
        assert_eq!(*opened, JournalRecord::Opened { process: process(4242, 987_654) });
        assert!(matches!(begun, JournalRecord::Begun { attempt: a, out: 0, .. } if *a == attempt(1)));
        assert_eq!(*spawned, JournalRecord::Spawned { attempt: attempt(1), process: process(4243, 987_660) });
        let JournalRecord::Ended { end, .. } = ended else { panic!("{ended:?}") };
        assert_eq!((&end.cause, end.out_len, end.usage.cpu_ms), (&Cause::Exited { code: 3 }, 5, 12));
        assert!(matches!(second, JournalRecord::Begun { out: 5, .. }));
        assert!(matches!(refused, JournalRecord::Refused { attempt: a, .. } if *a == attempt(2)));
        assert_eq!(*closed, JournalRecord::Closed);
    }

    #[test]
    fn journal_line_is_read_when_it_is_complete() {
        let mut file = tempfile::tempfile().unwrap();
        let mut reader = Reader::default();
        let header = Header { journal: 1, boot: BootId("b".into()), home: HomeId(uuid::Uuid::nil()), lane: LaneId(1) };
        let mut text = Vec::new();
        line(&header, &mut text);
        line(&JournalRecord::Closed, &mut text);
        let (first, rest) = text.split_at(text.len() - 4);
        file.write_all(first).unwrap();
        assert_eq!(reader.new_records(&file).unwrap(), []);
        file.write_all(rest).unwrap();
        assert_eq!(reader.new_records(&file).unwrap(), [JournalRecord::Closed]);
        assert_eq!(reader.new_records(&file).unwrap(), []);
    }
}
