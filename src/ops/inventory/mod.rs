//! Where people already have lists of their hosts: ~/.ssh/config, an Ansible inventory, a list of names. Text in, hosts out.

pub mod ansible;
pub mod ssh_config;

/// A host that could become a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundHost {
    /// As the list calls it.
    pub name: String,
    /// What ssh is to be given; the name where nothing else is said.
    pub host: String,
    /// For `ssh -o`.
    pub options: Vec<String>,
    /// Groups that it is in.
    pub groups: Vec<String>,
}

impl FoundHost {
    /// One that ssh knows by its name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), host: name.to_owned(), ..Self::default() }
    }
}

/// What a list holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    pub hosts: Vec<FoundHost>,
    /// What is no host for tasks, and why.
    pub skipped: Vec<(String, &'static str)>,
}

/// One name a line; `#` begins a remark. `me@host` is called `host`.
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
    fn a_list_of_names_may_hold_remarks_and_accounts() {
        let inventory = names("h1\n# all of them\n  me@h2  h3 # here\n\n");
        let hosts: Vec<(&str, &str)> = inventory.hosts.iter().map(|h| (&*h.name, &*h.host)).collect();
        assert_eq!(hosts, [("h1", "h1"), ("h2", "me@h2"), ("h3", "h3")]);
    }
}
