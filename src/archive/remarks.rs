//! Remarks about transferred files: the first ones as text, the others as a number, so that the list stays short.

/// Remarks that are kept as text.
const MAX: usize = 50;
/// Longest remark in bytes; a longer one is cut, for names may have some KiB.
const LONGEST: usize = 1024;

/// A bounded list of remarks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    said: Vec<String>,
    more: u64,
}

impl Remarks {
    /// Adds a remark.
    pub fn add(&mut self, remark: String) {
        if self.said.len() == MAX {
            self.more += 1;
        } else {
            self.said.push(cut(remark));
        }
    }

    /// All remarks; the last line counts those that are left out.
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
    fn remarks_are_bounded() {
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
