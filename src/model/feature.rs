//! Features that a task may need and that not every release has. A sealed task and a start name their
//! features: a grid that does not know one refuses it by name, and the search continues. No feature is ignored silently.

/// A feature that older grids do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `--max-output`: a bound for what the task writes.
    MaxOutput,
    /// What a task inherits from the process that submitted it.
    Inherit,
    /// Attributes that the client's home declares of the client, in the task's own expressions.
    ClientAttributes,
}

impl Feature {
    /// All features that this grid knows.
    pub const ALL: [Self; 3] = [Self::MaxOutput, Self::Inherit, Self::ClientAttributes];

    /// The name on the wire: the option that asks for it, without its dashes. Names never change their meaning.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxOutput => "max-output",
            Self::Inherit => "env",
            Self::ClientAttributes => "client-attributes",
        }
    }
}

/// Features that a task needs and this grid does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this task needs {}, which this grid ({}) does not know: bring it up to date", options(.0), env!("CARGO_PKG_VERSION"))]
pub struct UnknownFeatures(pub Vec<String>);

/// Refuses features that this grid does not know.
pub fn check_known(names: &[String]) -> Result<(), UnknownFeatures> {
    let known = |name: &String| Feature::ALL.iter().any(|feature| feature.name() == name);
    let unknown: Vec<String> = names.iter().filter(|name| !known(name)).cloned().collect();
    if unknown.is_empty() { Ok(()) } else { Err(UnknownFeatures(unknown)) }
}

/// Names of features as the options that ask for them: `--max-output, --gpus`.
pub fn options<T: AsRef<str>>(names: &[T]) -> String {
    let option = |name: &str| match name == Feature::ClientAttributes.name() {
        true => "-C with attributes of its client".to_owned(),
        false => format!("--{name}"),
    };
    names.iter().map(|name| option(name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_feature_is_refused_by_its_name() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(check_known(&names(&[])), Ok(()));
        assert_eq!(check_known(&names(&["max-output"])), Ok(()));
        let refused = check_known(&names(&["max-output", "gpus", "licences"])).unwrap_err();
        assert_eq!(refused, UnknownFeatures(names(&["gpus", "licences"])));
        assert!(refused.to_string().starts_with("this task needs --gpus, --licences, which this grid"), "{refused}");
    }
}
