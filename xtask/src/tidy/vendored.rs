//! Other people's files in the tree are what their makers published: each folder below a `vendor`
//! has its licence and a `SHA256SUMS`, and that names every file of the folder with its checksum.

use sha2::{Digest, Sha256};

use super::Finding;

const SUMS: &str = "SHA256SUMS";

/// One file below a folder `vendor`: its folder, its name there, and what is in it.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) folder: String,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut folders: Vec<_> = files.iter().map(|file| file.folder.as_str()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
        .into_iter()
        .flat_map(|folder| {
            let inside: Vec<_> = files.iter().filter(|file| file.folder == folder).collect();
            check_folder(folder, &inside)
        })
        .collect()
}

fn check_folder(folder: &str, files: &[&File]) -> Vec<Finding> {
    let finding = |what: String| Finding::new(folder, 0, what);
    let Some(sums) = files.iter().find(|file| file.name == SUMS) else {
        return vec![finding(format!("has no `{SUMS}`"))];
    };
    let sums = String::from_utf8_lossy(&sums.bytes);
    let said: Vec<_> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .collect();
    let mut findings = Vec::new();
    if !files.iter().any(|file| file.name.starts_with("LICENSE")) {
        findings.push(finding("has no `LICENSE`".to_owned()));
    }
    for file in files.iter().filter(|file| file.name != SUMS) {
        match said.iter().find(|(_, name)| *name == file.name) {
            None => findings.push(finding(format!("`{}` is not in `{SUMS}`", file.name))),
            Some((sum, _)) if *sum != hex(&file.bytes) => {
                findings.push(finding(format!("`{}` was changed", file.name)));
            }
            Some(_) => {}
        }
    }
    let gone = said
        .iter()
        .filter(|(_, name)| !files.iter().any(|file| file.name == *name));
    findings.extend(gone.map(|(_, name)| finding(format!("`{name}` is gone"))));
    findings
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("{digest:x}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File {
            folder: "web/vendor/ui".to_owned(),
            name: name.to_owned(),
            bytes: text.into(),
        }
    }

    fn folder() -> Vec<File> {
        let (code, licence) = (file("ui.js", "code"), file("LICENSE", "free"));
        let sums = format!("{}  ui.js\n{}  LICENSE\n", hex(b"code"), hex(b"free"));
        vec![code, licence, file(SUMS, &sums)]
    }

    #[test]
    fn folder_as_it_was_published_passes() {
        assert_eq!(check(&folder()), []);
    }

    #[test]
    fn changed_missing_and_unknown_files_are_found() {
        let mut files = folder();
        files[0].bytes.push(b' ');
        files.remove(1);
        files.push(file("more.js", "code"));
        let findings = check(&files);
        assert_eq!(
            said(&findings),
            [
                "has no `LICENSE`",
                "`ui.js` was changed",
                "`more.js` is not in `SHA256SUMS`",
                "`LICENSE` is gone"
            ]
        );
    }

    #[test]
    fn folder_without_checksums_is_found() {
        let findings = check(&folder()[..2]);
        assert_eq!(said(&findings), ["has no `SHA256SUMS`"]);
    }
}
