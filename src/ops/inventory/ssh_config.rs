//! Reads the names of hosts in an ssh_config(5). Their settings are left to ssh (`ssh -G`).

use super::{FoundHost, Inventory};
use std::path::{Path, PathBuf};

/// Deepest nesting of included files, as in ssh itself.
const DEEP: usize = 16;

/// Reads a configuration and its included files. `read` gives a file's text, `list` the files that a pattern matches.
pub fn parse(text: &str, read: &dyn Fn(&Path) -> Option<String>, list: &dyn Fn(&str) -> Vec<PathBuf>) -> Inventory {
    let mut inventory = Inventory::default();
    walk(text, read, list, 0, &mut inventory);
    inventory
}

fn walk(
    text: &str,
    read: &dyn Fn(&Path) -> Option<String>,
    list: &dyn Fn(&str) -> Vec<PathBuf>,
    depth: usize,
    inventory: &mut Inventory,
) {
    for line in text.lines() {
        let words = words(line);
        let Some((keyword, rest)) = words.split_first() else { continue };
        match keyword.to_ascii_lowercase().as_str() {
            "host" => add(rest, inventory),
            "match" => inventory.skipped.push((line.trim().to_owned(), "a condition, not a host")),
            "include" if depth < DEEP => {
                for file in rest.iter().flat_map(|pattern| list(pattern)) {
                    if let Some(text) = read(&file) {
                        walk(&text, read, list, depth + 1, inventory);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Adds the first plain name of a `Host` line; the others are aliases of the same host.
fn add(names: &[String], inventory: &mut Inventory) {
    let is_pattern = |name: &&String| name.contains(['*', '?']) || name.starts_with('!');
    match names.iter().find(|name| !is_pattern(name)) {
        Some(name) if inventory.hosts.iter().any(|host| host.name == *name) => {}
        Some(name) => inventory.hosts.push(FoundHost::named(name)),
        // `Host *` is in nearly every configuration, and is no skipped host to report.
        None if *names == ["*"] => {}
        None => inventory.skipped.push((names.join(" "), "a pattern, not a host")),
    }
}

/// `Keyword argument ..`, `Keyword=argument`, arguments perhaps in double quotes.
fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let (keyword, rest) = line.split_at(line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len()));
    if keyword.is_empty() {
        return Vec::new();
    }
    let rest = rest.trim_start().strip_prefix('=').unwrap_or(rest);
    let mut words = vec![keyword.to_owned()];
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    for c in rest.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            '#' if !quoted && !any => break,
            c if c.is_whitespace() && !quoted => {
                if std::mem::take(&mut any) {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    words.extend(any.then_some(word));
    words
}

/// True if the account or the host runs git only.
pub fn is_git_only(user: &str, host: &str) -> bool {
    const HOSTS: [&str; 7] = [
        "github.com",
        "gitlab.com",
        "bitbucket.org",
        "codeberg.org",
        "git.sr.ht",
        "ssh.dev.azure.com",
        "ssh.github.com",
    ];
    user == "git" || HOSTS.contains(&host) || host.starts_with("git-codecommit.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_alone(text: &str) -> Inventory {
        parse(text, &|_| None, &|_| Vec::new())
    }

    #[test]
    fn names_are_found_patterns_and_conditions_are_not() {
        let inventory = parse_alone(
            "# mine\nHost lab1 lab1.example.org\n  HostName 10.0.0.1\nhost=lab2\nHost \"lab3\" # here\nHost *.corp !x\n\
             Match host lab* exec \"test -e /x\"\n  User me\nHost *\n  Compression yes\nHost lab1\n",
        );
        let names: Vec<&str> = inventory.hosts.iter().map(|h| &*h.name).collect();
        assert_eq!(names, ["lab1", "lab2", "lab3"]);
        assert_eq!(inventory.skipped.len(), 2, "of `Host *` nothing is said");
        assert_eq!(inventory.skipped[0].0, "*.corp !x");
    }

    #[test]
    fn included_files_are_read_and_a_cycle_stops() {
        let list = |pattern: &str| vec![PathBuf::from(pattern)];
        let read = |path: &Path| match path.to_str() {
            Some("conf.d/a") => Some("Host a\nInclude conf.d/b\n".to_owned()),
            Some("conf.d/b") => Some("Host b\nInclude conf.d/a\n".to_owned()),
            _ => None,
        };
        let inventory = parse("Include conf.d/a conf.d/none\nHost c", &read, &list);
        let names: Vec<&str> = inventory.hosts.iter().map(|h| &*h.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn git_only_hosts_are_recognised() {
        assert!(is_git_only("git", "code.lab.example.org"));
        assert!(is_git_only("me", "github.com"));
        assert!(!is_git_only("me", "gitta.example.org"));
    }
}
