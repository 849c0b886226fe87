//! The page on which the latest tables stand: benches/README.md. Each bench writes between two marks of its own.

use std::path::Path;
use std::process::Command;

/// Writes a text between the marks of a bench: `<!-- NAME: written by ... -->` and `<!-- NAME: to here -->`.
pub fn keep(bench: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let page = std::fs::read_to_string(&path).expect("benches/README.md");
    let begin = page.find(&format!("<!-- {bench}: written by")).expect("the first mark");
    let from = begin + page[begin..].find("-->").expect("its end") + 3;
    let to = page.find(&format!("<!-- {bench}: to here -->")).expect("the last mark");
    std::fs::write(&path, format!("{}\n\n{text}\n\n{}", &page[..from], &page[to..])).expect("benches/README.md");
}

/// When and on what this was measured.
pub fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let said = Command::new(program).args(arguments).output().map(|done| done.stdout).unwrap_or_default();
        String::from_utf8_lossy(&said).trim().to_owned()
    };
    let (date, kernel) = (said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]), said("uname", &["-sr"]));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{date}, {cpus} processors, {kernel}, load {} at the end", load.split(' ').next().unwrap_or_default())
}
