//! Lowers the parser's tree into ours and checks what can be known without values. What is not lowered is refused.

use super::comprehension::shape;
use super::error::{ExpressionError, ExpressionRole};
use super::guard::MAX_DEPTH;
use super::tree::{AttributePath, AttributeRoot, Each, EachKind, Function, Node, Op, PathId};
use super::types::{Type, operand_error, path_type};
use crate::model::attribute::{Value, check_attribute_name};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators,
};
use regex::RegexBuilder;

/// The most nodes of a tree.
const MAX_NODES: usize = 256;
/// The most memory of a compiled pattern.
const MAX_PATTERN: usize = 256 << 10;

type Lowered = Result<(Node, Type), ExpressionError>;

/// Lowers one expression.
pub(super) struct Lowering<'a> {
    pub role: ExpressionRole,
    pub text: &'a str,
    pub source: &'a SourceInfo,
    pub paths: Vec<AttributePath>,
    nodes: usize,
    /// The name of the comprehension's variable while in its body.
    item: Option<String>,
    /// Has a comprehension been seen?
    comprehension: bool,
}

impl<'a> Lowering<'a> {
    pub(super) const fn new(role: ExpressionRole, text: &'a str, source: &'a SourceInfo) -> Self {
        Self { role, text, source, paths: Vec::new(), nodes: 0, item: None, comprehension: false }
    }

    /// The tree of a whole expression; it must have the type that its role asks for.
    pub(super) fn whole(&mut self, expr: &IdedExpr) -> Result<Node, ExpressionError> {
        let (node, kind) = self.lower(expr, 0)?;
        let good = match self.role {
            ExpressionRole::Constraint | ExpressionRole::Accepts => matches!(kind, Type::Bool | Type::Any),
            ExpressionRole::Preference => matches!(kind, Type::Bool | Type::Any | Type::Number),
        };
        if good {
            return Ok(node);
        }
        let wanted = if self.role == ExpressionRole::Preference { "a number or true/false" } else { "true or false" };
        Err(self.fail(expr, format!("this gives a {}, where {wanted} is needed", kind.word())))
    }

    pub(super) fn fail(&self, expr: &IdedExpr, message: impl Into<String>) -> ExpressionError {
        let at = self.source.offset_for(expr.id).map_or(0, |(start, _)| start as usize);
        ExpressionError::at(self.role, self.text, at, message.into())
    }

