//! The secrets that sign the calls of an endpoint: one, and for a while after it was
//! changed those before it as well, so that a receiver changes its own when it suits
//! and no call is lost.
//!
//! No secret that somebody may still have to verify with is dropped to make room for
//! another: a change beyond the bound is refused until an older one has ended, or
//! until the word is given that all of them end now (an overlap of nothing, as after
//! a leak).

use crate::Timestamp;
use crate::limits::ENDPOINT_SECRETS_MAX;
use std::fmt;
use std::time::Duration;

/// A secret that signs calls.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    /// `whsec_…`
    pub text: String,
    /// Until when it signs beside a newer one; the newest has no end.
    pub ends_at: Option<Timestamp>,
}

// Secrets never enter logs, so they are not in the debug form.
impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret")
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

impl SigningSecret {
    /// The newest of an endpoint.
    pub fn newest(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ends_at: None,
        }
    }

    /// Whether it signs at that instant.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.ends_at.is_none_or(|end| now < end)
    }
}

/// As many secrets sign already as may; the first of them ends then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{ENDPOINT_SECRETS_MAX} secrets sign already, and the oldest ends at {ends_at}")]
pub struct SecretsFull {
    /// When the first of them ends.
    pub ends_at: Timestamp,
}

/// The secrets with `newest` in front, the newest first. Those before it sign for
/// `overlap` more at most; with none they end now. What is the newest already stays
/// so.
pub fn with_newest(
    kept: Vec<SigningSecret>,
    newest: String,
    overlap: Duration,
    now: Timestamp,
) -> Result<Vec<SigningSecret>, SecretsFull> {
    let mut secrets: Vec<SigningSecret> = kept.into_iter().filter(|it| it.signs_at(now)).collect();
    if secrets.first().is_some_and(|first| first.text == newest) {
        return Ok(secrets);
    }
    let latest = now.plus(overlap);
    secrets.retain(|it| it.text != newest);
    for older in &mut secrets {
        older.ends_at = Some(older.ends_at.map_or(latest, |end| end.min(latest)));
    }
    secrets.retain(|it| it.signs_at(now));
    secrets.insert(0, SigningSecret::newest(newest));
    let first_end = secrets.iter().filter_map(|it| it.ends_at).min();
    match first_end {
        Some(ends_at) if secrets.len() > ENDPOINT_SECRETS_MAX => Err(SecretsFull { ends_at }),
        Some(_) | None => Ok(secrets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_771_000_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn texts(secrets: &[SigningSecret]) -> Vec<&str> {
        secrets.iter().map(|it| it.text.as_str()).collect()
    }

    fn change(kept: Vec<SigningSecret>, newest: &str, hours: u32, now: Timestamp) -> Changed {
        with_newest(kept, newest.to_owned(), HOUR * hours, now)
    }

    type Changed = Result<Vec<SigningSecret>, SecretsFull>;

    #[test]
    fn secret_before_signs_until_the_overlap_is_over_and_not_at_its_end() {
        let first = change(Vec::new(), "a", 24, NOW).unwrap();
        assert_eq!(first, [SigningSecret::newest("a")]);
        let both = change(first, "b", 24, NOW).unwrap();
        assert_eq!(texts(&both), ["b", "a"]);
        let end = NOW.plus(HOUR * 24);
        assert_eq!(both[1].ends_at, Some(end));
        assert!(both[1].signs_at(end.minus(Duration::from_micros(1))));
        assert!(!both[1].signs_at(end));
        assert!(both[0].signs_at(end));
    }

    #[test]
    fn change_within_the_overlap_keeps_every_secret_until_its_own_end() {
        let both = change(vec![SigningSecret::newest("a")], "b", 24, NOW).unwrap();
        let later = NOW.plus(HOUR);
        let three = change(both, "c", 24, later).unwrap();
        let ends: Vec<_> = three.iter().map(|it| it.ends_at).collect();
        assert_eq!(texts(&three), ["c", "b", "a"]);
        assert_eq!(
            ends,
            [None, Some(later.plus(HOUR * 24)), Some(NOW.plus(HOUR * 24))]
        );
    }

    #[test]
    fn secret_beyond_the_bound_is_refused_until_the_oldest_has_ended() {
        let mut secrets = vec![SigningSecret::newest("s0")];
        for n in 1..ENDPOINT_SECRETS_MAX {
            secrets = change(secrets, &format!("s{n}"), 24, NOW).unwrap();
        }
        let end = NOW.plus(HOUR * 24);
        assert_eq!(secrets.len(), ENDPOINT_SECRETS_MAX);
        let refused = change(secrets.clone(), "more", 24, end.minus(HOUR));
        assert_eq!(refused, Err(SecretsFull { ends_at: end }));
        let after = change(secrets, "more", 24, end).unwrap();
        assert_eq!(texts(&after), ["more", "s2"]);
    }

    #[test]
    fn shorter_overlap_ends_all_older_ones_earlier_and_none_ends_them_now() {
        let both = change(vec![SigningSecret::newest("a")], "b", 24, NOW).unwrap();
        let soon = change(both.clone(), "c", 1, NOW).unwrap();
        assert!(
            soon[1..]
                .iter()
                .all(|it| it.ends_at == Some(NOW.plus(HOUR)))
        );
        let now = change(soon, "d", 0, NOW).unwrap();
        assert_eq!(texts(&now), ["d"]);
    }

    #[test]
    fn newest_put_again_changes_nothing_and_an_older_one_put_again_is_the_newest() {
        let both = change(vec![SigningSecret::newest("a")], "b", 24, NOW).unwrap();
        assert_eq!(change(both.clone(), "b", 0, NOW), Ok(both.clone()));
        let back = change(both, "a", 24, NOW).unwrap();
        assert_eq!(texts(&back), ["a", "b"]);
        assert_eq!(back[0].ends_at, None);
    }

    #[test]
    fn secret_is_in_no_debug_form() {
        let shown = format!("{:?}", SigningSecret::newest("whsec_hidden"));
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
