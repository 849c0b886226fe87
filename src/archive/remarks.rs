//! What a person should know of files that travel: the first ones in words, the rest as a number, so that the list stays short
//! whatever a task has made.

/// So many are kept in words.
const MAX: usize = 50;
/// A longer one is cut: names may be some KiB long.
const LONGEST: usize = 1024;

/// Remarks, bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    said: Vec<String>,
    more: u64,
}

impl Remarks {
    /// Adds one.
    pub fn add(&mut self, remark: String) {
        if self.said.len() == MAX {
            self.more += 1;
        } else {
            self.said.push(cut(remark));
        }
    }

    /// All of them; the last one counts those that are left out.
    pub fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.said.push(format!("and {} more remarks of this kind", self.more));
        }
        self.said
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("..");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_stay_short_however_many_there_are() {
        let mut remarks = Remarks::default();
        for number in 0..100_000 {
            remarks.add(format!("{number}: {}", "ä".repeat(4000)));
        }
        let lines = remarks.into_lines();
        assert_eq!(lines.len(), MAX + 1);
        assert!(lines.iter().all(|line| line.len() <= LONGEST + 2));
        assert_eq!(lines[MAX], "and 99950 more remarks of this kind");
    }
}
