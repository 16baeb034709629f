//! "Did you mean": the known word that a mistyped one looks most like.

/// The best of `known`, if it is near enough that a person would call it the same word.
pub(super) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    known
        .map(|word| (strsim::jaro_winkler(&typed, word), word))
        .filter(|(likeness, _)| *likeness >= 0.82)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// The words that follow what was typed, empty if nothing is near.
pub(super) fn did_you_mean(word: &Option<&'static str>) -> String {
    word.map(|word| format!(", did you mean {word:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["memory", "timeout", "scale.max", "scale.min", "max_body"];
        let near = |typed| nearest(typed, known.into_iter());
        assert_eq!(near("memroy"), Some("memory"));
        assert_eq!(near("Memory"), Some("memory"));
        assert_eq!(near("time_out"), Some("timeout"));
        assert_eq!(near("max-body"), Some("max_body"));
        assert_eq!(near("scale.maxx"), Some("scale.max"));
        assert_eq!(near("colour"), None);
        assert_eq!(near(""), None);
    }
}
