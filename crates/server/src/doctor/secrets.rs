//! `secret.key`: there, for its owner only, and the one that the database was used
//! with. Claim tokens, and whatever is sealed at rest, cannot be read without it.

use crate::api::Finding;
use std::collections::BTreeMap;
use std::fmt;

/// Whether the secrets of this directory are those of its database.
pub(super) const USED: &str = "secret_key.used";

/// What tells one secret from another, by version.
type Marks = BTreeMap<i32, [u8; 16]>;

/// How the secrets of a file differ from those that its database was used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Another secret has this version's number: it passes for the right one.
    Another(i32),
    /// This version is not in the file.
    Missing(i32),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Another(version) => write!(
                f,
                "version {version} of secret.key is not the secret that the database was used with"
            ),
            Self::Missing(version) => write!(
                f,
                "version {version} of secret.key, which the database was used with, is not there"
            ),
        }
    }
}

/// Marks of the file beside those that the database was used with.
pub(super) fn used(file: &Marks, database: &Marks) -> Finding {
    let mend = "put the line of the right secret.key back; a new secret gets a version of its own";
    match difference(file, database) {
        None => Finding::ok(USED, "the database was used with these secrets"),
        Some(missing @ Difference::Missing(_)) => Finding::warning(USED, missing.to_string(), mend),
        Some(another @ Difference::Another(_)) => Finding::fault(USED, another.to_string(), mend),
    }
}

/// The worst difference, if there is one.
pub(crate) fn difference(file: &Marks, database: &Marks) -> Option<Difference> {
    let another = database
        .iter()
        .find(|(version, used)| file.get(version).is_some_and(|there| there != *used));
    let missing = database.keys().find(|version| !file.contains_key(version));
    another
        .map(|(version, _)| Difference::Another(*version))
        .or(missing.map(|version| Difference::Missing(*version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;

    fn marks(marks: &[(i32, u8)]) -> Marks {
        marks
            .iter()
            .map(|(version, byte)| (*version, [*byte; 16]))
            .collect()
    }

    #[test]
    fn secret_that_passes_for_another_is_a_fault_and_a_missing_one_a_warning() {
        let database = marks(&[(1, 7), (2, 8)]);
        let state = |file| used(&marks(file), &database).state;
        assert_eq!(state(&[(1, 7), (2, 8), (3, 9)]), CheckState::Ok);
        assert_eq!(state(&[(1, 7)]), CheckState::Warning);
        assert_eq!(state(&[(2, 0)]), CheckState::Fault);
        assert_eq!(difference(&marks(&[(1, 7)]), &marks(&[])), None);
    }
}
