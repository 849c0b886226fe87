//! The pages: every link leads to a file, every file and type that is named exists, and a page of the architecture keeps its form.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A page of the architecture is at most this long and this wide.
const PAGE_LINES: usize = 90;
const PAGE_COLUMNS: usize = 120;
/// The map is shorter.
const MAP_LINES: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page with its path, relative to the root.
struct Page {
    path: String,
    text: String,
}

impl Page {
    fn read(path: &str) -> Self {
        Self { path: path.to_owned(), text: std::fs::read_to_string(root().join(path)).unwrap() }
    }

    /// The text without its blocks of code.
    fn prose(&self) -> String {
        let blocks = self.text.split("```");
        blocks.enumerate().filter(|(number, _)| number % 2 == 0).map(|(_, part)| part).collect()
    }

    /// The texts between backticks.
    fn quoted(&self) -> Vec<String> {
        self.prose()
            .split('`')
            .enumerate()
            .filter(|(number, _)| number % 2 == 1)
            .map(|(_, part)| part.to_owned())
            .collect()
    }

    /// The targets of its links.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        prose.match_indices("](").filter_map(|(at, _)| Some(prose[at + 2..].split_once(')')?.0.to_owned())).collect()
    }

    /// The anchors of its headings.
    fn anchors(&self) -> BTreeSet<String> {
        let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor = |heading: &str| heading.trim().to_lowercase().chars().filter(|c| kept(*c)).collect::<String>();
        self.prose()
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#')).replace(' ', "-"))
            .collect()
    }
}

/// The pages of a folder, in the order of their names.
fn folder(dir: &str) -> Vec<Page> {
    let entries = std::fs::read_dir(root().join(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    names.sort();
    names.iter().map(|name| Page::read(&format!("{dir}/{name}"))).collect()
}

fn architecture() -> Vec<Page> {
    folder("docs/architecture")
}

fn pages() -> Vec<Page> {
    let others = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "benches/README.md"];
    others.into_iter().map(Page::read).chain(folder("docs")).chain(architecture()).collect()
}

#[test]
fn links_of_pages_lead_to_files() {
    let mut wrong = Vec::new();
    for page in pages() {
        let dir = root().join(&page.path).parent().unwrap().to_owned();
        for link in page.links().into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { root().join(&page.path) } else { dir.join(file) };
            let leads = target.exists() && (anchor.is_empty() || has_anchor(&target, anchor));
            if !leads {
                wrong.push(format!("{}: ({link})", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn has_anchor(target: &Path, anchor: &str) -> bool {
    let page = Page { path: String::new(), text: std::fs::read_to_string(target).unwrap() };
    page.anchors().contains(anchor)
}

#[test]
fn files_that_pages_name_exist() {
    let sources = below("src");
    let mut wrong = Vec::new();
    for page in pages() {
        for name in page.quoted().iter().filter(|name| names_a_file(name)) {
            let ends = |source: &PathBuf| source.to_str().unwrap().ends_with(&format!("/{name}"));
            if !root().join(name).exists() && !sources.iter().any(ends) {
                wrong.push(format!("{}: `{name}`", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn types_that_pages_of_the_architecture_name_exist() {
    let sources: String = below("src").iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let words: BTreeSet<&str> = sources.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut wrong = Vec::new();
    for page in architecture() {
        for name in page.quoted().iter().filter(|name| names_a_type(name)) {
            if !name.split("::").all(|part| words.contains(part)) {
                wrong.push(format!("{}: `{name}`", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `Type`, `Type::function` or `Type::Variant`.
fn names_a_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.contains(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == ':')
}

/// Is this the path of a file of ours? Names with capital letters are placeholders.
fn names_a_file(name: &str) -> bool {
    let folders = ["src/", "tests/", "benches/", "fixtures/", ".ci/", ".cargo/"];
    let ours = name.ends_with(".rs") || folders.iter().any(|folder| name.starts_with(folder));
    ours && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '/' | '.' | '_' | '-'))
}

fn below(dir: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn pages_of_the_architecture_keep_their_form() {
    let map = Page::read("ARCHITECTURE.md");
    let mut wrong = Vec::new();
    for page in architecture() {
        let lines: Vec<&str> = page.text.lines().collect();
        if lines.len() > PAGE_LINES {
            wrong.push(format!("{}: {} lines", page.path, lines.len()));
        }
        if !lines[0].starts_with("# ") || lines[2] != "```text" {
            wrong.push(format!("{}: it begins with a heading and a picture", page.path));
        }
        if let Some(line) = lines.iter().find(|line| line.chars().count() > PAGE_COLUMNS) {
            wrong.push(format!("{}: wider than {PAGE_COLUMNS} columns: {line}", page.path));
        }
        if !map.links().contains(&page.path) {
            wrong.push(format!("{}: not in ARCHITECTURE.md", page.path));
        }
    }
    if map.text.lines().count() > MAP_LINES {
        wrong.push(format!("ARCHITECTURE.md: more than {MAP_LINES} lines"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
