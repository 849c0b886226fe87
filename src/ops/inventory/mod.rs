//! Parses existing lists of hosts: ~/.ssh/config, an Ansible inventory, a list of names.

pub mod ansible;
pub mod ssh_config;

/// A host that could become a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundHost {
    /// Its name in the list.
    pub name: String,
    /// The host for ssh; the name unless the list has another one.
    pub host: String,
    /// Options for `ssh -o`.
    pub options: Vec<String>,
    /// Its groups.
    pub groups: Vec<String>,
}

impl FoundHost {
    /// A host that ssh knows by its name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), host: name.to_owned(), ..Self::default() }
    }
}

/// The content of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    pub hosts: Vec<FoundHost>,
    /// Entries that are no hosts for tasks, and why.
    pub skipped: Vec<(String, &'static str)>,
}

/// Reads one name a line; `#` begins a comment. `me@host` gets the name `host`.
pub fn names(text: &str) -> Inventory {
    let mut inventory = Inventory::default();
    for line in text.lines() {
        for word in line.split('#').next().unwrap_or_default().split_whitespace() {
            let name = word.rsplit_once('@').map_or(word, |(_, host)| host);
            inventory.hosts.push(FoundHost { host: word.to_owned(), ..FoundHost::named(name) });
        }
    }
    inventory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_names_may_hold_comments_and_accounts() {
        let inventory = names("h1\n# all of them\n  me@h2  h3 # here\n\n");
        let hosts: Vec<(&str, &str)> = inventory.hosts.iter().map(|h| (&*h.name, &*h.host)).collect();
        assert_eq!(hosts, [("h1", "h1"), ("h2", "me@h2"), ("h3", "h3")]);
    }
}
