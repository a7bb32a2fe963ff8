//! The pages that lead through the tree name only what is there: each path in backticks that begins
//! with a folder of ours must exist.

use super::{Finding, Text};

/// The page that the house promises to keep true, and those that are held to it when they are there.
const MAPS: [&str; 3] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"];

/// Where a path of ours begins.
const FOLDERS: [&str; 6] = ["crates/", "docs/", "examples/", "xtask/", "bench/", ".ci/"];

pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in MAPS {
        let Some(map) = texts.iter().find(|text| text.path == name) else {
            if name == MAPS[0] {
                findings.push(Finding::new(name, 0, "is missing"));
            }
            continue;
        };
        for (line, path) in named_paths(&map.text) {
            if !exists(texts, path) {
                findings.push(Finding::new(
                    name,
                    line,
                    format!("names `{path}`, which is gone"),
                ));
            }
        }
    }
    findings
}

fn exists(texts: &[Text], path: &str) -> bool {
    let path = path.trim_end_matches('/');
    texts.iter().any(|text| {
        text.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Paths in backticks with their lines. Fenced blocks are commands and drawings, and a path with a
/// blank to fill in, such as `docs/decisions/NNNN-title.md`, is a pattern.
fn named_paths(map: &str) -> Vec<(usize, &str)> {
    let mut paths = Vec::new();
    let mut fenced = false;
    for (index, line) in map.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let quoted = line.split('`').skip(1).step_by(2);
            paths.extend(
                quoted
                    .filter(|one| is_path(one))
                    .map(|path| (index + 1, path)),
            );
        }
    }
    paths
}

fn is_path(quoted: &str) -> bool {
    let is_pattern = quoted.contains("NNNN") || quoted.contains(['<', '…', ' ']);
    !is_pattern && FOLDERS.iter().any(|folder| quoted.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, text};
    use super::*;

    fn findings(map: &str) -> Vec<Finding> {
        check(&[
            text("ARCHITECTURE.md", map),
            text("crates/engine/src/relay.rs", "//! Relays.\n"),
        ])
    }

    #[test]
    fn files_and_folders_that_are_there_may_be_named() {
        let map = "`crates/engine/src/relay.rs` is in `crates/engine/src/` and `crates/engine`.\n";
        assert_eq!(findings(map), []);
    }

    #[test]
    fn path_that_is_gone_is_found_with_its_line() {
        let findings = findings("One.\nSee `relay.rs` and `crates/engine/src/rel`.\n");
        assert_eq!(
            said(&findings),
            ["names `crates/engine/src/rel`, which is gone"]
        );
        assert_eq!(findings[0].line, 2);
    }

    #[test]
    fn patterns_commands_and_drawings_are_no_paths() {
        let map = "`docs/decisions/NNNN-title.md`, `cargo run`\n```\n`docs/gone.md`\n```\n";
        assert_eq!(findings(map), []);
    }

    #[test]
    fn architecture_must_be_there() {
        assert_eq!(said(&check(&[])), ["is missing"]);
    }
}
