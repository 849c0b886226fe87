//! Manual pages: what clap knows of a command, then exit status, environment, files and examples.

use super::super::exit::Code;
use super::places::{FILES, OF_TASKS, VARIABLES};
use super::{Topic, topic};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};
use std::path::Path;

/// Codes of a command that names none of its own.
const USUAL: &[(Code, &str)] = &[(Code::OK, ""), (Code::REFUSED, ""), (Code::USAGE, ""), (Code::READER_GONE, "")];

/// The page grid(1).
pub fn page(into: &mut dyn Write) -> io::Result<()> {
    write(&built(), "", into)
}

/// A file for each command.
pub fn pages(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    all(&built(), "", dir)
}

fn built() -> Command {
    let mut command = super::command();
    command.build();
    command
}

fn all(command: &Command, path: &str, dir: &Path) -> io::Result<()> {
    let name = format!("grid {path}").trim_end().replace(' ', "-");
    let mut text = Vec::new();
    write(command, path, &mut text)?;
    std::fs::write(dir.join(format!("{name}.1")), text)?;
    let visible = command.get_subcommands().filter(|below| !below.is_hide_set());
    visible.into_iter().try_for_each(|below| all(below, format!("{path} {}", below.get_name()).trim_start(), dir))
}

fn write(command: &Command, path: &str, into: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command.clone()).source(format!("grid {}", env!("CARGO_PKG_VERSION"))).manual("grid");
    man.render_title(into)?;
    man.render_name_section(into)?;
    man.render_synopsis_section(into)?;
    man.render_description_section(into)?;
    let topic = topic(path);
    let notes = topic.map_or("", |topic| topic.notes);
    let mut roff = Roff::new();
    notes.split("\n\n").filter(|part| !part.is_empty()).for_each(|part| {
        roff.control("PP", []).text([roman(part)]);
    });
    roff.to_writer(into)?;
    man.render_options_section(into)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(into)?;
    }
    sections(path, topic).to_writer(into)
}

/// What clap does not know.
fn sections(path: &str, topic: Option<&Topic>) -> Roff {
    let mut roff = Roff::new();
    let own = topic.map_or(&[][..], |topic| topic.exit);
    let codes = match path {
        "" => &Code::ALL.map(|(code, _)| (code, "")),
        _ if own.is_empty() => USUAL,
        _ => own,
    };
    let codes: Vec<_> = codes.iter().map(|(code, here)| (code.shown(), code.meaning(here))).collect();
    list(&mut roff, "EXIT STATUS", codes.iter().map(|(code, meaning)| (code.as_str(), *meaning)));
    let variables = match path {
        "" => [VARIABLES, OF_TASKS].concat(),
        "run" | "submit" => OF_TASKS.to_vec(),
        _ => Vec::new(),
    };
    if !variables.is_empty() {
        list(&mut roff, "ENVIRONMENT", variables);
    }
    if path.is_empty() {
        list(&mut roff, "FILES", FILES.iter().copied());
    }
    roff.control("SH", ["EXAMPLES"]);
    for example in topic.map_or(&[][..], |topic| topic.examples) {
        // Between these two no line is filled.
        roff.control("PP", []).control("EX", []).text([roman(example.line)]).control("EE", []);
        if !example.what.is_empty() {
            roff.control("RS", ["4"]).text([roman(example.what)]).control("RE", []);
        }
    }
    if !path.is_empty() {
        roff.control("SH", ["SEE ALSO"]).text([bold("grid"), roman("(1), for all variables, files and exit codes.")]);
    }
    roff
}

fn list<'a>(roff: &mut Roff, title: &str, items: impl IntoIterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [title]);
    for (name, what) in items {
        roff.control("TP", []).text([bold(name)]).text([roman(what)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_its_sections_and_whole_examples() {
        let mut text = Vec::new();
        page(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
            let quoted = if section.contains(' ') { format!(".SH \"{section}\"") } else { format!(".SH {section}") };
            assert!(text.lines().any(|line| line == quoted), "{section}\n{text}");
        }
        assert!(text.contains(".EX\ngrid submit \\-c 4 \\-\\-mem 8G \\-\\- ./train.sh\n.EE"), "{text}");
        assert!(!text.contains('\u{a0}'));
    }

    #[test]
    fn every_visible_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        for topic in super::super::topics() {
            let name = format!("grid {}", topic.command).trim_end().replace(' ', "-");
            let text = std::fs::read_to_string(dir.path().join(format!("{name}.1"))).unwrap();
            assert!(text.contains(".SH EXAMPLES") && text.contains(".SH \"EXIT STATUS\""), "{name}");
        }
        assert!(!dir.path().join("grid-serve.1").exists());
    }
}
