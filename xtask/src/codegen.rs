//! Files that are generated from the code: the example config and the reference pages.
//!
//! `tombola reference DIR` writes them all below DIR, laid out as in the tree; here they are copied
//! into the tree or, with `--check`, compared with it. What is generated is decided there alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{self, Workspace};

/// Features as the tests have them, so that both share their builds: cargo adds those that tests ask
/// for only where examples (of which there may be none) are named.
const BUILD: [&str; 6] = [
    "build",
    "--workspace",
    "--all-features",
    "--examples",
    "--bin",
    "tombola",
];

/// The binary as the tests have it.
pub(crate) fn binary(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(&mut workspace.cargo(BUILD))?;
    Ok(workspace.target().join("debug").join("tombola"))
}

pub(crate) fn run(workspace: &Workspace, check: bool) -> Result<()> {
    let binary = binary(workspace)?;
    let fresh = workspace.scratch("reference")?;
    shell::run(
        std::process::Command::new(binary)
            .arg("reference")
            .arg(&fresh),
    )?;

    let stale = stale_files(&fresh, &workspace.root())?;
    if check && !stale.is_empty() {
        let names = stale
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>();
        bail!(
            "not as generated, `cargo xtask codegen` mends it: {}",
            names.join(", ")
        );
    }
    for path in stale {
        copy(&fresh.join(&path), &workspace.root().join(&path))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Which generated files differ from the tree's, as paths within it.
fn stale_files(fresh: &Path, tree: &Path) -> Result<Vec<PathBuf>> {
    let files = files_below(fresh)?;
    ensure!(!files.is_empty(), "`tombola reference` wrote no file");
    let mut stale = Vec::new();
    for file in files {
        let path = file.strip_prefix(fresh)?.to_path_buf();
        if fs::read(tree.join(&path)).ok() != Some(fs::read(&file)?) {
            stale.push(path);
        }
    }
    Ok(stale)
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).with_context(|| format!("writing {}", to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_and_missing_files_are_stale_and_equal_ones_are_not() {
        let (fresh, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(fresh.path().join("docs")).unwrap();
        for name in ["same", "changed", "docs/missing"] {
            fs::write(fresh.path().join(name), name).unwrap();
        }
        fs::write(tree.path().join("same"), "same").unwrap();
        fs::write(tree.path().join("changed"), "by hand").unwrap();
        let stale = stale_files(fresh.path(), tree.path()).unwrap();
        assert_eq!(stale, [Path::new("changed"), Path::new("docs/missing")]);
    }

    #[test]
    fn generator_that_writes_nothing_is_an_error() {
        let (fresh, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(stale_files(fresh.path(), tree.path()).is_err());
    }

    #[test]
    fn copy_makes_the_folders_it_needs() {
        let tree = tempfile::tempdir().unwrap();
        let (from, to) = (tree.path().join("page"), tree.path().join("docs/new/page"));
        fs::write(&from, "text").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to).unwrap(), "text");
    }
}
