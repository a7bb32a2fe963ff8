//! Counts tests of every sort into one closing line: `N passed, N failed, N skipped`.
//!
//! The test harness knows *passed*, *failed* and *ignored* only. A test that finds that it cannot
//! run here (no PostgreSQL, say) returns early after writing the line
//! `tombola-skip: <its name>: <why>` straight to `std::io::stdout()`, past the harness's capture;
//! the harness then counts it as passed and the tally moves it to *skipped*. A test binary that
//! dies on the way has no result line, and counts as one failure.

use std::process::ExitCode;

/// Opens the line by which a test says that it could not run.
const SKIP_MARK: &str = "tombola-skip: ";

#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    /// Failures that the harness counted; its own output has named them.
    failed_inside: u64,
    failures: Vec<String>,
    skips: Vec<String>,
    /// Whether a test binary has begun and not yet given its result.
    running: bool,
    /// Tests of that binary which the harness will count as passed, and which could not run.
    marked: u64,
}

impl Tally {
    pub(crate) fn pass(&mut self) {
        self.passed += 1;
    }

    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        self.failures.push(what.into());
    }

    pub(crate) fn skip(&mut self, what: impl Into<String>) {
        self.skips.push(what.into());
    }

    /// Takes in one line of the standard output of `cargo test`.
    pub(crate) fn read_line(&mut self, line: &str) {
        if let Some((_, skip)) = line.split_once(SKIP_MARK) {
            self.marked += 1;
            self.skip(skip);
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.running = false;
            let marked = std::mem::take(&mut self.marked);
            self.passed += count(counts, "passed").saturating_sub(marked);
            self.failed_inside += count(counts, "failed");
        } else if is_start(line) {
            self.end_of_binary();
            self.running = true;
        } else if let Some(name) = ignored(line) {
            self.skip(name);
        }
    }

    /// Closes the books on one `cargo test`. A failure that no test accounts for (it did not
    /// compile, say) is a failure of its own.
    pub(crate) fn end_of_cargo(&mut self, status: &str, success: bool) {
        self.end_of_binary();
        if !success && !self.has_failed() {
            self.fail(format!("cargo test ended with {status} and no failed test"));
        }
    }

    fn end_of_binary(&mut self) {
        self.marked = 0;
        if std::mem::take(&mut self.running) {
            self.fail("a test binary ended without a result");
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed_inside > 0 || !self.failures.is_empty()
    }

    fn closing_line(&self) -> String {
        let failed = self.failed_inside + self.failures.len() as u64;
        let skipped = self.skips.len();
        format!("{} passed, {failed} failed, {skipped} skipped", self.passed)
    }

    /// Names what was skipped and what failed outside the harness, then the closing line.
    pub(crate) fn close(&self) -> ExitCode {
        for skip in &self.skips {
            println!("skipped: {skip}");
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
        println!("{}", self.closing_line());
        if self.has_failed() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(counts: &str, word: &str) -> u64 {
    let mut words = counts.split([' ', ';']).filter(|word| !word.is_empty());
    let mut before = "";
    words
        .find_map(|this| {
            let number = (this == word).then_some(before);
            before = this;
            number
        })
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Whether it is `running 3 tests`.
fn is_start(line: &str) -> bool {
    let number = line.strip_prefix("running ").and_then(|rest| {
        rest.strip_suffix(" tests")
            .or_else(|| rest.strip_suffix(" test"))
    });
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// The name in `test some::name ... ignored, reason`.
fn ignored(line: &str) -> Option<String> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let reason = verdict.strip_prefix("ignored")?;
    Some(format!("{name}: ignored{reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str], success: bool) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read_line(line);
        }
        tally.end_of_cargo("exit status: 101", success);
        tally
    }

    const GOOD: &str = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";

    #[test]
    fn results_of_all_binaries_are_summed() {
        let bad = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        let name = "test late::one ... ignored, needs a moon";
        let tally = tally(
            &["running 3 tests", GOOD, "running 8 tests", name, bad],
            false,
        );
        assert_eq!(tally.closing_line(), "8 passed, 2 failed, 1 skipped");
        assert_eq!(tally.skips, ["late::one: ignored, needs a moon"]);
    }

    #[test]
    fn one_that_could_not_run_is_skipped_and_not_passed() {
        let skip = "test pg ... tombola-skip: pg: no PostgreSQL here";
        let tally = tally(&["running 3 tests", skip, GOOD], true);
        assert_eq!(tally.closing_line(), "2 passed, 0 failed, 1 skipped");
        assert!(!tally.has_failed());
    }

    #[test]
    fn cargo_that_fails_without_a_failed_test_is_one_failure() {
        assert_eq!(
            tally(&[], false).closing_line(),
            "0 passed, 1 failed, 0 skipped"
        );
    }

    #[test]
    fn binary_that_dies_is_one_failure_beside_the_failed_tests() {
        let tally = tally(&["running 9 tests", "running 3 tests", GOOD], false);
        assert_eq!(tally.closing_line(), "3 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn skip_of_a_binary_that_dies_is_not_taken_from_another_binary() {
        let skip = "tombola-skip: pg: no PostgreSQL here";
        let tally = tally(&["running 2 tests", skip, "running 3 tests", GOOD], false);
        assert_eq!(tally.closing_line(), "3 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn sentence_that_begins_with_running_is_no_test_binary() {
        assert!(!is_start("running out of tests"));
        assert!(is_start("running 1 test"));
    }
}
