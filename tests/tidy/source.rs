//! A file of `src/`: its text, its items, and its code as a flat list of tokens.

use crate::items::Items;
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use syn::visit::Visit;
use syn::visit_mut::VisitMut;
use syn::{Attribute, File, Item, Meta};

/// One file of src/.
pub struct Source {
    /// Relative to src/.
    pub path: String,
    pub text: String,
    /// All tokens, tests included.
    pub code: Tokens,
    /// The tokens without items that are compiled for tests only.
    pub shipped_code: Tokens,
    /// The types of the same.
    pub items: Items,
}

impl Source {
    pub fn folder(&self) -> &str {
        self.path.split_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether the file as a whole is compiled for tests only.
    pub fn is_test(&self) -> bool {
        let path = &self.path;
        path.ends_with("_test.rs")
            || ["/tests/", "/tests.rs", "/testing/", "/scenarios/", "fixture.rs"].iter().any(|part| path.contains(part))
    }
}

/// All files, read once.
pub fn sources() -> &'static [Source] {
    static READ: OnceLock<Vec<Source>> = OnceLock::new();
    READ.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        walk(&root, &mut files);
        files.sort();
        assert!(files.len() > 50, "the scan sees {} files only", files.len());
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap();
            parse(path.strip_prefix(&root).unwrap().display().to_string(), text)
        };
        files.iter().map(read).collect()
    })
}

/// The files whose code is shipped.
pub fn shipped() -> impl Iterator<Item = &'static Source> {
    sources().iter().filter(|source| !source.is_test())
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn parse(path: String, text: String) -> Source {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("src/{path}: {error}"));
    let mut shipped = syn::parse_file(&text).unwrap_or_else(|error| panic!("src/{path}: {error}"));
    WithoutTests.visit_file_mut(&mut shipped);
    let shipped_code = Tokens::of(quote::ToTokens::to_token_stream(&shipped));
    let mut items = Items::default();
    items.visit_file(&shipped);
    Source { path, text, code: Tokens::of(stream), shipped_code, items }
}

/// Takes out the items under `#[cfg(test)]`.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut File) {
        file.items.retain(|item| !for_tests(item));
        syn::visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !for_tests(item));
        }
        syn::visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(|item| !matches!(item, syn::ImplItem::Fn(method) if is_cfg_test(&method.attrs)));
    }
}

fn for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    };
    is_cfg_test(attributes)
}

fn is_cfg_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Code as a flat list of tokens: names, signs (`::` is one), brackets; each literal is `""`.
#[derive(Default)]
pub struct Tokens(Vec<String>);

impl Tokens {
    pub fn of(stream: TokenStream) -> Self {
        let mut tokens = Self::default();
        tokens.add(stream);
        tokens
    }

    fn add(&mut self, stream: TokenStream) {
        let mut colon = false;
        for tree in stream {
            let second = std::mem::take(&mut colon);
            match tree {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::None => ("", ""),
                    };
                    self.0.push(open.to_owned());
                    self.add(group.stream());
                    self.0.push(close.to_owned());
                }
                TokenTree::Ident(name) => self.0.push(name.to_string()),
                TokenTree::Punct(sign) if second && sign.as_char() == ':' => {
                    self.0.pop();
                    self.0.push("::".to_owned());
                }
                TokenTree::Punct(sign) => {
                    colon = sign.as_char() == ':' && sign.spacing() == Spacing::Joint;
                    self.0.push(sign.to_string());
                }
                TokenTree::Literal(_) => self.0.push("\"\"".to_owned()),
            }
        }
    }

    /// Whether this code, written as in a source file, occurs.
    pub fn contain(&self, code: &str) -> bool {
        self.places(code).next().is_some()
    }

    /// What follows each occurrence of this code; a path is found at its beginning only.
    fn places(&self, code: &str) -> impl Iterator<Item = &[String]> {
        let Tokens(wanted) = Self::of(code.parse().unwrap());
        let begins = move |at: &usize| {
            let inside = *at > 0 && self.0[at - 1] == "::" && wanted[0] != "::";
            self.0[*at..].starts_with(&wanted)
                && !(inside && wanted.len() > 1 && wanted[1] == "::" && is_root(&wanted[0]))
        };
        let length = Self::of(code.parse().unwrap()).0.len();
        (0..self.0.len()).filter(begins).map(move |at| &self.0[at + length..])
    }

    /// The first names of all paths that begin with `prefix::`, also of those in braces.
    pub fn named_after(&self, prefix: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for rest in self.places(&format!("{prefix}::")) {
            if rest.first().is_none_or(|first| first != "{") {
                names.extend(rest.first().cloned());
                continue;
            }
            let mut depth = 0;
            for pair in rest.windows(2) {
                match pair[0].as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                if depth == 1 && matches!(pair[0].as_str(), "{" | ",") && pair[1] != "}" {
                    names.insert(pair[1].clone());
                }
            }
        }
        names
    }
}

/// Names that a path can only begin with.
fn is_root(name: &str) -> bool {
    matches!(name, "crate" | "super" | "grid")
}

#[test]
fn tokens_know_paths_from_comments_and_literals() {
    let text = "use crate::{model::{a, b}, store as s, ops}; // crate::cli\n fn f() { let x = \"crate::cli\"; crate::agent::x(); \
                r#\"crate::cli\"#; '\"'; crate::link::y(); print!(\"{}\", crate::engine::z()); x::grid::cli() }";
    let tokens = Tokens::of(text.parse().unwrap());
    let names: Vec<String> = tokens.named_after("crate").into_iter().collect();
    assert_eq!(names, ["agent", "engine", "link", "model", "ops", "store"]);
    assert!(tokens.named_after("grid").is_empty());
    assert!(tokens.contain("print!") && !tokens.contain("println!"));
}

#[test]
fn items_for_tests_are_not_shipped() {
    let text = "fn a() {} #[cfg(test)] mod tests { fn b() {} } impl A { #[cfg(test)] fn c() {} fn d() {} }";
    let source = parse("x.rs".to_owned(), text.to_owned());
    assert!(source.code.contain("b") && source.code.contain("c"));
    assert!(source.shipped_code.contain("a") && source.shipped_code.contain("d"));
    assert!(!source.shipped_code.contain("b") && !source.shipped_code.contain("c"));
}
