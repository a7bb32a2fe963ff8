//! Habits of tests: none is switched off, none passes by panicking, none waits by the clock, and a
//! name is a claim.

use super::{Finding, Text};

pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    let sources = texts.iter().filter(|text| text.is_source());
    sources.flat_map(check_source).collect()
}

fn check_source(source: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut inside_tests = is_test_file(&source.path);
    let mut after_attribute = false;
    for (index, line) in source.text.lines().enumerate() {
        let line = line.trim();
        inside_tests |= line.starts_with("mod tests {");
        let what = switched_off(line)
            .or_else(|| after_attribute.then(|| prefixed(line)).flatten())
            .or_else(|| (inside_tests && sleeps(line)).then_some("sleeps: move the test's clock"));
        findings.extend(what.map(|what| Finding::new(&source.path, index + 1, what)));
        after_attribute = is_test_attribute(line) || after_attribute && is_between(line);
    }
    findings
}

/// By the house's habit a module's tests stand at its end.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn switched_off(line: &str) -> Option<&'static str> {
    let is_comment = line.starts_with("///") || line.starts_with("//!");
    if line.starts_with("#[ignore") || line.starts_with("#[cfg_attr(") && line.contains("ignore") {
        Some("is switched off: a test runs or goes")
    } else if is_comment && line.contains("```ignore") {
        Some("is a doc test that never runs: use `text`, or let it run")
    } else if line.starts_with("#[should_panic") {
        Some("passes by panicking: assert the error")
    } else {
        None
    }
}

fn prefixed(line: &str) -> Option<&'static str> {
    let name = line.split_once("fn ")?.1;
    name.starts_with("test_")
        .then_some("has the prefix `test_`: a name is the claim")
}

fn is_test_attribute(line: &str) -> bool {
    line.starts_with("#[test") || line.starts_with("#[tokio::test")
}

/// Lines that may stand between a test's attribute and its name.
fn is_between(line: &str) -> bool {
    line.starts_with("#[") || line.starts_with("//")
}

/// A call of a function named `sleep`, not of a method: a clock under test may have one.
fn sleeps(line: &str) -> bool {
    !line.starts_with("//")
        && line.match_indices("sleep(").any(|(at, _)| {
            let before = &line[..at];
            !before.ends_with(|letter: char| letter.is_alphanumeric() || "_.".contains(letter))
                && !before.ends_with("fn ")
        })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, text};
    use super::*;

    fn in_tests(source: &str) -> Vec<Finding> {
        check(&[text("crates/engine/tests/path.rs", source)])
    }

    #[test]
    fn switched_off_test_is_found_anywhere() {
        for line in [
            "#[ignore]",
            "#[ignore = \"slow\"]",
            "#[cfg_attr(ci, ignore)]",
        ] {
            let findings = check(&[text("crates/core/src/lib.rs", line)]);
            assert_eq!(
                said(&findings),
                ["is switched off: a test runs or goes"],
                "{line}"
            );
        }
        assert_eq!(in_tests("//! ```ignore").len(), 1);
    }

    #[test]
    fn passing_by_panic_is_found() {
        assert_eq!(in_tests("#[should_panic(expected = \"x\")]").len(), 1);
    }

    #[test]
    fn prefix_is_found_on_tests_and_allowed_on_helpers() {
        let source = "#[tokio::test]\n// Aim.\nasync fn test_one() {}\nfn test_world() {}\n";
        let findings = in_tests(source);
        assert_eq!(
            said(&findings),
            ["has the prefix `test_`: a name is the claim"]
        );
        assert_eq!(findings[0].line, 3);
    }

    #[test]
    fn waiting_by_the_clock_is_found_in_tests_only() {
        let wait = ["std::thread::", "(TICK);"].join("sleep");
        assert_eq!(in_tests(&wait).len(), 1);
        assert_eq!(check(&[text("crates/engine/src/relay.rs", &wait)]), []);
        let below = format!("{wait}\n#[cfg(test)]\nmod tests {{\n{wait}\n}}\n");
        let findings = check(&[text("crates/engine/src/relay.rs", &below)]);
        assert_eq!(
            findings
                .iter()
                .map(|finding| finding.line)
                .collect::<Vec<_>>(),
            [4]
        );
    }

    #[test]
    fn clock_of_the_test_may_have_a_method_of_that_name() {
        let calls = ["clock.", "(TICK); async fn ", "() {} do_not_", "(1);"].join("sleep");
        assert_eq!(in_tests(&calls), []);
    }
}
