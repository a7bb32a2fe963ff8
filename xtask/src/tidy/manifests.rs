//! Every dependency says what it is for: by a comment on its line, on the line above it, or beside
//! the same name in the root's table.
//!
//! The manifests are read as lines, because a parser would drop the comments.

use super::{Finding, Text};

pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    let manifests = texts.iter().filter(|text| is_manifest(&text.path));
    let (roots, crates): (Vec<_>, Vec<_>) = manifests.partition(|text| text.path == "Cargo.toml");
    let shared: Vec<Line> = roots
        .iter()
        .flat_map(|root| dependency_lines(&root.text))
        .collect();
    let said = |name: &str| {
        shared
            .iter()
            .any(|line| line.name == name && line.has_comment)
    };

    let mut findings = Vec::new();
    for manifest in roots.iter().chain(&crates) {
        for line in dependency_lines(&manifest.text) {
            let is_explained = line.has_comment || line.is_shared && said(&line.name);
            if !line.is_path && !is_explained {
                let what = format!("`{}` does not say what it is for", line.name);
                findings.push(Finding::new(&manifest.path, line.number, what));
            }
        }
    }
    findings
}

fn is_manifest(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}

/// A dependency as its manifest writes it.
struct Line {
    number: usize,
    name: String,
    has_comment: bool,
    /// A crate of ours: its own first sentence says what it is for.
    is_path: bool,
    /// The root's table says the rest.
    is_shared: bool,
}

fn dependency_lines(manifest: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut open = false;
    let mut comment_above = false;
    for (index, line) in manifest.lines().enumerate() {
        let trimmed = line.trim();
        let (code, comment) = split_comment(trimmed);
        if code.starts_with('[') && !open {
            inside = is_dependency_table(code);
        } else if inside
            && !open
            && let Some((key, value)) = code.split_once('=')
        {
            found.push(read_line(
                index + 1,
                key.trim(),
                value,
                comment || comment_above,
            ));
            open = value.matches('[').count() > value.matches(']').count();
        } else if open {
            open = !code.contains(']');
        }
        comment_above = code.is_empty() && comment;
    }
    found
}

fn read_line(number: usize, key: &str, value: &str, has_comment: bool) -> Line {
    let name = key
        .split('.')
        .next()
        .unwrap_or(key)
        .trim_matches('"')
        .to_owned();
    let is_path = name.starts_with("tombola-") || value.contains("path =");
    let is_shared = key.ends_with(".workspace") || value.contains("workspace = true");
    Line {
        number,
        name,
        has_comment,
        is_path,
        is_shared,
    }
}

fn is_dependency_table(header: &str) -> bool {
    header.trim_matches(['[', ']']).ends_with("dependencies")
}

/// The part before the comment, and whether there is one that says anything.
fn split_comment(line: &str) -> (&str, bool) {
    let mut quoted = false;
    for (at, letter) in line.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '#' if !quoted => return (line[..at].trim_end(), line[at + 1..].trim().len() > 2),
            _ => {}
        }
    }
    (line, false)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, text};
    use super::*;

    const ROOT: &str = "[workspace.dependencies]\n\
        tombola-core = { path = \"crates/core\" }\n\
        serde = \"1\" # wire and config\n\
        toml = { version = \"1\", features = [\"a\"] } # files\n";

    fn findings(root: &str, manifest: &str) -> Vec<Finding> {
        check(&[
            text("Cargo.toml", root),
            text("crates/core/Cargo.toml", manifest),
        ])
    }

    #[test]
    fn root_table_speaks_for_the_crates() {
        let manifest = "[dependencies]\nserde.workspace = true\ntombola-core.workspace = true\n";
        assert_eq!(findings(ROOT, manifest), []);
    }

    #[test]
    fn dependency_without_a_word_is_found_with_its_line() {
        let manifest = "[package]\nname = \"x\"\n\n[dev-dependencies]\ninsta = \"1\"\n";
        let findings = findings(ROOT, manifest);
        assert_eq!(said(&findings), ["`insta` does not say what it is for"]);
        assert_eq!(findings[0].line, 5);
    }

    #[test]
    fn own_version_is_not_covered_by_the_root_table() {
        assert_eq!(findings(ROOT, "[dependencies]\nserde = \"0.9\"\n").len(), 1);
    }

    #[test]
    fn root_table_must_speak_itself() {
        let findings = findings("[workspace.dependencies]\nrand = \"0.9\" #\n", "");
        assert_eq!(said(&findings), ["`rand` does not say what it is for"]);
    }

    #[test]
    fn comment_above_and_lists_over_several_lines_are_understood() {
        let manifest = "[target.'cfg(unix)'.dependencies]\n# signals of the terminal\n\
            nix = { version = \"1\", features = [\n  \"signal\",\n  \"x = #\",\n] }\nbytes = \"1\"\n";
        let findings = findings(ROOT, manifest);
        assert_eq!(said(&findings), ["`bytes` does not say what it is for"]);
        assert_eq!(findings[0].line, 7);
    }
}
