//! Reads the hosts of an Ansible inventory, INI or YAML, with their groups and how to reach them.

use super::{FoundHost, Inventory};
use std::collections::{BTreeMap, HashMap};
use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlLoader};

/// Longest range of hosts; a longer one is a typing error.
const RANGE_MAX: usize = 10_000;
/// Most digits of a number in a name.
const WIDTH_MAX: usize = 10;
/// More hosts are no inventory that somebody wrote.
const HOSTS_MAX: usize = 100_000;

/// Reads either form: YAML is a mapping of groups.
pub fn parse(text: &str) -> Result<Inventory, String> {
    let ini = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with(['#', ';']) && *l != "---");
    if ini.is_some_and(|line| line.ends_with(':') || line.contains(": ")) { yaml(text) } else { ini_form(text) }
}

/// Variables on how to reach a host.
type HostVariables = BTreeMap<String, String>;

/// An inventory, as far as it is read.
#[derive(Debug, Default)]
struct InventoryReading {
    inventory: Inventory,
    /// Where each host stands in it.
    places: HashMap<String, usize>,
}

impl InventoryReading {
    fn add(&mut self, name: &str, group: Option<&str>, variables: &HostVariables) -> Result<(), String> {
        let local = variables.get("ansible_connection").is_some_and(|kind| kind == "local");
        if local || name == "localhost" {
            self.inventory.skipped.push((name.to_owned(), "this host"));
            return Ok(());
        }
        let at = match self.places.get(name) {
            Some(at) => *at,
            None if self.places.len() >= HOSTS_MAX => return Err(format!("it names more than {HOSTS_MAX} hosts")),
            None => {
                self.places.insert(name.to_owned(), self.inventory.hosts.len());
                self.inventory.hosts.push(FoundHost::named(name));
                self.inventory.hosts.len() - 1
            }
        };
        if let Some(found) = self.inventory.hosts.get_mut(at) {
            describe(found, group, variables);
        }
        Ok(())
    }
}

/// Adds what a line of an inventory says of a host.
fn describe(found: &mut FoundHost, group: Option<&str>, variables: &HostVariables) {
    let new = |group: &&str| !["all", "ungrouped"].contains(group) && !found.groups.iter().any(|known| known == group);
    if let Some(group) = group.filter(new) {
        found.groups.push(group.to_owned());
    }
    let get = |names: [&str; 2]| names.iter().find_map(|name| variables.get(*name));
    if let Some(host) = get(["ansible_host", "ansible_ssh_host"]) {
        found.host = host.clone();
    }
    let options = [
        ("User", get(["ansible_user", "ansible_ssh_user"])),
        ("Port", get(["ansible_port", "ansible_ssh_port"])),
        ("IdentityFile", get(["ansible_ssh_private_key_file", "ansible_private_key_file"])),
    ];
    for (option, value) in options {
        if let Some(value) = value {
            found.options.retain(|known| !known.starts_with(&format!("{option}=")));
            found.options.push(format!("{option}={value}"));
        }
    }
}

fn ini_form(text: &str) -> Result<Inventory, String> {
    let mut reading = InventoryReading::default();
    let mut group: Option<String> = None;
    let mut hosts = true;
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            // `[web:vars]` and `[web:children]` hold no hosts.
            hosts = !section.contains(':');
            group = Some(section.to_owned());
            continue;
        }
        if !hosts {
            continue;
        }
        let words = shlex::split(line).unwrap_or_default();
        let Some((pattern, rest)) = words.split_first() else { continue };
        let pairs = rest.iter().take_while(|word| !word.starts_with('#'));
        let variables =
            pairs.filter_map(|word| word.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        for name in expand(pattern) {
            reading.add(&name, group.as_deref(), &variables)?;
        }
    }
    Ok(reading.inventory)
}

/// `web[01:03].lab` is three hosts. A pattern of more than [`RANGE_MAX`] is kept as a name.
fn expand(pattern: &str) -> Vec<String> {
    let mut names = vec![pattern.to_owned()];
    // All of them have the same ranges left, for a number makes no bracket.
    while let Some(of_each) = names.first().and_then(|name| first_range(name)).map(|names| names.len()) {
        if names.len().saturating_mul(of_each) > RANGE_MAX {
            return vec![pattern.to_owned()];
        }
        names = names.iter().filter_map(|name| first_range(name)).flatten().collect();
    }
    names
}

