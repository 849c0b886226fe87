//! Types: one name for one type, few fields.

use crate::source::shipped;
use std::collections::BTreeMap;
use syn::Visibility;
use syn::visit::Visit;

/// Names that several types have, each with the reason. At most ten.
const SAME_NAMES: &[(&str, &str)] = &[];

/// A struct with more fields that others reach is several.
const FIELDS: usize = 12;

/// Types of one file, with how many of their fields others reach.
#[derive(Default)]
pub struct Items {
    pub types: Vec<(String, usize)>,
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
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.types.push((item.ident.to_string(), 0));
    }
}

fn is_public(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
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