    fn lower(&mut self, expr: &IdedExpr, depth: usize) -> Lowered {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.fail(expr, format!("more than {MAX_NODES} parts: make the expression shorter")));
        }
        if depth > MAX_DEPTH {
            let message = format!("a chain of more than {MAX_DEPTH} operations: make the expression shorter");
            return Err(self.fail(expr, message));
        }
        let depth = depth + 1;
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(name) if self.item.as_ref() == Some(name) => Ok((Node::Item, Type::Any)),
            Expr::Ident(name) => Err(match AttributeRoot::of(name) {
                Some(_) => self.fail(expr, format!("{name} alone is no value: write {name}.NAME")),
                None => self.fail(
                    expr,
                    format!(
                        "{name} is not known: write server, task, user or client, then .NAME; a text stands in quotes"
                    ),
                ),
            }),
            Expr::Select(select) => self.select(expr, select, depth),
            Expr::Call(call) => self.call(expr, call, depth),
            Expr::List(list) => {
                let items: Result<Vec<Node>, _> = list.elements.iter().map(|e| self.value(e, depth)).collect();
                Ok((constant_list(items?), Type::List))
            }
            Expr::Map(map) => {
                let mut entries = Vec::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(self.fail(expr, "this kind of literal is not supported"));
                    };
                    let (key, kind) = self.lower(&entry.key, depth)?;
                    if !matches!(kind, Type::Text | Type::Any) {
                        return Err(self.fail(&entry.key, "the keys of a map are texts"));
                    }
                    entries.push((key, self.value(&entry.value, depth)?));
                }
                Ok((Node::Map(entries), Type::Map))
            }
            Expr::Comprehension(inner) => self.comprehension(expr, inner, depth),
            Expr::Struct(_) => Err(self.fail(expr, "messages are not supported: write a map, {\"key\": value}")),
            Expr::Unspecified => Err(self.fail(expr, "this cannot be read")),
        }
    }

    fn literal(&self, expr: &IdedExpr, literal: &LiteralValue) -> Lowered {
        Ok(match literal {
            LiteralValue::Boolean(v) => (Node::Const(Value::Bool(*v.inner())), Type::Bool),
            LiteralValue::Int(v) => (Node::Const(Value::Int(*v.inner())), Type::Number),
            LiteralValue::Double(v) => (Node::Const(Value::Double(*v.inner())), Type::Number),
            LiteralValue::String(v) => (Node::Const(Value::Text(v.inner().into())), Type::Text),
            LiteralValue::UInt(_) => return Err(self.fail(expr, "write the number without the u")),
            LiteralValue::Bytes(_) => return Err(self.fail(expr, "bytes are not used here")),
            LiteralValue::Null => return Err(self.fail(expr, "there is no null: write has(server.NAME)")),
        })
    }

    /// The number of a path.
    fn path(&mut self, root: AttributeRoot, name: &str, expr: &IdedExpr) -> Result<PathId, ExpressionError> {
        if check_attribute_name(name).is_err() {
            return Err(self.fail(expr, format!("{name:?} can't be the name of an attribute")));
        }
        let at = self.paths.iter().position(|p| p.root == root && *p.name == *name).unwrap_or_else(|| {
            self.paths.push(AttributePath { root, name: name.into() });
            self.paths.len() - 1
        });
        // At most one path for each node, so it fits.
        Ok(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// The root that an operand is, unless the comprehension's variable hides it.
    fn root_of(&self, operand: &IdedExpr) -> Option<AttributeRoot> {
        match &operand.expr {
            Expr::Ident(name) if self.item.as_ref() != Some(name) => AttributeRoot::of(name),
            _ => None,
        }
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr, depth: usize) -> Lowered {
        if let Some(root) = self.root_of(&select.operand) {
            let path = self.path(root, &select.field, expr)?;
            return Ok(match select.test {
                true => (Node::Has(path), Type::Bool),
                false => (Node::Path(path), path_type(root, &select.field)),
            });
        }
        let (of, kind) = self.lower(&select.operand, depth)?;
        if !matches!(kind, Type::Map | Type::Any) {
            return Err(self.fail(expr, format!("a {} has no .{}", kind.word(), select.field)));
        }
        let (of, name) = (Box::new(of), select.field.as_str().into());
        Ok(if select.test { (Node::HasField(of, name), Type::Bool) } else { (Node::Field(of, name), Type::Any) })
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr, depth: usize) -> Lowered {
        let mut args: Vec<&IdedExpr> = call.target.as_deref().into_iter().collect();
        args.extend(&call.args);
        match (call.func_name.as_str(), args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, _) => self.connective(expr, call, depth),
            (operators::LOGICAL_NOT, [of]) => {
                let of = self.typed(expr, of, Type::Bool, "!", depth)?;
                Ok((Node::Not(Box::new(of)), Type::Bool))
            }
            (operators::NEGATE, [of]) => {
                let of = self.typed(expr, of, Type::Number, "-", depth)?;
                Ok((Node::Minus(Box::new(of)), Type::Number))
            }
            (operators::CONDITIONAL, [test, yes, no]) => {
                let test = self.typed(expr, test, Type::Bool, "?:", depth)?;
                let (yes, one) = self.lower(yes, depth)?;
                let (no, other) = self.lower(no, depth)?;
                let kind = match (one, other) {
                    (one, other) if one == other => one,
                    (Type::Version, _) | (_, Type::Version) => {
                        return Err(self.fail(expr, "?: gives a version on one side: write version(..) on both"));
                    }
                    _ => Type::Any,
                };
                Ok((Node::If(Box::new((test, yes, no))), kind))
            }
            (operators::INDEX, [of, key]) => self.index(expr, of, key, depth),
            ("matches", [of, pattern]) => self.matches(expr, of, pattern, depth),
            // Its value is its argument; only a comparison reads it as a version.
            ("version", [of]) if call.target.is_none() => {
                let (of, kind) = self.lower(of, depth)?;
                match kind {
                    Type::Text | Type::Number | Type::Any => Ok((of, Type::Version)),
                    _ => Err(self.fail(expr, format!("version does not take a {}", kind.word()))),
                }
            }
            (sign, [left, right]) if operator(sign).is_some() => match operator(sign) {
                Some(op) => {
                    let (left, one) = self.lower(left, depth)?;
                    let (right, other) = self.lower(right, depth)?;
                    let kind = operand_error(op, one, other).map_err(|message| self.fail(expr, message))?;
                    let sides = Box::new((left, right));
                    let versions = one == Type::Version || other == Type::Version;
                    Ok((if versions { Node::Versions(op, sides) } else { Node::Binary(op, sides) }, kind))
                }
                None => Err(self.fail(expr, "this operator is not supported")),
            },
            (name, args) => self.function(expr, name, args, call.target.is_some(), depth),
        }
    }

    /// Chains of `&&` or `||` become one node.
    fn connective(&mut self, expr: &IdedExpr, call: &CallExpr, depth: usize) -> Lowered {
        let mut parts = Vec::new();
        for arg in &call.args {
            let sign = if call.func_name == operators::LOGICAL_AND { "&&" } else { "||" };
            match (self.typed(expr, arg, Type::Bool, sign, depth)?, sign) {
                (Node::All(inner), "&&") | (Node::Any(inner), "||") => parts.extend(inner),
                (node, _) => parts.push(node),
            }
        }
        let node = if call.func_name == operators::LOGICAL_AND { Node::All(parts) } else { Node::Any(parts) };
        Ok((node, Type::Bool))
    }

    /// A value that a list or a map can hold.
    fn value(&mut self, expr: &IdedExpr, depth: usize) -> Result<Node, ExpressionError> {
        match self.lower(expr, depth)? {
            (_, Type::Version) => {
                Err(self.fail(expr, "version() stands beside a comparison: server.kernel >= version(\"6.9\")"))
            }
            (node, _) => Ok(node),
        }
    }

    fn typed(
        &mut self,
        expr: &IdedExpr,
        of: &IdedExpr,
        wanted: Type,
        sign: &str,
        depth: usize,
    ) -> Result<Node, ExpressionError> {
        let (node, kind) = self.lower(of, depth)?;
        if kind == wanted || kind == Type::Any {
            return Ok(node);
        }
        Err(self.fail(expr, format!("{sign} takes a {}, not a {}", wanted.word(), kind.word())))
    }

    fn index(&mut self, expr: &IdedExpr, of: &IdedExpr, key: &IdedExpr, depth: usize) -> Lowered {
        if let Some(root) = self.root_of(of) {
            // Only a name that is known beforehand: else an expression would read everything.
            let Expr::Literal(LiteralValue::String(name)) = &key.expr else {
                return Err(self.fail(expr, format!("write {}.NAME or {0}[\"NAME\"]", root.word())));
            };
            let path = self.path(root, name.inner(), key)?;
            return Ok((Node::Path(path), path_type(root, name.inner())));
        }
        let (of, kind) = self.lower(of, depth)?;
        let (key, key_kind) = self.lower(key, depth)?;
        let good = match kind {
            Type::Any => matches!(key_kind, Type::Any | Type::Text | Type::Number),
            Type::Map => matches!(key_kind, Type::Any | Type::Text),
            Type::List => matches!(key_kind, Type::Any | Type::Number),
            _ => false,
        };
        if !good {
            return Err(self.fail(expr, format!("[] does not take a {} and a {}", kind.word(), key_kind.word())));
        }
        Ok((Node::At(Box::new((of, key))), Type::Any))
    }

    fn matches(&mut self, expr: &IdedExpr, of: &IdedExpr, pattern: &IdedExpr, depth: usize) -> Lowered {
        let of = self.typed(expr, of, Type::Text, "matches", depth)?;
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(self.fail(pattern, "the pattern must stand here as a text in quotes"));
        };
        let regex = RegexBuilder::new(text.inner())
            .size_limit(MAX_PATTERN)
            .dfa_size_limit(MAX_PATTERN)
            .nest_limit(32)
            .build()
            .map_err(|error| {
                let words = error.to_string();
                let last = words.lines().last().unwrap_or_default();
                self.fail(pattern, format!("bad pattern: {}", last.trim_start_matches("error: ")))
            })?;
        Ok((Node::Matches(Box::new(of), regex), Type::Bool))
    }

    fn function(&mut self, expr: &IdedExpr, name: &str, args: &[&IdedExpr], method: bool, depth: usize) -> Lowered {
        let (function, count, kind) = match name {
            "size" => (Function::Size, 1, Type::Number),
            "startsWith" if method => (Function::StartsWith, 2, Type::Bool),
            "endsWith" if method => (Function::EndsWith, 2, Type::Bool),
            "contains" if method => (Function::Contains, 2, Type::Bool),
            "int" if !method => (Function::Int, 1, Type::Number),
            "double" if !method => (Function::Double, 1, Type::Number),
            "string" if !method => (Function::Text, 1, Type::Text),
            "has" => return Err(self.fail(expr, "write has(server.NAME)")),
            "exists" | "all" | "exists_one" | "existsOne" | "filter" | "map" => {
                return Err(self.fail(expr, format!("write LIST.{name}(x, ...)")));
            }
            _ => {
                let shape = if method { format!(".{name}()") } else { format!("{name}()") };
                return Err(self.fail(expr, format!("there is no {shape}: size, startsWith, endsWith, contains, matches, has, exists, all, exists_one, filter, map, int, double, string, version")));
            }
        };
        if args.len() != count {
            return Err(self.fail(expr, format!("{name} takes {count}, not {}", args.len())));
        }
        let mut nodes = Vec::with_capacity(count);
        for arg in args {
            let (node, kind) = self.lower(arg, depth)?;
            let good = match function {
                _ if kind == Type::Any => true,
                Function::Size => matches!(kind, Type::Text | Type::List | Type::Map),
                Function::Int | Function::Double => matches!(kind, Type::Text | Type::Number),
                Function::Text => matches!(kind, Type::Text | Type::Number | Type::Bool),
                _ => kind == Type::Text,
            };
            if !good {
                return Err(self.fail(expr, format!("{name} does not take a {}", kind.word())));
            }
            nodes.push(node);
        }
        Ok((Node::Call(function, nodes), kind))
    }

    fn comprehension(&mut self, expr: &IdedExpr, inner: &ComprehensionExpr, depth: usize) -> Lowered {
        if self.comprehension {
            return Err(
                self.fail(expr, "one exists, all, exists_one, filter or map in an expression, and none inside another")
            );
        }
        self.comprehension = true;
        if AttributeRoot::of(&inner.iter_var).is_some() {
            return Err(self.fail(expr, format!("{} can't be the name of the variable", inner.iter_var)));
        }
        let (range, kind) = self.lower(&inner.iter_range, depth)?;
        if !matches!(kind, Type::List | Type::Map | Type::Any) {
            return Err(self.fail(expr, format!("this goes through a list or a map, not a {}", kind.word())));
        }
        let Some((kind, guard, body)) = shape(inner) else {
            return Err(self.fail(expr, "this comprehension is not supported"));
        };
        self.item = Some(inner.iter_var.clone());
        let guard = guard.map(|guard| self.typed(expr, guard, Type::Bool, "filter", depth)).transpose()?;
        let body = match kind {
            EachKind::Collect => self.value(body, depth)?,
            _ => self.typed(expr, body, Type::Bool, "this", depth)?,
        };
        self.item = None;
        let gives = if kind == EachKind::Collect { Type::List } else { Type::Bool };
        Ok((Node::Each(Box::new(Each { kind, range, guard, body })), gives))
    }
}

fn operator(sign: &str) -> Option<Op> {
    Some(match sign {
        operators::EQUALS => Op::Equal,
        operators::NOT_EQUALS => Op::NotEqual,
        operators::LESS => Op::Less,
        operators::LESS_EQUALS => Op::LessOrEqual,
        operators::GREATER => Op::More,
        operators::GREATER_EQUALS => Op::MoreOrEqual,
        operators::IN => Op::In,
        operators::ADD => Op::Add,
        operators::SUBSTRACT => Op::Subtract,
        operators::MULTIPLY => Op::Multiply,
        operators::DIVIDE => Op::Divide,
        operators::MODULO => Op::Remainder,
        _ => return None,
    })
}

/// Literals only: one constant, so that evaluating it copies nothing.
fn constant_list(items: Vec<Node>) -> Node {
    if items.iter().all(|item| matches!(item, Node::Const(_))) {
        let values =
            items.into_iter().filter_map(|item| if let Node::Const(value) = item { Some(value) } else { None });
        return Node::Const(Value::List(values.collect()));
    }
    Node::List(items)
}
