//! `-o` and `-e` files that several starts of one task share. Each start empties them, so only the last output remains.

use super::draft::Draft;
use crate::model::command::Text;

/// A mark that distinguishes the starts of a task in the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// `%a`: the member.
    Member,
    /// `%r`: the attempt.
    Attempt,
}

impl Mark {
    const fn letter(self) -> u8 {
        match self {
            Self::Member => b'a',
            Self::Attempt => b'r',
        }
    }

    /// True if a name has this mark.
    fn is_in(self, name: &Text) -> bool {
        let mut bytes = name.as_bytes().iter();
        while let Some(byte) = bytes.next() {
            // What follows a percent sign belongs to it: `%%a` is no mark.
            if *byte == b'%' && bytes.next() == Some(&self.letter()) {
                return true;
            }
        }
        false
    }

    /// A name with this mark added before the ending.
    fn added_to(self, name: &str) -> String {
        let letter = char::from(self.letter());
        let file = name.rfind('/').map_or(0, |at| at + 1);
        match name[file..].rfind('.').filter(|at| *at > 0 && !name[file + at..].contains('%')) {
            Some(at) => format!("{}.%{letter}{}", &name[..file + at], &name[file + at..]),
            None => format!("{name}.%{letter}"),
        }
    }
}

/// A warning for each file that several members, or several attempts, overwrite, with a name that avoids it.
pub fn overwritten(draft: &Draft) -> Vec<String> {
    let members = draft.members.count();
    let attempts = draft.retries.unwrap_or(0);
    let mut lines = Vec::new();
    for (option, file) in [("-o", &draft.stdout), ("-e", &draft.stderr)] {
        let Some(file) = file else { continue };
        let shown = file.lossy();
        let absolute = shown.starts_with('/');
        // Each attempt has a directory of its own where files are sent with it. A device is no file.
        if shown.starts_with("/dev/") || !absolute && draft.files.sends_files() {
            continue;
        }
        if members > 1 && !Mark::Member.is_in(file) {
            let better = Mark::Member.added_to(&shown);
            lines.push(format!(
                "{option} {shown}: all {members} members write this file, and each start empties it; \
                 for a file each write {option} '{better}'"
            ));
        } else if attempts > 0 && !Mark::Attempt.is_in(file) {
            let better = Mark::Attempt.added_to(&shown);
            lines.push(format!(
                "{option} {shown}: each attempt empties this file; to keep the output of failed ones, write {option} '{better}'"
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::array::parse_array;
    use crate::model::command::Command;
    use crate::model::task::Members;

    fn draft(array: Option<&str>, stdout: &str) -> Draft {
        let mut draft = Draft::new(Command::new(vec!["true".into()]).unwrap(), "/tmp".into());
        draft.members = array.map_or(Members::Single, |text| parse_array(text).unwrap());
        draft.stdout = Some(stdout.into());
        draft
    }

    #[test]
    fn file_shared_by_members_is_told_with_the_name_to_write() {
        let said = overwritten(&draft(Some("1-3"), "logs/out.txt"));
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("-o logs/out.txt: all 3 members"), "{said:?}");
        assert!(said[0].ends_with("write -o 'logs/out.%a.txt'"), "{said:?}");
        let mut lines = draft(None, "out.%j");
        lines.members = Members::Lines { lines: vec!["a".into(), "b".into()], at_once: None };
        assert!(overwritten(&lines)[0].ends_with("write -o 'out.%j.%a'"));
        lines.stderr = Some("%%a".into());
        assert!(overwritten(&lines)[1].starts_with("-e %%a: all 2 members"));
    }

    #[test]
    fn file_shared_by_attempts_is_told() {
        let mut retried = draft(None, "out");
        retried.retries = Some(2);
        assert!(overwritten(&retried)[0].ends_with("write -o 'out.%r'"));
        retried.stdout = Some("out.%r".into());
        assert_eq!(overwritten(&retried), [""; 0]);
    }

    #[test]
    fn files_that_no_two_starts_share_are_not_told() {
        for (array, stdout) in [(None, "out"), (Some("1-3"), "out.%a"), (Some("7"), "out"), (Some("1-3"), "/dev/null")]
        {
            assert_eq!(overwritten(&draft(array, stdout)), [""; 0], "{array:?} {stdout}");
        }
        let mut sent = draft(Some("1-3"), "out");
        sent.files.dir = Some(".".into());
        assert_eq!(overwritten(&sent), [""; 0]);
        sent.stdout = Some("/tmp/out".into());
        assert_eq!(overwritten(&sent).len(), 1);
    }

    #[test]
    fn mark_is_added_before_the_ending() {
        for (name, better) in [("out", "out.%a"), (".out", ".out.%a"), ("d.x/out", "d.x/out.%a"), ("a.b.c", "a.b.%a.c")]
        {
            assert_eq!(Mark::Member.added_to(name), better);
        }
    }
}
