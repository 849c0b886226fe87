//! Bounds on the length, depth and size of what another process sends, and the checks. The store checks again before a
//! value that can't be read back would be written.

use super::attribute::Value;
use super::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest text that names something: a host, a kernel, a version, an application.
pub const WORD_MAX: usize = 1 << 10;
/// The longest text for people: an error, a reason, a remark. Longer ones are cut.
pub const REMARK_MAX: usize = 4 << 10;
/// The most remarks that are kept of one message.
pub const REMARKS_MAX: usize = 100;
/// The longest path.
pub const PATH_MAX: usize = 4 << 10;
/// The longest shell lines or expression.
pub const LINES_MAX: usize = 64 << 10;
/// The deepest nesting of lists and maps. `serde_json` reads 127 levels, SQLite's JSON functions 1,000.
pub const DEPTH_MAX: usize = 16;
/// The longest value of an attribute: texts, names and eight bytes for each number.
pub const VALUE_MAX: usize = 256 << 10;
/// All values that one message holds for one owner, together.
pub const VALUES_MAX: usize = 1 << 20;
/// All attributes of its client that travel with a task, together: they stand in each class of tasks.
pub const CLIENT_VALUES_MAX: usize = 64 << 10;
/// The longest name of an attribute.
pub const ATTRIBUTE_NAME_MAX: usize = 63;
/// The largest number of bytes, or of anything that is summed: the sum of thousands fits into an INTEGER of SQLite.
pub const AMOUNT_MAX: u64 = 1 << 50;
/// The largest measured number: load, idle processors, power.
pub const MEASURE_MAX: f64 = 1e15;
/// The latest time that is accepted: the library that writes times as text ends a year later.
pub const TIME_MAX: Timestamp = Timestamp(253_370_764_799_999);
/// The longest length of time. More than anyone may type (10 years), and far from where clocks overflow.
pub const LENGTH_MAX: Duration = Duration::from_secs(11 * 366 * 86_400);

/// Why a value can't be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    #[error("{len} bytes, at most {max} are taken")]
    Long { len: usize, max: usize },
    #[error("{len} entries, at most {max} are taken")]
    Many { len: usize, max: usize },
    #[error("lists in lists deeper than {DEPTH_MAX}")]
    Deep,
    #[error("it is empty")]
    Empty,
    #[error("it holds a NUL byte")]
    Nul,
    #[error("it holds a control character")]
    Control,
    #[error("{0} is no finite number")]
    NotFinite(&'static str),
    #[error("{0} is out of range")]
    Range(String),
    #[error("{0:?} is no name of an attribute")]
    AttributeName(String),
}

/// The result of a check.
pub type Checked = Result<(), OutOfBounds>;

/// Checks a length in bytes.
pub const fn long(len: usize, max: usize) -> Checked {
    if len > max { Err(OutOfBounds::Long { len, max }) } else { Ok(()) }
}

/// Checks a number of entries.
pub const fn many(len: usize, max: usize) -> Checked {
    if len > max { Err(OutOfBounds::Many { len, max }) } else { Ok(()) }
}

/// Checks a text: at most `max` bytes without NUL; newlines and tabs are allowed.
pub fn text(text: &str, max: usize) -> Checked {
    bytes(text.as_bytes(), max)
}

/// Checks bytes: at most `max` without NUL.
pub fn bytes(bytes: &[u8], max: usize) -> Checked {
    long(bytes.len(), max)?;
    if bytes.contains(&0) { Err(OutOfBounds::Nul) } else { Ok(()) }
}

/// Checks a text that names something: one line without control characters.
pub fn word(text: &str) -> Checked {
    long(text.len(), WORD_MAX)?;
    match text.chars().find(|c| c.is_control()) {
        Some('\0') => Err(OutOfBounds::Nul),
        Some(_) => Err(OutOfBounds::Control),
        None => Ok(()),
    }
}

/// Checks that a number is finite.
pub fn finite(number: f64) -> Checked {
    match number {
        _ if number.is_nan() => Err(OutOfBounds::NotFinite("NaN")),
        _ if number.is_infinite() => Err(OutOfBounds::NotFinite("infinity")),
        _ => Ok(()),
    }
}

/// Checks a measured number: from 0 to [`MEASURE_MAX`].
pub fn measure(number: f64) -> Checked {
    finite(number)?;
    if (0.0..=MEASURE_MAX).contains(&number) { Ok(()) } else { Err(OutOfBounds::Range(number.to_string())) }
}

/// Checks a number of bytes, or of anything that is summed.
pub fn amount(number: u64) -> Checked {
    if number > AMOUNT_MAX { Err(OutOfBounds::Range(number.to_string())) } else { Ok(()) }
}

/// Checks that a number fits into an INTEGER of SQLite.
pub fn counter(number: u64) -> Checked {
    if i64::try_from(number).is_err() { Err(OutOfBounds::Range(number.to_string())) } else { Ok(()) }
}

/// Checks a point in time: from 1970 to 9998.
pub fn time(at: Timestamp) -> Checked {
    if (Timestamp(0)..=TIME_MAX).contains(&at) {
        Ok(())
    } else {
        Err(OutOfBounds::Range(format!("a time of {} ms since 1970", at.0)))
    }
}

/// Checks that a length of time can be added to any clock.
pub fn length(length: Duration) -> Checked {
    if length > LENGTH_MAX {
        return Err(OutOfBounds::Range(format!("a length of time of {} s", length.as_secs())));
    }
    Ok(())
}

