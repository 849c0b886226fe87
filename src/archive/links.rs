//! Targets of links: rewritten so that they lead to the same place in the archive on any host, or recognised as leading out of it.

use crate::model::files::RelPath;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A directory or file of this host, and its path in an archive.
#[derive(Debug, Clone)]
pub struct LinkSource {
    /// The path as it was given: links may contain it.
    named: PathBuf,
    /// The path without links.
    real: PathBuf,
    at: RelPath,
}

impl LinkSource {
    /// A source that exists.
    pub fn new(named: &Path, at: RelPath) -> std::io::Result<Self> {
        Ok(Self { named: named.to_owned(), real: named.canonicalize()?, at })
    }

    /// The path in the archive of a path on this host, if it is inside.
    pub fn holds(&self, path: &Path) -> Option<RelPath> {
        let below = path.strip_prefix(&self.real).or_else(|_| path.strip_prefix(&self.named)).ok()?;
        Some(self.at.join(&RelPath::new(below).ok()?))
    }
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// To a place in the archive, by this target.
    Inside {
        target: Vec<u8>,
    },
    Out,
}

/// Where the link at `from` leads, which is packed as `path`. Its target need not exist, and is not looked at.
pub fn leads(sources: &[LinkSource], path: &RelPath, from: &Path, target: &[u8]) -> Leads {
    if stays_inside(path, target) {
        return Leads::Inside { target: target.to_vec() };
    }
    let found = resolved(from, Path::new(OsStr::from_bytes(target)));
    let to = found.and_then(|found| sources.iter().find_map(|source| source.holds(&found)));
    match to {
        Some(to) => Leads::Inside { target: relative(path, &to) },
        None => Leads::Out,
    }
}

/// True if a link at this path leads to a place below the directory. `..` is allowed only at the beginning of the target, and no
/// more often than the link is deep: then this holds wherever other such links lead.
pub fn stays_inside(path: &RelPath, target: &[u8]) -> bool {
    let depth = path.names().count().saturating_sub(1);
    let absolute = target.starts_with(b"/");
    let mut names = target.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let up = names.by_ref().take_while(|name| *name == b"..").count();
    // `take_while` has consumed the first name that is not `..`.
    !absolute && up <= depth && names.all(|name| name != b"..")
}

/// The absolute path of a target. `..` after a link leads up from where the link leads: only then the disk is read.
fn resolved(from: &Path, target: &Path) -> Option<PathBuf> {
    let (mut path, mut is_real) =
        if target.is_absolute() { (PathBuf::from("/"), true) } else { (from.parent()?.canonicalize().ok()?, true) };
    for part in target.components() {
        match part {
            Component::Normal(name) => {
                path.push(name);
                is_real = false;
            }
            Component::ParentDir => {
                if !is_real {
                    path = path.canonicalize().ok()?;
                    is_real = true;
                }
                path.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}

/// The relative path from the directory of `path` to `to`.
fn relative(path: &RelPath, to: &RelPath) -> Vec<u8> {
    let mut from: Vec<&OsStr> = path.names().collect();
    from.pop();
    let to: Vec<&OsStr> = to.names().collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| &b".."[..]);
    let way: Vec<&[u8]> = up.chain(to[shared..].iter().map(|name| name.as_bytes())).collect();
    if way.is_empty() { b".".to_vec() } else { way.join(&b'/') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn rel(path: &str) -> RelPath {
        RelPath::new(Path::new(path)).unwrap()
    }

    /// The packed target of a link at `path` below `root`. None: it leads out.
    fn packed(root: &Path, path: &str, target: &str) -> Option<String> {
        let sources = [LinkSource::new(root, RelPath::default()).unwrap()];
        match leads(&sources, &rel(path), &root.join(path), target.as_bytes()) {
            Leads::Inside { target } => Some(String::from_utf8(target).unwrap()),
            Leads::Out => None,
        }
    }

    #[test]
    fn link_inside_its_directory_becomes_relative_and_others_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(dir.path().join("outside/deep")).unwrap();
        symlink(dir.path().join("outside/deep"), root.join("way")).unwrap();
        symlink("a/b", root.join("short")).unwrap();
        symlink(&root, dir.path().join("alias")).unwrap();
        let absolute = |below: &str| root.join(below).to_str().unwrap().to_owned();
        let into = |path, target: &str| packed(&root, path, target);
        // Absolute targets, existing or not: a file, itself, the directory.
        assert_eq!(into("l", &absolute("a/b")).unwrap(), "a/b");
        assert_eq!(into("a/b/l", &absolute("x")).unwrap(), "../../x");
        assert_eq!(into("a/l", &absolute("a/nothing")).unwrap(), "nothing");
        assert_eq!(into("l", &absolute("l")).unwrap(), "l");
        assert_eq!(into("l", root.to_str().unwrap()).unwrap(), ".");
        assert_eq!(into("a/l", root.to_str().unwrap()).unwrap(), "..");
        // By another name of the directory.
        let alias = dir.path().join("alias");
        assert_eq!(packed(&alias, "a/l", alias.join("x").to_str().unwrap()).unwrap(), "../x");
        assert_eq!(packed(&alias, "a/l", &absolute("x")).unwrap(), "../x");
        // Relative targets stay as they are; `..` in the middle is resolved.
        assert_eq!(into("a/l", "../x/y").unwrap(), "../x/y");
        assert_eq!(into("a/l", "./b/../c").unwrap(), "c");
        assert_eq!(into("l", "../root/a").unwrap(), "a");
        assert_eq!(into("l", "short/../c").unwrap(), "a/c", "up from where the link leads");
        for out in ["/", "..", "../outside", "a/../..", "way/../x", "/etc/passwd", "nothing/../../x"] {
            assert_eq!(into("l", out), None, "{out}");
        }
        assert_eq!(into("l", &format!("{}x", root.display())), None, "a directory whose name begins alike");
        assert_eq!(into("a/b/l", &absolute("../outside")), None);
    }

    #[test]
    fn link_between_sources_becomes_relative() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["one", "two/data"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let source = |named: &str, at: &str| LinkSource::new(&dir.path().join(named), rel(at)).unwrap();
        let sources = [source("one", "one"), source("two/data", "data")];
        let target = dir.path().join("two/data/f");
        let found = leads(&sources, &rel("one/l"), &dir.path().join("one/l"), target.as_os_str().as_bytes());
        assert_eq!(found, Leads::Inside { target: b"../data/f".to_vec() });
    }

    proptest! {
        #[test]
        fn target_of_a_packed_link_never_leads_out(path in "(a/|b/){0,3}l", target in "/?(\\.\\./|a/|\\./|l/){0,6}(\\.\\.|a)") {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap();
            fs::create_dir_all(root.join("a/a/b")).unwrap();
            symlink("a/a", root.join("b")).unwrap();
            if let Some(packed) = packed(&root, &path, &target) {
                prop_assert!(stays_inside(&rel(&path), packed.as_bytes()), "{} -> {}: {}", path, target, packed);
            }
        }
    }
}
