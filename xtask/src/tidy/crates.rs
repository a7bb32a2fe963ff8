//! Which crate may list which: `core ← {engine, store, broker} ← server`, and what is absent from
//! each. A new arrow needs a note in `docs/decisions` and a change here.
//!
//! Dependencies of tests are free: a test may look at the whole world.

use cargo_metadata::{DependencyKind, Metadata};

use super::Finding;

/// What a crate of the workspace may list of it.
const ARROWS: &[(&str, &[&str])] = &[
    ("tombola-core", &[]),
    ("tombola-engine", &["tombola-core"]),
    ("tombola-store", &["tombola-core"]),
    ("tombola-broker", &["tombola-core"]),
    (
        "tombola-server",
        &[
            "tombola-core",
            "tombola-engine",
            "tombola-store",
            "tombola-broker",
        ],
    ),
];

/// Worlds for tests and chores may list anything, and nobody lists them outside tests.
const OUTSIDE: &[&str] = &["tombola-testkit", "xtask"];

/// All that `core` may list of other people's crates: no I/O, no clock, no runtime.
const CORE_ONLY: &[&str] = &[
    "async-trait",
    "jiff",
    "schemars", // behind the feature `schema`: docs/decisions/0007-the-openapi-document.md
    "serde",
    "serde_json",
    "thiserror",
    "toml",
];

/// What is absent from the crates in the middle.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "tombola-engine",
        &["axum", "rdkafka", "rusqlite", "tokio-postgres"],
    ),
    ("tombola-store", &["axum", "rdkafka", "reqwest"]),
    ("tombola-broker", &["axum", "rusqlite", "tokio-postgres"]),
];

/// One dependency line of one crate, those of tests left out.
#[derive(Debug)]
pub(super) struct Listing {
    krate: String,
    lists: String,
    is_ours: bool,
}

pub(super) fn listings(metadata: &Metadata) -> Vec<Listing> {
    let packages = metadata.workspace_packages();
    let dependencies = packages.iter().flat_map(|package| {
        let outside_tests = package
            .dependencies
            .iter()
            .filter(|one| one.kind != DependencyKind::Development);
        outside_tests.map(|dependency| Listing {
            krate: package.name.to_string(),
            lists: dependency.name.clone(),
            is_ours: dependency.path.is_some(),
        })
    });
    dependencies.collect()
}

pub(super) fn check(listings: &[Listing]) -> Vec<Finding> {
    let broken = listings.iter().filter_map(|listing| {
        let what = if listing.is_ours {
            wrong_arrow(listing)
        } else {
            wrong_guest(listing)
        };
        what.map(|what| Finding::new(&listing.krate, 0, what))
    });
    broken.collect()
}

/// A crate of ours that the crate may not see.
fn wrong_arrow(Listing { krate, lists, .. }: &Listing) -> Option<String> {
    if OUTSIDE.contains(&lists.as_str()) {
        return Some(format!("lists `{lists}` outside its tests"));
    }
    if OUTSIDE.contains(&krate.as_str()) {
        return None;
    }
    match of(ARROWS, krate) {
        None => Some("is a new crate: say in xtask/src/tidy/crates.rs what it may list".to_owned()),
        Some(allowed) if allowed.contains(&lists.as_str()) => None,
        Some(_) => Some(format!("may not list `{lists}`")),
    }
}

/// Somebody else's crate that has no business there.
fn wrong_guest(Listing { krate, lists, .. }: &Listing) -> Option<String> {
    let lists = lists.as_str();
    let absent = of(ABSENT, krate).is_some_and(|absent| absent.contains(&lists));
    let not_for_core = krate == "tombola-core" && !CORE_ONLY.contains(&lists);
    (absent || not_for_core).then(|| format!("may not list `{lists}`"))
}

fn of(table: &'static [(&str, &[&str])], krate: &str) -> Option<&'static [&'static str]> {
    table
        .iter()
        .find(|(name, _)| *name == krate)
        .map(|(_, row)| *row)
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    fn ours(krate: &str, lists: &str) -> Listing {
        Listing {
            krate: krate.to_owned(),
            lists: lists.to_owned(),
            is_ours: true,
        }
    }

    fn guest(krate: &str, lists: &str) -> Listing {
        Listing {
            is_ours: false,
            ..ours(krate, lists)
        }
    }

    #[test]
    fn allowed_arrows_pass() {
        let listings = [
            ours("tombola-engine", "tombola-core"),
            ours("tombola-server", "tombola-store"),
            ours("tombola-testkit", "tombola-engine"),
            guest("tombola-core", "serde"),
            guest("tombola-store", "rusqlite"),
        ];
        assert_eq!(check(&listings), []);
    }

    #[test]
    fn crates_in_the_middle_never_see_each_other() {
        let findings = check(&[ours("tombola-engine", "tombola-store")]);
        assert_eq!(said(&findings), ["may not list `tombola-store`"]);
        assert_eq!(check(&[ours("tombola-core", "tombola-broker")]).len(), 1);
    }

    #[test]
    fn nobody_lists_the_testkit_outside_tests() {
        let findings = check(&[ours("tombola-server", "tombola-testkit")]);
        assert_eq!(
            said(&findings),
            ["lists `tombola-testkit` outside its tests"]
        );
    }

    #[test]
    fn new_crate_must_be_given_its_arrows() {
        assert!(said(&check(&[ours("tombola-mail", "tombola-core")]))[0].contains("new crate"));
    }

    #[test]
    fn guests_stay_out_of_crates_that_must_not_know_them() {
        let listings = [
            guest("tombola-core", "tokio"),
            guest("tombola-engine", "rdkafka"),
            guest("tombola-store", "axum"),
            guest("tombola-broker", "rusqlite"),
        ];
        assert_eq!(check(&listings).len(), listings.len());
    }
}
