//! The gate before the parser: what passes here can neither exhaust its stack nor its time, and cannot lie on a terminal.

use super::error::{ExpressionError, ExpressionRole};
use std::ops::Range;

/// The longest source that any receiver takes.
pub(super) const MAX_BYTES: usize = 2048;
/// The most tokens that any receiver takes.
pub(super) const MAX_TOKENS: usize = 256;
/// The deepest nesting, of brackets here and of the tree later.
pub(super) const MAX_DEPTH: usize = 32;

/// A token, as far as counting and splitting need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Word,
    Literal,
    Open,
    Close,
    And,
    /// `||` or `?`: binds looser than `&&`.
    Loose,
    Sign,
}

struct Token {
    kind: TokenKind,
    at: Range<usize>,
}

/// Checks a source and finds its conjuncts: the texts between the `&&` of the outermost level, in order.
pub(super) fn inspect(text: &str, role: ExpressionRole) -> Result<Vec<Range<usize>>, ExpressionError> {
    if text.len() > MAX_BYTES {
        return Err(ExpressionError::whole(
            role,
            format!("the expression is {} bytes long, {MAX_BYTES} at most", text.len()),
        ));
    }
    let tokens = tokens(text, role)?;
    let Some(last) = tokens.last() else {
        return Err(ExpressionError::whole(role, "the expression is empty".into()));
    };
    if let Some(token) = tokens.get(MAX_TOKENS) {
        return Err(ExpressionError::at(
            role,
            text,
            token.at.start,
            format!("more than {MAX_TOKENS} words and signs: make the expression shorter"),
        ));
    }
    brackets(text, role, &tokens, last.at.end)?;
    let mut parts = Vec::new();
    split(text, &tokens, &mut parts);
    Ok(parts)
}

/// Characters that move the cursor or turn the text around.
pub(super) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

fn tokens(text: &str, role: ExpressionRole) -> Result<Vec<Token>, ExpressionError> {
    let bytes = text.as_bytes();
    let fail = |at: usize, message: &str| Err(ExpressionError::at(role, text, at, message.to_owned()));
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let from = at;
        let next = bytes.get(at + 1).copied().unwrap_or(0);
        let kind = match c {
            ' ' | '\t' | '\n' => {
                at += 1;
                continue;
            }
            _ if is_deceptive(c) => return fail(at, "a character that does not show: only inside quotes"),
            '/' if next == b'/' => {
                at += text[at..].find('\n').unwrap_or(text.len() - at);
                continue;
            }
            '"' | '\'' => {
                at = match after_text(text, at, false) {
                    Some(end) => end,
                    None => return fail(at, "this text has no end: the closing quote is missing"),
                };
                TokenKind::Literal
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let end = at + text[at..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                let word = &text[at..end];
                if matches!(bytes.get(end), Some(b'"' | b'\'')) && word.len() <= 2 {
                    let raw = word.eq_ignore_ascii_case("r");
                    if !raw {
                        return fail(at, "bytes are not used here: write the text without the letter before it");
                    }
                    at = match after_text(text, end, true) {
                        Some(end) => end,
                        None => return fail(end, "this text has no end: the closing quote is missing"),
                    };
                    TokenKind::Literal
                } else {
                    match word {
                        "and" => return fail(at, "write && for and"),
                        "or" => return fail(at, "write || for or"),
                        "not" => return fail(at, "write ! for not"),
                        "null" => return fail(at, "there is no null: write has(server.NAME) to ask whether it is set"),
                        _ => {}
                    }
                    at = end;
                    TokenKind::Word
                }
            }
            '0'..='9' => {
                at = after_number(bytes, at);
                TokenKind::Literal
            }
            '(' | '[' | '{' => {
                at += 1;
                TokenKind::Open
            }
            ')' | ']' | '}' => {
                at += 1;
                TokenKind::Close
            }
            '&' if next == b'&' => {
                at += 2;
                TokenKind::And
            }
            '|' if next == b'|' => {
                at += 2;
                TokenKind::Loose
            }
            '&' => return fail(at, "write && for and"),
            '|' => return fail(at, "write || for or"),
            '?' => {
                at += 1;
                TokenKind::Loose
            }
            '=' | '!' | '<' | '>' if next == b'=' => {
                at += 2;
                TokenKind::Sign
            }
            '=' => return fail(at, "write == to compare"),
            '!' | '<' | '>' | '+' | '-' | '*' | '/' | '%' | '.' | ',' | ':' => {
                at += 1;
                TokenKind::Sign
            }
            _ => return fail(at, "a character that means nothing here: texts stand in quotes"),
        };
        tokens.push(Token { kind, at: from..at });
    }
    Ok(tokens)
}