/// The names that the first range of a pattern stands for; None: it has none.
fn first_range(pattern: &str) -> Option<impl ExactSizeIterator<Item = String>> {
    let (head, rest) = pattern.split_once('[')?;
    let (range, tail) = rest.split_once(']')?;
    let (from, to) = range.split_once(':')?;
    let (to, step) = to.split_once(':').unwrap_or((to, "1"));
    let (first, last, step): (u32, u32, usize) = (from.parse().ok()?, to.parse().ok()?, step.parse().ok()?);
    let (first, last) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
    let short = last.checked_sub(first)? < RANGE_MAX && step > 0 && from.len() <= WIDTH_MAX;
    short.then(|| (first..last + 1).step_by(step).map(move |n| format!("{head}{n:0width$}{tail}", width = from.len())))
}

fn yaml(text: &str) -> Result<Inventory, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    let mut reading = InventoryReading::default();
    for (name, group) in documents.iter().filter_map(Yaml::as_hash).flatten() {
        group_of(&mut reading, name.as_str().unwrap_or_default(), group, &HostVariables::new(), 0)?;
    }
    Ok(reading.inventory)
}

fn group_of(
    reading: &mut InventoryReading,
    name: &str,
    group: &Yaml,
    above: &HostVariables,
    depth: usize,
) -> Result<(), String> {
    const DEEP: usize = 32;
    let Some(group) = group.as_hash().filter(|_| depth < DEEP) else { return Ok(()) };
    let part = |key: &str| group.get(&Yaml::String(key.to_owned())).and_then(Yaml::as_hash);
    let mut variables = above.clone();
    variables.extend(part("vars").map(scalars).unwrap_or_default());
    for (host, own) in part("hosts").into_iter().flatten() {
        let mut all = variables.clone();
        all.extend(own.as_hash().map(scalars).unwrap_or_default());
        for host in expand(&text_of(host).unwrap_or_default()) {
            reading.add(&host, Some(name), &all)?;
        }
    }
    for (child, below) in part("children").into_iter().flatten() {
        group_of(reading, child.as_str().unwrap_or_default(), below, &variables, depth + 1)?;
    }
    Ok(())
}

fn scalars(hash: &Hash) -> HostVariables {
    hash.iter().filter_map(|(name, value)| Some((name.as_str()?.to_owned(), text_of(value)?))).collect()
}

fn text_of(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(inventory: &Inventory) -> Vec<String> {
        let line = |h: &FoundHost| format!("{} {} {} {}", h.name, h.host, h.options.join(","), h.groups.join(","));
        inventory.hosts.iter().map(line).collect()
    }

    #[test]
    fn the_ini_form_with_ranges_groups_and_variables() {
        let inventory = parse(
            "# mine\nlocalhost ansible_connection=local\nmail ansible_host=10.0.0.9 ansible_user='me' # here\n\
             [web]\nweb[01:03].lab ansible_port=2222\n[gpu]\nweb02.lab\n[web:vars]\nx=1\n[all:children]\nweb\n",
        )
        .unwrap();
        assert_eq!(
            lines(&inventory),
            [
                "mail 10.0.0.9 User=me ",
                "web01.lab web01.lab Port=2222 web",
                "web02.lab web02.lab Port=2222 web,gpu",
                "web03.lab web03.lab Port=2222 web",
            ]
        );
        assert_eq!(inventory.skipped, [("localhost".to_owned(), "this host")]);
    }

    #[test]
    fn the_yaml_form_with_children_and_inherited_variables() {
        let inventory = parse(
            "---\nall:\n  hosts:\n    mail: {ansible_host: 10.0.0.9}\n  children:\n    web:\n      vars: {ansible_user: me}\n      hosts:\n        \
             web[1:2]:\n          ansible_port: 2222\n    gpu:\n      hosts:\n        web1:\n",
        )
        .unwrap();
        assert_eq!(
            lines(&inventory),
            ["mail 10.0.0.9  ", "web1 web1 User=me,Port=2222 web,gpu", "web2 web2 User=me,Port=2222 web"]
        );
        assert!(parse("all: [unclosed\n").is_err());
    }

    #[test]
    fn malformed_range_is_kept_as_a_name() {
        for odd in [
            "web[3:1]",
            "web[18446744073709551610:18446744073709551615]",
            "web[00000000001:2]",
            "web[a:c]",
            "web[1:99999999]",
            "web[1:2:0]",
            "web[",
        ] {
            assert_eq!(expand(odd), [odd]);
        }
        let many: String = (0..11).map(|n| format!("h{n}x[1:9999]\n")).collect();
        assert_eq!(parse(&many).unwrap_err(), "it names more than 100000 hosts");
        assert_eq!(expand("a[1:2]b[1:2]"), ["a1b1", "a1b2", "a2b1", "a2b2"]);
        let product = "b[1:142:2].x b[0:1442:2].x b[0:143:2]";
        assert_eq!(expand(product), [product], "71 x 722 x 72 names");
    }
}
