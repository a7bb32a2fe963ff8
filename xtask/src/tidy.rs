//! `cargo xtask tidy`: what the house asks for and no compiler checks.
//!
//! Each check is a pure function over files or over cargo's list of dependencies, so its unit test
//! can plant a violation. Only `tree.rs` reads the tree.

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

use crate::shell::Workspace;

mod bounds;
mod claims;
mod crates;
mod habits;
mod manifests;
mod maps;
mod sources;
mod tree;
mod vendored;
mod words;

/// One file of the tree as the checks see it: its path from the root, with `/`, and its text.
#[derive(Debug)]
pub(crate) struct Text {
    path: String,
    text: String,
}

impl Text {
    fn is_source(&self) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|ending| ending == "rs")
    }
}

/// One place where a rule is broken.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    /// A path, or the name of a crate.
    place: String,
    /// Counted from 1; 0 where the whole file is meant.
    line: usize,
    what: String,
    /// A warning is shown and does not fail the chore.
    is_warning: bool,
}

impl Finding {
    fn new(place: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            line,
            what: what.into(),
            is_warning: false,
        }
    }

    fn warning(place: &str, what: impl Into<String>) -> Self {
        Self {
            is_warning: true,
            ..Self::new(place, 0, what)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.is_warning { "warning" } else { "error" };
        write!(f, "{level}: {}", self.place)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.what)
    }
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let texts = tree::read(&workspace.root())?;
    let mut findings = crates::check(&crates::listings(&workspace.metadata));
    findings.extend(manifests::check(&texts));
    findings.extend(maps::check(&texts));
    for page in ["docs/defects.md", bounds::PAGE] {
        findings.extend(claims::check(page, &texts));
    }
    findings.extend(bounds::check(&texts));
    findings.extend(sources::check(&texts));
    findings.extend(habits::check(&texts));
    findings.extend(words::check(
        &texts,
        &words::machine_paths(&workspace.root()),
    ));
    findings.extend(vendored::check(&tree::read_vendored(&workspace.root())?));
    report(&findings, texts.len())
}

fn report(findings: &[Finding], files: usize) -> Result<()> {
    for finding in findings {
        println!("{finding}");
    }
    let errors = findings
        .iter()
        .filter(|finding| !finding.is_warning)
        .count();
    if errors > 0 {
        bail!("tidy: {errors} to mend");
    }
    println!("tidy: {files} files, nothing to mend");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file for a check to look at.
    pub(super) fn text(path: &str, text: &str) -> Text {
        Text {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// What the findings say, without the places.
    pub(super) fn said(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.what.as_str())
            .collect()
    }

    #[test]
    fn warning_does_not_fail_and_an_error_does() {
        let warning = Finding::warning("a.rs", "long");
        assert!(report(std::slice::from_ref(&warning), 1).is_ok());
        assert!(report(&[warning, Finding::new("a.rs", 0, "wrong")], 1).is_err());
    }

    #[test]
    fn finding_names_its_place() {
        assert_eq!(
            Finding::new("a.rs", 7, "wrong").to_string(),
            "error: a.rs:7: wrong"
        );
        assert_eq!(
            Finding::warning("a.rs", "long").to_string(),
            "warning: a.rs: long"
        );
    }
}
