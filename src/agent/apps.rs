//! Applications: the programs of a watch list that PATH finds, and those that a probe script reports.

use super::prologue::Variables;
use super::spool::write_atomically;
use super::tool::{self, found_in};
use crate::model::attribute::{Value, check_attribute_name, is_built_in};
use crate::model::demand::Version;
use crate::model::name::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The file that keeps the versions.
const FILE: &str = "apps";
const VERSION_LIMIT: Duration = Duration::from_secs(2);
const SCRIPT_LIMIT: Duration = Duration::from_secs(10);

/// Applications found and their versions, where they report one.
pub type Apps = BTreeMap<Name, Option<Version>>;

/// The version of a program, and the time of modification at which its file was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    modified: (i64, i64),
    version: Option<Version>,
}

/// The versions of programs, by the path of their file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Versions(BTreeMap<PathBuf, Known>);

impl Versions {
    /// Reads what an earlier reading stored in `dir`.
    pub fn kept(dir: &Path) -> Self {
        std::fs::read(dir.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Stores them for the next reading. On a full disk nothing is stored, and the programs are asked again.
    pub fn keep(&self, dir: &Path) {
        let _ = write_atomically(dir, FILE, &serde_json::to_vec(self).unwrap_or_default());
    }
}

/// Finds the names on PATH, of our environment or another. Programs that changed since they were last asked for their version are asked
/// again, in parallel. True: at least one was asked.
pub fn watched(watch: &[String], of: Option<&Variables>, known: &mut Versions) -> (Apps, bool) {
    let path = match of {
        Some(variables) => variables.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone()),
        None => std::env::var_os("PATH"),
    }
    .unwrap_or_default();
    let found: Vec<(Name, PathBuf)> =
        watch.iter().filter_map(|name| Some((name.parse().ok()?, found_in(&path, name)?))).collect();
    let modified = |path: &Path| path.metadata().map_or((0, 0), |m| (m.mtime(), m.mtime_nsec()));
    let asked: Vec<(PathBuf, Known)> = std::thread::scope(|scope| {
        let is_new = |path: &&PathBuf| known.0.get(*path).is_none_or(|k| k.modified != modified(path));
        let asking: Vec<_> = found
            .iter()
            .map(|(_, path)| path)
            .filter(is_new)
            .map(|path| {
                scope.spawn(move || (path.clone(), Known { modified: modified(path), version: version_of(path, of) }))
            })
            .collect();
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let any = !asked.is_empty();
    known.0.extend(asked);
    let version = |path: &PathBuf| known.0.get(path).and_then(|k| k.version.clone());
    (found.into_iter().map(|(name, path)| (name, version(&path))).collect(), any)
}

fn version_of(path: &Path, of: Option<&Variables>) -> Option<Version> {
    // Many print it on stderr, some then exit with a code: neither matters.
    let script = "\"$0\" --version 2>&1; exit 0";
    let said = tool::run(shell(of).arg("-c").arg(script).arg(path), VERSION_LIMIT).ok()?;
    said.lines().take(3).flat_map(str::split_whitespace).find_map(version_like)
}

/// `sh` in our environment, or in another.
fn shell(of: Option<&Variables>) -> Command {
    let mut command = Command::new("/bin/sh");
    if let Some(variables) = of {
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    }
    command
}

/// `4.1.2`, `v22.04`, `(GNU)` not: a digit first (after a `v`) and a point between digits.
fn version_like(word: &str) -> Option<Version> {
    let word = word.trim_matches(|c: char| "(),;:\"'".contains(c));
    let Version(word) = Version::new(word);
    let numbered = word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let plain = word.len() <= 40 && word.chars().all(|c| c.is_ascii_alphanumeric() || ".-_+~".contains(c));
    (numbered && plain).then(|| Version(word.trim_end_matches('.').into()))
}

/// Runs the probe script; `name=value` lines are attributes, `app.NAME=VERSION` lines applications.
pub fn probe(
    script: &str,
    of: Option<&Variables>,
    apps: &mut Apps,
    complaints: &mut Vec<String>,
) -> BTreeMap<Box<str>, Value> {
    match tool::run(shell(of).args(["-c", script]).current_dir("/"), SCRIPT_LIMIT) {
        Ok(said) => parse_probe(&said, apps, complaints),
        Err(error) => {
            complaints.push(format!("probe script: {error}"));
            BTreeMap::new()
        }
    }
}

fn parse_probe(said: &str, apps: &mut Apps, complaints: &mut Vec<String>) -> BTreeMap<Box<str>, Value> {
    let mut all: BTreeMap<Box<str>, Vec<Value>> = BTreeMap::new();
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once('=') else {
            complaints.push(format!("probe script: {line:?} is no name=value"));
            continue;
        };
        if let Some(app) = name.strip_prefix("app.") {
            match app.parse() {
                Ok(app) => drop(apps.insert(app, (!value.is_empty()).then(|| Version(value.into())))),
                Err(error) => complaints.push(format!("probe script: {error}")),
            }
        } else if let Err(error) = check_attribute_name(name) {
            complaints.push(format!("probe script: {error}"));
        } else if is_built_in(name) || name == "os_version" {
            complaints.push(format!("probe script: {name} is built in, and can't be set; give it another name"));
        } else if value.len() > 4096 || value.chars().any(char::is_control) {
            complaints.push(format!("probe script: the value of {name} is too long or holds a control character"));
        } else {
            all.entry(name.into()).or_default().push(Value::printed(value));
        }
    }
    let one = |mut values: Vec<Value>| if values.len() == 1 { values.remove(0) } else { Value::List(values) };
    all.into_iter().map(|(name, values)| (name, one(values))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_the_output_of_a_program() {
        let first = |said: &str| said.split_whitespace().find_map(version_like).map(|v| v.0.to_string());
        assert_eq!(first("ffmpeg version 5.1.4-0+deb12u1 Copyright (c) 2000-2023"), Some("5.1.4-0+deb12u1".into()));
        assert_eq!(first("Blender 4.1.0"), Some("4.1.0".into()));
        assert_eq!(first("Python 3.11.2"), Some("3.11.2".into()));
        assert_eq!(first("usage: x [--help]"), None);
    }

    #[test]
    fn probe_script_replaces_nothing_that_is_built_in() {
        let (mut apps, mut complaints) = (Apps::new(), Vec::new());
        let all =
            parse_probe("load1=0\ncpus=99\nshared_account=true\nos_version=1\nrack=007\n", &mut apps, &mut complaints);
        assert_eq!(all, [("rack".into(), Value::Text("007".into()))].into());
        assert_eq!(complaints.len(), 4, "{complaints:?}");
        assert_eq!(complaints[0], "probe script: load1 is built in, and can't be set; give it another name");
    }

    #[test]
    fn probe_script_lines_become_attributes_and_applications() {
        let (mut apps, mut complaints) = (Apps::new(), Vec::new());
        let said = "rack=7\ndisk=a\ndisk=b\napp.blender=4.1\napp.x=\nnonsense\n9x=1\n";
        let all = parse_probe(said, &mut apps, &mut complaints);
        assert_eq!(all["rack"], Value::Int(7));
        assert_eq!(all["disk"], Value::texts(["a", "b"]));
        assert_eq!(apps[&"blender".parse::<Name>().unwrap()], Some(Version("4.1".into())));
        assert_eq!(apps[&"x".parse::<Name>().unwrap()], None);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }
}
