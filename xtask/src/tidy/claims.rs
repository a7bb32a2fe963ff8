//! The tables of defects and of limits name their tests by file and name, and both are there: a
//! test that is renamed or removed takes its row along.

use super::{Finding, Text};

pub(super) fn check(path: &str, texts: &[Text]) -> Vec<Finding> {
    let Some(page) = texts.iter().find(|text| text.path == path) else {
        return vec![Finding::new(path, 0, "is missing")];
    };
    let mut findings = Vec::new();
    for (line, file, name) in named_tests(&page.text) {
        let what = match texts.iter().find(|text| text.path == file) {
            None => format!("names `{file}`, which is gone"),
            Some(source) if !has_word(&source.text, name) => {
                format!("names `{name}`, which is not in {file}")
            }
            Some(_) => continue,
        };
        findings.push(Finding::new(path, line, what));
    }
    findings
}

/// What stands in backticks as `file :: name`, with its line.
fn named_tests(page: &str) -> Vec<(usize, &str, &str)> {
    let mut tests = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2);
        let named = quoted.filter_map(|one| one.split_once(" :: "));
        tests.extend(named.map(|(file, name)| (index + 1, file, name)));
    }
    tests
}

/// Whether the name stands there whole, not only as a part of a longer one.
fn has_word(text: &str, name: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, text};
    use super::*;

    const PAGE: &str = "docs/defects.md";

    fn findings(page: &str) -> Vec<Finding> {
        let table = "fn what_was_sent_stays_sent() {}\n";
        let texts = [text(PAGE, page), text("crates/core/tests/table.rs", table)];
        check(PAGE, &texts)
    }

    #[test]
    fn tests_that_are_there_may_be_named() {
        let page =
            "| 1 | `crates/core/tests/table.rs :: what_was_sent_stays_sent` and `mq_state` |\n";
        assert_eq!(findings(page), []);
    }

    #[test]
    fn renamed_test_is_found_with_its_line() {
        let page = "One.\n| `crates/core/tests/table.rs :: what_was_sent` |\n";
        let findings = findings(page);
        assert_eq!(
            said(&findings),
            ["names `what_was_sent`, which is not in crates/core/tests/table.rs"]
        );
        assert_eq!(findings[0].line, 2);
    }

    #[test]
    fn file_of_a_test_that_is_gone_is_found() {
        let findings = findings("| `crates/core/tests/gone.rs :: one` · `gone.rs :: one` |\n");
        assert_eq!(
            said(&findings),
            [
                "names `crates/core/tests/gone.rs`, which is gone",
                "names `gone.rs`, which is gone"
            ]
        );
    }

    #[test]
    fn page_must_be_there() {
        assert_eq!(said(&check(PAGE, &[])), ["is missing"]);
    }
}
