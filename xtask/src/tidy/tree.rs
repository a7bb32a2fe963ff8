//! Reads the files that belong to the project, and nothing that a build or a run left behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Text;
use super::vendored::File;

/// Folders that are not ours to judge: git's own, other people's code, data of a server run here.
const FOREIGN: [&str; 4] = [".git", "node_modules", "vendor", "tombola-data"];

/// The file by which cargo marks a build directory, whatever its name.
const BUILD_MARK: &str = "CACHEDIR.TAG";

/// All texts below the root, in the order of their paths. Files that are not UTF-8 are no texts.
pub(super) fn read(root: &Path) -> Result<Vec<Text>> {
    let mut texts = Vec::new();
    read_into(root, "", &mut texts)?;
    texts.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(texts)
}

fn read_into(dir: &Path, prefix: &str, texts: &mut Vec<Text>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !FOREIGN.contains(&name.as_str()) && !entry.path().join(BUILD_MARK).exists() {
                read_into(&entry.path(), &format!("{path}/"), texts)?;
            }
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).with_context(|| format!("reading {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                texts.push(Text { path, text });
            }
        }
    }
    Ok(())
}

/// Where other people's files are, each project's in a folder of its own.
const VENDOR: &str = "vendor";

/// All files of the folders below every `vendor`.
pub(super) fn read_vendored(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    find_vendored(root, "", &mut files)?;
    Ok(files)
}

fn find_vendored(dir: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    for (name, path) in folders(dir)? {
        let folder = format!("{prefix}{name}");
        if name == VENDOR {
            for (project, path) in folders(&path)? {
                read_folder(&path, &format!("{folder}/{project}"), files)?;
            }
        } else if !FOREIGN.contains(&name.as_str()) && !path.join(BUILD_MARK).exists() {
            find_vendored(&path, &format!("{folder}/"), files)?;
        }
    }
    Ok(())
}

fn folders(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            folders.push((name, entry.path()));
        }
    }
    folders.sort();
    Ok(folders)
}

fn read_folder(dir: &Path, folder: &str, files: &mut Vec<File>) -> Result<()> {
    let mut names: Vec<_> = fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).with_context(|| format!("reading {folder}/{name}"))?;
        files.push(File {
            folder: folder.to_owned(),
            name,
            bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_and_foreign_folders_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (path, text) in [
            ("src/lib.rs", "//! Ours.\n"),
            (".ci/run", "#!/bin/bash\n"),
            ("target/CACHEDIR.TAG", "Signature\n"),
            ("target/lib.rs", "built"),
            ("web/vendor/page.js", "theirs"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("each is below the root")).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(root.join("picture.png"), [0xff, 0xfe]).unwrap();
        let texts = read(root).unwrap();
        let paths: Vec<_> = texts.iter().map(|text| text.path.as_str()).collect();
        assert_eq!(paths, [".ci/run", "src/lib.rs"]);
    }

    #[test]
    fn files_of_each_vendored_project_are_read_with_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("web/vendor/ui");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("ui.js"), [0xff]).unwrap();
        fs::write(dir.path().join("web/own.js"), "ours").unwrap();
        let files = read_vendored(dir.path()).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|file| (file.folder.as_str(), file.name.as_str()))
            .collect();
        assert_eq!(names, [("web/vendor/ui", "ui.js")]);
    }
}
