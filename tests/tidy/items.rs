//! Types and functions: one name for one type, few fields, few parameters.

use crate::source::shipped;
use std::collections::BTreeMap;
use syn::visit::Visit;
use syn::{FnArg, ImplItemFn, ItemFn, Signature, Type, Visibility};

/// Names that several types have, each with the reason. At most ten.
const SAME_NAMES: &[(&str, &str)] = &[];

/// A struct with more fields that others reach is several.
const FIELDS: usize = 12;

/// A function with more parameters than this is given a struct.
const PARAMETERS: usize = 6;

/// Public functions with more parameters, or with a tuple as one, each with the reason.
const OTHER_PARAMETERS: &[(&str, &str)] = &[];

/// Types of one file, with how many of their fields others reach; and its public functions.
#[derive(Default)]
pub struct Items {
    pub types: Vec<(String, usize)>,
    functions: Vec<Function>,
}

/// A function that others call.
struct Function {
    name: String,
    parameters: usize,
    takes_tuple: bool,
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        let reached = item.fields.iter().filter(|field| is_public(&field.vis)).count();
        self.types.push((item.ident.to_string(), reached));
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.types.push((item.ident.to_string(), 0));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.types.push((item.ident.to_string(), 0));
        if is_public(&item.vis) {
            syn::visit::visit_item_trait(self, item);
        }
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.types.push((item.ident.to_string(), 0));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if is_public(&item.vis) {
            self.functions.push(Function::of(&item.sig));
        }
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if is_public(&item.vis) {
            self.functions.push(Function::of(&item.sig));
        }
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.functions.push(Function::of(&item.sig));
    }
}

impl Function {
    fn of(signature: &Signature) -> Self {
        let typed = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(parameter) => Some(&*parameter.ty),
            FnArg::Receiver(_) => None,
        });
        let types: Vec<&Type> = typed.collect();
        Self {
            name: signature.ident.to_string(),
            parameters: types.len(),
            takes_tuple: types.into_iter().any(is_tuple),
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// A tuple, or a reference to one. `()` is none.
fn is_tuple(kind: &Type) -> bool {
    match kind {
        Type::Tuple(tuple) => !tuple.elems.is_empty(),
        Type::Reference(reference) => is_tuple(&reference.elem),
        Type::Paren(inner) => is_tuple(&inner.elem),
        _ => false,
    }
}

#[test]
fn type_names_are_unique() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in shipped() {
        for (name, _) in &source.items.types {
            defined.entry(name.clone()).or_default().push(source.path.clone());
        }
    }
    assert!(SAME_NAMES.len() <= 10, "{} exceptions", SAME_NAMES.len());
    let excused = |name: &str| SAME_NAMES.iter().any(|(known, _)| *known == name);
    let twice: Vec<_> = defined.iter().filter(|(name, at)| at.len() > 1 && !excused(name)).collect();
    assert!(
        twice.is_empty(),
        "one name, one type:\n{}",
        twice.iter().map(|(n, at)| format!("{n}: {}\n", at.join(" "))).collect::<String>()
    );
    let unused: Vec<_> =
        SAME_NAMES.iter().filter(|(name, _)| defined.get(*name).is_none_or(|at| at.len() < 2)).collect();
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}

#[test]
fn parts_of_the_dispatcher_have_few_fields() {
    let mut wrong = Vec::new();
    for source in shipped().filter(|source| source.folder() == "dispatch") {
        let many = source.items.types.iter().filter(|(_, fields)| *fields > FIELDS);
        wrong.extend(many.map(|(name, fields)| format!("src/{}: {name} has {fields}", source.path)));
    }
    assert!(wrong.is_empty(), "more than {FIELDS} fields that others reach:\n{}", wrong.join("\n"));
}

#[test]
fn public_functions_have_few_parameters_and_no_tuples() {
    let mut wrong = Vec::new();
    let mut unused: Vec<&str> = OTHER_PARAMETERS.iter().map(|(function, _)| *function).collect();
    for source in shipped() {
        for function in &source.items.functions {
            let (many, tuple) = (function.parameters > PARAMETERS, function.takes_tuple);
            if !many && !tuple {
                continue;
            }
            let place = format!("{} {}", source.path, function.name);
            let listed = unused.len();
            unused.retain(|known| *known != place);
            if unused.len() == listed {
                let why = if many { format!("{} parameters", function.parameters) } else { "a tuple".to_owned() };
                wrong.push(format!("src/{place}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "at most {PARAMETERS} parameters, no tuples:\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}
