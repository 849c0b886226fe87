//! A compiled expression: its text, its tree, the paths it reads, its conjuncts.

use super::error::{ExpressionError, ExpressionRole};
use super::guard::inspect;
use super::lower::Lowering;
use super::tree::{AttributePath, Node};
use cel::Program;
use std::ops::Range;
use std::thread;

/// The parser recurses for each operation; what the guard lets pass stays far below this.
const STACK: usize = 16 << 20;

/// An expression that passed every check.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    pub text: Box<str>,
    pub node: Node,
    pub paths: Vec<AttributePath>,
    /// Where the conjuncts stand in the text, in the order of the tree's.
    parts: Vec<Range<usize>>,
}

impl Expression {
    /// Reads and checks a text.
    pub(super) fn compile(text: &str, role: ExpressionRole) -> Result<Self, ExpressionError> {
        let parts = inspect(text, role)?;
        let read = thread::scope(|scope| {
            let parser = thread::Builder::new().name("expression".into()).stack_size(STACK);
            // The parser's tree never leaves the thread: dropping it recurses too.
            match parser.spawn_scoped(scope, || parse(text, role)) {
                Ok(running) => running.join().ok(),
                Err(_) => None,
            }
        });
        let (node, paths) =
            read.unwrap_or_else(|| Err(ExpressionError::whole(role, "the parser could not be run".into())))?;
        Ok(Self { text: text.into(), node, paths, parts })
    }

    /// The conjuncts with their texts.
    pub(super) fn conjuncts(&self) -> Vec<(&str, &Node)> {
        match &self.node {
            Node::All(nodes) if nodes.len() == self.parts.len() => {
                nodes.iter().zip(&self.parts).map(|(node, at)| (&self.text[at.clone()], node)).collect()
            }
            node => vec![(&*self.text, node)],
        }
    }

    /// The same without one conjunct; None if there is only one.
    pub(super) fn without(&self, conjunct: usize) -> Option<Self> {
        match &self.node {
            Node::All(nodes) if nodes.len() == self.parts.len() && conjunct < nodes.len() => {
                let mut less = self.clone();
                less.parts.remove(conjunct);
                if let Node::All(nodes) = &mut less.node {
                    nodes.remove(conjunct);
                }
                Some(less)
            }
            _ => None,
        }
    }
}

fn parse(text: &str, role: ExpressionRole) -> Result<(Node, Vec<AttributePath>), ExpressionError> {
    let program = Program::compile(text).map_err(|errors| {
        // Not the parser's own text: writing it panics for places far to the right.
        let Some(first) = errors.errors.first() else {
            return ExpressionError::whole(role, "this cannot be read".into());
        };
        let (line, column) = first.pos;
        let before: usize = text.split_inclusive('\n').take(usize::try_from(line - 1).unwrap_or(0)).map(str::len).sum();
        let column = usize::try_from(column - 1).unwrap_or(0);
        let within = text[before..].char_indices().nth(column).map_or(text.len() - before, |(byte, _)| byte);
        ExpressionError::at(role, text, before + within, plain(&first.msg))
    })?;
    let mut lowering = Lowering::new(role, text, program.source_info());
    let node = lowering.whole(program.expression())?;
    Ok((node, lowering.paths))
}

/// The parser's words without its lists of tokens.
fn plain(message: &str) -> String {
    let message = message.trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or(message);
    let message =
        message.replace("mismatched input ", "did not expect ").replace("extraneous input ", "did not expect ");
    let message = message.replace("no viable alternative at input ", "can't read ").replace("'<EOF>'", "the end");
    message.chars().take(120).collect()
}

/// Checks an expression when it is typed: submit `-C` and `--prefer`, `server --accepts`, a user's `--constraint` and `--prefer`.
pub fn check(text: &str, role: ExpressionRole) -> Result<(), ExpressionError> {
    Expression::compile(text, role).map(|_| ())
}
