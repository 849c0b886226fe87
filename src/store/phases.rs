//! Phases as the database writes them: a word in a column, the same word quoted in the text of a statement. Texts of statements
//! are constants, so the words are macros; no other file of the store spells them.

use crate::model::task::{EndState, Phase, State};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// The word of a phase.
macro_rules! word {
    (waiting) => {
        "WAITING"
    };
    (held) => {
        "HELD"
    };
    (starting) => {
        "STARTING"
    };
    (running) => {
        "RUNNING"
    };
    (completed) => {
        "COMPLETED"
    };
    (failed) => {
        "FAILED"
    };
    (timeout) => {
        "TIMEOUT"
    };
    (out_of_memory) => {
        "OUT_OF_MEMORY"
    };
    (cancelled) => {
        "CANCELLED"
    };
    (skipped) => {
        "SKIPPED"
    };
    (lost) => {
        "LOST"
    };
}

/// The phase as a literal of SQL.
macro_rules! phase {
    ($name:ident) => {
        concat!("'", $crate::store::phases::word!($name), "'")
    };
}

/// Phases as a list of SQL.
macro_rules! list {
    ($first:ident $(, $name:ident)*) => {
        concat!("(", $crate::store::phases::phase!($first), $(", ", $crate::store::phases::phase!($name),)* ")")
    };
}

/// The phases of members that a server has. The index `member_live` has this condition.
macro_rules! live {
    () => {
        $crate::store::phases::list!(starting, running)
    };
}

/// The phases of members that wait for a server, or for their user. The index `member_again` has this condition.
macro_rules! idle {
    () => {
        $crate::store::phases::list!(waiting, held)
    };
}

/// The phases of members that have not ended.
macro_rules! unended {
    () => {
        $crate::store::phases::list!(waiting, starting, running, held)
    };
}

/// All phases.
macro_rules! any {
    () => {
        $crate::store::phases::list!(
            waiting,
            starting,
            running,
            held,
            completed,
            failed,
            timeout,
            out_of_memory,
            cancelled,
            skipped,
            lost
        )
    };
}

pub(super) use {any, idle, list, live, phase, unended, word};

impl ToSql for Phase {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self {
            Self::Waiting => word!(waiting),
            Self::Held => word!(held),
            Self::Starting => word!(starting),
            Self::Running => word!(running),
            Self::Ended(end) => end.word(),
        }))
    }
}

impl FromSql for Phase {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_str()? {
            word!(waiting) => Self::Waiting,
            word!(held) => Self::Held,
            word!(starting) => Self::Starting,
            word!(running) => Self::Running,
            _ => Self::Ended(EndState::column_result(value)?),
        })
    }
}

impl ToSql for EndState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.word()))
    }
}

impl FromSql for EndState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?;
        let state: State = word.parse().map_err(FromSqlError::other)?;
        let no_end = || FromSqlError::other(std::io::Error::other(format!("{word} is no end")));
        state.end().ok_or_else(no_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_phases_that_people_see_are_those_of_the_states() {
        let seen = [
            (word!(held), State::Held),
            (word!(running), State::Running),
            (word!(completed), State::Completed),
            (word!(failed), State::Failed),
            (word!(timeout), State::Timeout),
            (word!(out_of_memory), State::OutOfMemory),
            (word!(cancelled), State::Cancelled),
            (word!(skipped), State::Skipped),
            (word!(lost), State::Lost),
        ];
        for (word, state) in seen {
            assert_eq!(word, state.word());
        }
    }

    #[test]
    fn lists_of_phases_are_the_conditions_of_the_indexes() {
        let schema = include_str!("../../schema.sql");
        for condition in [concat!("WHERE state IN ", live!(), ";"), concat!("WHERE state IN ", idle!(), ";")] {
            assert!(schema.contains(condition), "no index {condition}");
        }
    }

    #[test]
    fn phase_is_read_as_it_was_written_and_no_other_word_is_a_phase() {
        let ends = State::ALL.into_iter().filter_map(State::end).map(Phase::Ended);
        for phase in [Phase::Waiting, Phase::Held, Phase::Starting, Phase::Running].into_iter().chain(ends) {
            let Ok(ToSqlOutput::Borrowed(written)) = phase.to_sql() else { panic!("{phase:?} is no word") };
            assert_eq!(Phase::column_result(written).unwrap(), phase);
        }
        for word in ["PENDING", "GONE", ""] {
            assert!(Phase::column_result(ValueRef::Text(word.as_bytes())).is_err(), "{word}");
        }
    }
}
