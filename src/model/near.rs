//! The known name that a mistyped one is most likely meant for.

/// The nearest known name; None: none is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Of a name of two letters every other one is near.
    let most = name.chars().count().saturating_sub(1).min(2);
    let near =
        known.into_iter().map(|known| (distance(known, name), known)).filter(|(far, _)| (1..=most).contains(far));
    near.min().map(|(_, known)| known)
}

/// Edit distance, for names of at most 63 characters.
fn distance(a: &str, b: &str) -> usize {
    let cut = |text: &str| text.chars().take(64).collect::<String>();
    strsim::levenshtein(&cut(a), &cut(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["site", "power", "os"];
        assert_eq!(nearest("siet", known), Some("site"));
        assert_eq!(nearest("powr", known), Some("power"));
        assert_eq!((nearest("disk", known), nearest("os", known), nearest("x", known)), (None, None, None));
        assert_eq!(nearest("sites", ["site", "sight"]), Some("site"));
    }
}
