//! The types that can be known before there are values: enough to refuse what could never hold.

use super::tree::{AttributeRoot, Op};

/// What is known of an expression's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Open attributes may hold anything.
    Any,
    Bool,
    /// int or double: they mix.
    Number,
    Text,
    List,
    Map,
    /// What `version(TEXT)` gives: it can only be compared.
    Version,
}

impl Type {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Any => "value",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::Text => "text",
            Self::List => "list",
            Self::Map => "map",
            Self::Version => "version",
        }
    }
}

/// The type of an attribute that always has one.
pub(super) fn path_type(root: AttributeRoot, name: &str) -> Type {
    match (root, name) {
        (AttributeRoot::Server, "cpus" | "slots" | "max_load" | "load1" | "idle_cpus" | "power") => Type::Number,
        (AttributeRoot::Server, "mem_total" | "mem_available" | "disk_free") => Type::Number,
        (AttributeRoot::Server | AttributeRoot::Task, "apps") => Type::List,
        (AttributeRoot::Server, "app_version") => Type::Map,
        (AttributeRoot::Server, "os" | "arch" | "kernel" | "boot_id" | "hostname") => Type::Text,
        (AttributeRoot::Task, "cpus" | "mem" | "gpus" | "priority") => Type::Number,
        (AttributeRoot::Task, "labels") => Type::Map,
        (AttributeRoot::Task, "name" | "profile") => Type::Text,
        (AttributeRoot::User, "name") => Type::Text,
        (AttributeRoot::User, "groups") => Type::List,
        (AttributeRoot::User, "share") => Type::Number,
        (AttributeRoot::Client, "host" | "user" | "os" | "arch") => Type::Text,
        _ => Type::Any,
    }
}

/// The type that an operator gives, or why it does not take these two.
pub(super) fn operand_error(op: Op, left: Type, right: Type) -> Result<Type, String> {
    let either =
        |kind: Type| matches!((left, right), (l, r) if (l == kind || l == Type::Any) && (r == kind || r == Type::Any));
    let refused = || Err(format!("{} does not take a {} and a {}", op.sign(), left.word(), right.word()));
    if left == Type::Version || right == Type::Version {
        let reads = |kind| matches!(kind, Type::Version | Type::Text | Type::Number | Type::Any);
        let compares = op.turned().is_some() && reads(left) && reads(right);
        return if compares { Ok(Type::Bool) } else { refused() };
    }
    match op {
        Op::Equal | Op::NotEqual => {
            if left == right || left == Type::Any || right == Type::Any {
                return Ok(Type::Bool);
            }
            Err(format!("a {} is never equal to a {}", left.word(), right.word()))
        }
        Op::Less | Op::LessOrEqual | Op::More | Op::MoreOrEqual => {
            if either(Type::Number) || either(Type::Text) || either(Type::Bool) { Ok(Type::Bool) } else { refused() }
        }
        Op::In => match (left, right) {
            (_, Type::List | Type::Any) | (Type::Text | Type::Any, Type::Map) => Ok(Type::Bool),
            _ => Err(format!(
                "in looks into a list or the keys of a map: this is a {} in a {}",
                left.word(),
                right.word()
            )),
        },
        Op::Add if left == Type::Any && right == Type::Any => Ok(Type::Any),
        Op::Add if either(Type::Text) => Ok(Type::Text),
        Op::Add if either(Type::List) => Ok(Type::List),
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder => {
            if either(Type::Number) {
                Ok(Type::Number)
            } else {
                refused()
            }
        }
    }
}
