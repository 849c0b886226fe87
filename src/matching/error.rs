//! Why an expression is refused, with a caret under the place.

use super::guard::is_deceptive;
use std::fmt;

/// What an expression is for: it decides the type that it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpressionRole {
    /// `submit -C`, `user --constraint`: must be true.
    Constraint,
    /// `--prefer`: a number or a bool; the higher the better.
    Preference,
    /// `server --accepts`: must be true.
    Accepts,
}

impl ExpressionRole {
    const fn word(self) -> &'static str {
        match self {
            Self::Constraint => "requirement",
            Self::Preference => "preference",
            Self::Accepts => "accepts",
        }
    }
}

/// An expression that is refused. Its text has the message, the line and a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// What the expression was for.
    pub role: ExpressionRole,
    /// What is wrong and, where there is one, the remedy.
    pub message: String,
    /// The line with the place, and the width before it; None where no single place is wrong.
    place: Option<(String, usize)>,
}

impl ExpressionError {
    /// Wrong as a whole.
    pub(super) const fn whole(role: ExpressionRole, message: String) -> Self {
        Self { role, message, place: None }
    }

    /// Wrong at a byte offset.
    pub(super) fn at(role: ExpressionRole, text: &str, at: usize, message: String) -> Self {
        let at = boundary(text, at.min(text.len()));
        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
        // A window of the line: what is far from the place helps nobody.
        let from = boundary(text, start.max(at.saturating_sub(60)));
        let to = boundary(text, end.min(at + 60));
        let before = shown(&text[from..at]);
        let width = before.chars().count();
        Self { role, message, place: Some((before + &shown(&text[at..to]), width)) }
    }
}

/// The start of the character that a byte belongs to.
fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A text as a terminal may show it.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' => out.push(' '),
            _ if is_deceptive(c) => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
    }
    out
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.role.word(), self.message)?;
        match &self.place {
            Some((line, width)) => write!(f, "\n  {line}\n  {:width$}^", ""),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExpressionError {}
