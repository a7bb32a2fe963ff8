//! Every source file opens with a sentence that says what it is for, and stays short enough to be
//! read at one sitting.

use super::{Finding, Text};

/// Above this a file is two things.
const LINES_MAX: usize = 700;

/// Above this it is about to be.
const LINES_WARN: usize = 500;

pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    let sources = texts.iter().filter(|text| text.is_source());
    sources
        .flat_map(|source| [opening(source), length(source)])
        .flatten()
        .collect()
}

fn opening(source: &Text) -> Option<Finding> {
    let lines = source
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<_> = lines
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let is_sentence = paragraph
        .last()
        .is_some_and(|last| last.ends_with(['.', ':', '?']));
    let what = "does not open with a `//!` sentence that says what it is for";
    (!is_sentence).then(|| Finding::new(&source.path, 1, what))
}

fn length(source: &Text) -> Option<Finding> {
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        let what = format!("has {lines} lines, {LINES_MAX} is the most");
        Some(Finding::new(&source.path, 0, what))
    } else if lines > LINES_WARN {
        let what = format!("has {lines} lines; is it still one thing?");
        Some(Finding::warning(&source.path, what))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::text;
    use super::*;

    fn findings(source: &str) -> Vec<Finding> {
        check(&[text("crates/core/src/lib.rs", source)])
    }

    #[test]
    fn file_that_opens_with_a_sentence_passes() {
        assert_eq!(
            findings("//! What is true about\n//! campaigns.\n//!\n//! More\nuse x;\n"),
            []
        );
    }

    #[test]
    fn file_without_an_opening_sentence_is_found() {
        for source in [
            "use x;\n",
            "",
            "//!\n//! Late.\n",
            "//! A title\n",
            "/// Of an item.\n",
        ] {
            assert_eq!(findings(source).len(), 1, "{source:?}");
        }
    }

    #[test]
    fn long_file_is_a_warning_and_a_very_long_one_an_error() {
        let lines = |count: usize| format!("//! Rows.\n{}", "\n".repeat(count - 1));
        assert_eq!(findings(&lines(LINES_WARN)), []);
        assert!(findings(&lines(LINES_MAX))[0].is_warning);
        assert!(!findings(&lines(LINES_MAX + 1))[0].is_warning);
    }

    #[test]
    fn other_texts_are_not_held_to_it() {
        assert_eq!(check(&[text("README.md", "# Tombola\n")]), []);
    }
}