/// Checks that a value can be stored, read back and sent: finite, not too deep, no NUL in its texts. Gives its size.
pub fn value(value: &Value, max: usize) -> Result<usize, OutOfBounds> {
    let mut size = 0;
    sized(value, DEPTH_MAX, max, &mut size)?;
    Ok(size)
}

fn sized(value: &Value, depth: usize, max: usize, size: &mut usize) -> Checked {
    *size += 8;
    match value {
        Value::Bool(_) | Value::Int(_) => {}
        Value::Double(number) => finite(*number)?,
        Value::Text(words) => {
            *size += words.len();
            bytes(words.as_bytes(), max)?;
        }
        Value::List(_) | Value::Map(_) if depth == 0 => return Err(OutOfBounds::Deep),
        Value::List(items) => items.iter().try_for_each(|item| sized(item, depth - 1, max, size))?,
        Value::Map(entries) => {
            for (name, item) in entries {
                *size += name.len();
                bytes(name.as_bytes(), max)?;
                sized(item, depth - 1, max, size)?;
            }
        }
    }
    long(*size, max)
}

/// Checks values by name: names that expressions can use, at most `max` bytes together.
pub fn values(values: &BTreeMap<Box<str>, Value>, max: usize) -> Checked {
    let mut size = 0;
    for (name, of) in values {
        if super::attribute::check_attribute_name(name).is_err() {
            return Err(OutOfBounds::AttributeName(name.chars().take(ATTRIBUTE_NAME_MAX).collect()));
        }
        size += name.len() + value(of, VALUE_MAX.min(max))?;
        long(size, max)?;
    }
    Ok(())
}

/// Cuts a text for people, and removes NUL bytes.
pub fn cut(text: &mut String) {
    cut_to(text, REMARK_MAX);
}

/// [`cut`] to another length.
pub fn cut_to(text: &mut String, max: usize) {
    if text.len() > max {
        let at = boundary(text, max);
        let more = text.len() - at;
        text.truncate(at);
        text.push_str(&format!(".. ({more} bytes more)"));
    }
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

/// The last character boundary up to `max`.
pub fn boundary(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Cuts each of a list of remarks, and the list.
pub fn cut_all(remarks: &mut Vec<String>) {
    if remarks.len() > REMARKS_MAX {
        let more = remarks.len() - REMARKS_MAX;
        remarks.truncate(REMARKS_MAX);
        remarks.push(format!("({more} more)"));
    }
    remarks.iter_mut().for_each(cut);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Int(1), |inner, _| Value::List(vec![inner]))
    }

    #[test]
    fn value_is_refused_where_it_could_not_be_read_back() {
        assert_eq!(value(&nested(DEPTH_MAX), VALUE_MAX), Ok(8 * (DEPTH_MAX + 1)));
        assert_eq!(value(&nested(DEPTH_MAX + 1), VALUE_MAX), Err(OutOfBounds::Deep));
        for (bad, why) in [
            (Value::Double(f64::NAN), OutOfBounds::NotFinite("NaN")),
            (Value::List(vec![Value::Double(f64::NEG_INFINITY)]), OutOfBounds::NotFinite("infinity")),
            (Value::Text("a\0b".into()), OutOfBounds::Nul),
            (Value::Map([("a\0".into(), Value::Int(1))].into()), OutOfBounds::Nul),
            (Value::Text("x".repeat(200).into()), OutOfBounds::Long { len: 200, max: 100 }),
            (Value::List(vec![Value::Int(1); 20]), OutOfBounds::Long { len: 104, max: 100 }),
        ] {
            assert_eq!(value(&bad, 100), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn values_are_bounded_together_and_their_names_are_names() {
        let of = |name: &str, count: usize| -> BTreeMap<Box<str>, Value> {
            (0..count).map(|at| (format!("{name}{at}").into(), Value::Text("x".repeat(100).into()))).collect()
        };
        assert_eq!(values(&of("a", 10), 2_000), Ok(()));
        assert!(matches!(values(&of("a", 20), 2_000), Err(OutOfBounds::Long { .. })));
        assert_eq!(values(&of("no name", 1), 2_000), Err(OutOfBounds::AttributeName("no name0".into())));
    }

    #[test]
    fn cut_text_says_how_much_is_missing_and_holds_no_nul() {
        let mut long = "ä".repeat(REMARK_MAX);
        cut(&mut long);
        assert!(long.ends_with("ä.. (4096 bytes more)"), "{}", &long[REMARK_MAX..]);
        let mut nul = "a\0b".to_owned();
        cut(&mut nul);
        assert_eq!(nul, "a\u{fffd}b");
        let mut many = vec!["x".to_owned(); REMARKS_MAX + 7];
        cut_all(&mut many);
        assert_eq!(many.last().map(String::as_str), Some("(7 more)"));
    }

    #[test]
    fn numbers_and_times_have_bounds() {
        assert!(
            measure(f64::NAN).is_err() && measure(-1.0).is_err() && measure(1e300).is_err() && measure(64.0).is_ok()
        );
        assert!(amount(u64::MAX).is_err() && amount(1 << 40).is_ok() && counter(1 << 63).is_err());
        assert!(time(Timestamp(-1)).is_err() && time(Timestamp(i64::MAX)).is_err() && time(TIME_MAX).is_ok());
        assert_eq!(TIME_MAX.to_string(), "9998-12-31T23:59:59.999Z");
        assert!(length(Duration::MAX).is_err() && length(Duration::from_secs(86_400)).is_ok());
    }
}
