//! Files that travel with a task: what is sent, where the task runs, what is fetched.

use super::command::Text;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::str::FromStr;

/// The digest of a stream of bytes (BLAKE3), by which it is named.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no digest: 64 hexadecimal digits")]
pub struct BadDigest(String);

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let bad = || BadDigest(text.to_owned());
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;

    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

/// A path below a directory: names joined by `/`, none of them empty, `.` or `..`. The empty path is the directory itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct RelPath(Vec<u8>);

/// A path that does not stay below its directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("{0}: an absolute path")]
    Absolute(String),
    #[error("{0}: leads upwards")]
    Upwards(String),
    #[error("{0}: holds a NUL byte")]
    Nul(String),
}

impl RelPath {
    /// Reads a path; `.` and doubled slashes are dropped.
    pub fn new(path: &Path) -> Result<Self, BadPath> {
        let shown = || path.to_string_lossy().into_owned();
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(BadPath::Nul(shown()));
        }
        let mut joined = Self::default();
        for part in path.components() {
            match part {
                Component::Normal(name) => joined.push(name),
                Component::CurDir => {}
                Component::ParentDir => return Err(BadPath::Upwards(shown())),
                Component::RootDir | Component::Prefix(_) => return Err(BadPath::Absolute(shown())),
            }
        }
        Ok(joined)
    }

    fn push(&mut self, name: &OsStr) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name.as_bytes());
    }

    /// This path, and `more` below it.
    pub fn join(&self, more: &Self) -> Self {
        match (self.is_empty(), more.is_empty()) {
            (true, _) => more.clone(),
            (_, true) => self.clone(),
            _ => Self([self.0.as_slice(), b"/", more.0.as_slice()].concat()),
        }
    }

    /// True if it is the directory itself.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path for system calls.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names, from the top.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.0.split(|b| *b == b'/').filter(|name| !name.is_empty()).map(OsStr::from_bytes)
    }

    /// The parent and the last name; None for the directory itself.
    pub fn split(&self) -> Option<(Self, &OsStr)> {
        if self.is_empty() {
            return None;
        }
        let at = self.0.iter().rposition(|b| *b == b'/');
        Some(match at {
            Some(at) => (Self(self.0[..at].to_vec()), OsStr::from_bytes(&self.0[at + 1..])),
            None => (Self::default(), OsStr::from_bytes(&self.0)),
        })
    }

    /// The path with a suffix added to the last name.
    pub fn beside(&self, suffix: &str) -> Self {
        Self([self.0.as_slice(), suffix.as_bytes()].concat())
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(if self.is_empty() { b"." } else { &self.0 }))
    }
}

impl TryFrom<Text> for RelPath {
    type Error = BadPath;

    fn try_from(text: Text) -> Result<Self, BadPath> {
        Self::new(Path::new(text.as_os()))
    }
}

impl From<RelPath> for Text {
    fn from(path: RelPath) -> Self {
        Self::from(path.as_path().as_os_str().to_owned())
    }
}

/// The archive that a client sent with a task, named by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub bundle: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// Files, directories and links in it.
    pub files: u64,
    /// The task's directory below the root of what was sent.
    pub below: RelPath,
}

/// Where a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Workplace {
    /// The working directory on the server, as it is.
    #[default]
    There,
    /// A new directory of its own, unpacked from the archive.
    Own(Sent),
}

impl Workplace {
    /// The archive that was sent, if any.
    pub const fn sent(&self) -> Option<&Sent> {
        match self {
            Self::There => None,
            Self::Own(sent) => Some(sent),
        }
    }
}

/// The files to fetch when a member has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Paths below the task's directory; their names may be globs.
    pub patterns: Vec<RelPath>,
    /// Also fetch files that are new, or differ from those that were sent.
    pub changed: bool,
    /// The client's directory below which they land.
    pub into: Text,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_path_never_leaves_its_directory(text in "[a./]{0,12}") {
            if let Ok(path) = RelPath::new(Path::new(&text)) {
                prop_assert!(path.names().all(|name| !name.is_empty() && name != "." && name != ".."));
                prop_assert!(!path.as_bytes().starts_with(b"/"));
                prop_assert_eq!(RelPath::new(path.as_path()), Ok(path));
            }
        }

        #[test]
        fn a_digest_survives_its_text(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(Digest(bytes).to_string().parse(), Ok(Digest(bytes)));
        }
    }

    #[test]
    fn path_that_leads_out_is_refused() {
        assert_eq!(RelPath::new(Path::new("./a//b/.")).unwrap().as_bytes(), b"a/b");
        assert!(matches!(RelPath::new(Path::new("/a")), Err(BadPath::Absolute(_))));
        assert!(matches!(RelPath::new(Path::new("a/../b")), Err(BadPath::Upwards(_))));
        assert!("AB".repeat(32).parse::<Digest>().is_err());
    }
}
