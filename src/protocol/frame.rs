//! Frames: a length (u32, little endian), then one message as MessagePack with named fields, so that older programs skip fields
//! that they do not know.

use super::border::{Message, Unacceptable};
use crate::model::bounds;
use serde::Serialize;
use std::io::{self, Read, Write};

/// Longest frame that is accepted, in bytes.
pub const FRAME_MAX: usize = 16 << 20;
/// Deepest nesting in a frame. Values may be [less deep](crate::model::bounds::DEPTH_MAX).
const DEPTH_MAX: usize = 100;

/// Why a byte stream has no valid message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is longer than {1}")]
    TooLong(usize, usize),
    /// The text may quote the message, and is cut.
    #[error("a frame holds no message: {0}")]
    Decode(String),
    #[error("a frame holds a message that can't be taken in: {0}")]
    Unacceptable(#[from] Unacceptable),
    #[error("a message can't be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<rmp_serde::decode::Error> for FrameError {
    fn from(error: rmp_serde::decode::Error) -> Self {
        let mut words = error.to_string();
        bounds::cut(&mut words);
        Self::Decode(words)
    }
}

/// Appends a message as a frame.
pub fn encode<M: Serialize>(message: &M, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let encoded = rmp_serde::encode::write_named(out, message);
    let len = out.len() - at - 4;
    if let Err(error) = encoded {
        out.truncate(at);
        return Err(error.into());
    }
    if len > FRAME_MAX {
        out.truncate(at);
        return Err(FrameError::TooLong(len, FRAME_MAX));
    }
    out[at..at + 4].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    Ok(())
}

/// Writes a message and flushes.
pub fn write<M: Serialize>(to: &mut impl Write, message: &M) -> Result<(), FrameError> {
    let mut out = Vec::with_capacity(256);
    encode(message, &mut out)?;
    to.write_all(&out)?;
    to.flush()?;
    Ok(())
}

/// Reads a message. None: the stream has ended between frames.
pub fn read<M: Message>(from: &mut impl Read) -> Result<Option<M>, FrameError> {
    read_limited(from, FRAME_MAX)
}

/// Reads a message with a limit on the frame.
pub fn read_limited<M: Message>(from: &mut impl Read, max: usize) -> Result<Option<M>, FrameError> {
    let mut head = [0; 4];
    let mut got = 0;
    while got < 4 {
        match from.read(&mut head[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let len = u32::from_le_bytes(head) as usize;
    if len > max {
        return Err(FrameError::TooLong(len, max));
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body)?;
    Ok(Some(decode(&body)?))
}

/// Decodes a message; the only place where bytes become one.
pub(super) fn decode<M: Message>(body: &[u8]) -> Result<M, FrameError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    reader.set_max_depth(DEPTH_MAX);
    let mut message = M::deserialize(&mut reader)?;
    message.cut();
    message.check()?;
    Ok(message)
}

/// Collects bytes from a non-blocking descriptor and gives complete messages.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    from: usize,
    /// Bytes that are read at once: most callers send little.
    chunk: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: Vec::new(), from: 0, chunk: CHUNK_MIN }
    }
}

const CHUNK_MIN: usize = 2 << 10;
const CHUNK_MAX: usize = 64 << 10;

impl Inbox {
    /// Reads what has arrived. Gives the number of bytes: 0 at the end of the stream, None if nothing has arrived.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<Option<usize>> {
        if self.from > 0 && (self.from == self.bytes.len() || self.from > 1 << 20) {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
        let at = self.bytes.len();
        self.bytes.resize(at + self.chunk, 0);
        let result = loop {
            match from.read(&mut self.bytes[at..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let got = *result.as_ref().unwrap_or(&0);
        self.bytes.truncate(at + got);
        if got == self.chunk {
            self.chunk = (self.chunk * 4).min(CHUNK_MAX);
        }
        match result {
            Ok(got) => Ok(Some(got)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next complete message.
    pub fn next<M: Message>(&mut self) -> Result<Option<M>, FrameError> {
        let rest = &self.bytes[self.from..];
        let Some(head) = rest.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*head) as usize;
        if len > FRAME_MAX {
            return Err(FrameError::TooLong(len, FRAME_MAX));
        }
        let Some(body) = rest.get(4..4 + len) else { return Ok(None) };
        let message = decode(body)?;
        self.from += 4 + len;
        Ok(Some(message))
    }
}

/// Bytes to write to a non-blocking descriptor.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    from: usize,
}

impl Outbox {
    /// Adds a message.
    pub fn push<M: Serialize>(&mut self, message: &M) -> Result<(), FrameError> {
        encode(message, &mut self.bytes)
    }

    /// Writes as much as the descriptor takes.
    pub fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        while self.from < self.bytes.len() {
            match to.write(&self.bytes[self.from..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.from += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.from == self.bytes.len() {
            self.bytes.clear();
            self.from = 0;
        } else if self.from > 1 << 20 {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
        Ok(())
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.from == self.bytes.len()
    }

    /// Bytes to write.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Message for String {
        fn check(&self) -> Result<(), Unacceptable> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut inbox = Inbox::default();
            inbox.fill(&mut &bytes[..]).unwrap();
            while let Ok(Some(_)) = inbox.next::<super::super::agent::ToAgent>() {}
            let _ = read::<super::super::agent::FromAgent>(&mut &bytes[..]);
        }

        #[test]
        fn messages_are_read_at_any_split(texts in prop::collection::vec(".{0,30}", 1..10), cut in 1usize..40) {
            let mut wire = Vec::new();
            for text in &texts {
                encode(text, &mut wire).unwrap();
            }
            let mut inbox = Inbox::default();
            let mut got: Vec<String> = Vec::new();
            for chunk in wire.chunks(cut) {
                inbox.fill(&mut &chunk[..]).unwrap();
                while let Some(text) = inbox.next().unwrap() {
                    got.push(text);
                }
            }
            prop_assert_eq!(got, texts);
        }
    }

    #[test]
    fn decode_error_that_quotes_too_much_is_cut() {
        let mut wire = Vec::new();
        encode(&"x".repeat(1 << 20), &mut wire).unwrap();
        let error = read::<super::super::agent::ToAgent>(&mut &wire[..]).unwrap_err().to_string();
        assert!(error.contains("unknown variant") && error.len() < 2 * bounds::REMARK_MAX, "{} bytes", error.len());
    }

    #[test]
    fn huge_length_is_refused_before_memory_is_allocated() {
        let wire = u32::MAX.to_le_bytes();
        assert!(matches!(read::<String>(&mut &wire[..]), Err(FrameError::TooLong(..))));
    }
}