/// The end of the text whose opening quote stands at `at`.
fn after_text(text: &str, at: usize, raw: bool) -> Option<usize> {
    let quote = &text[at..=at];
    let triple = quote.repeat(3);
    let (close, start) = if text[at..].starts_with(&triple) { (triple.as_str(), at + 3) } else { (quote, at + 1) };
    let mut skip = false;
    for (offset, c) in text[start..].char_indices() {
        if skip {
            skip = false;
        } else if c == '\\' && !raw {
            skip = true;
        } else if text[start + offset..].starts_with(close) {
            return Some(start + offset + close.len());
        } else if c == '\n' && close.len() == 1 {
            return None;
        }
    }
    None
}

fn after_number(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b) = bytes.get(at) {
        let exponent = matches!(b, b'+' | b'-') && matches!(bytes.get(at - 1), Some(b'e' | b'E'));
        let point = *b == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(b.is_ascii_alphanumeric() || exponent || point) {
            break;
        }
        at += 1;
    }
    at
}

fn brackets(text: &str, role: ExpressionRole, tokens: &[Token], end: usize) -> Result<(), ExpressionError> {
    let mut open: Vec<(u8, usize)> = Vec::new();
    for token in tokens {
        let sign = text.as_bytes()[token.at.start];
        match token.kind {
            TokenKind::Open if open.len() == MAX_DEPTH => {
                let message = format!("nested more than {MAX_DEPTH} deep");
                return Err(ExpressionError::at(role, text, token.at.start, message));
            }
            TokenKind::Open => open.push((sign, token.at.start)),
            TokenKind::Close => match (open.pop(), sign) {
                (Some((b'(', _)), b')') | (Some((b'[', _)), b']') | (Some((b'{', _)), b'}') => {}
                _ => {
                    let message = format!("nothing is open that this '{}' could close", sign as char);
                    return Err(ExpressionError::at(role, text, token.at.start, message));
                }
            },
            _ => {}
        }
    }
    match open.pop() {
        Some((sign, _)) => Err(ExpressionError::at(role, text, end, format!("a '{}' is not closed", sign as char))),
        None => Ok(()),
    }
}

/// Adds the conjuncts of a run of tokens; brackets around the whole are seen through.
fn split(text: &str, tokens: &[Token], parts: &mut Vec<Range<usize>>) {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return };
    let mut depth = 0usize;
    let mut cuts = Vec::new();
    let mut wrapped = first.kind == TokenKind::Open;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => {
                depth = depth.saturating_sub(1);
                wrapped &= depth > 0 || index + 1 == tokens.len();
            }
            TokenKind::Loose if depth == 0 => return parts.push(first.at.start..last.at.end),
            TokenKind::And if depth == 0 => cuts.push(index),
            _ => {}
        }
    }
    if wrapped && text.as_bytes()[first.at.start] == b'(' && tokens.len() > 2 {
        return split(text, &tokens[1..tokens.len() - 1], parts);
    }
    if cuts.is_empty() {
        return parts.push(first.at.start..last.at.end);
    }
    let mut from = 0;
    for cut in cuts.into_iter().chain([tokens.len()]) {
        split(text, &tokens[from..cut], parts);
        from = cut + 1;
    }
}
