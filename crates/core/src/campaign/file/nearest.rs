//! The known word that somebody probably meant.

/// The one of `known` that is nearest to `word`, if it is near enough to be
/// meant: at most one edit in three characters. An edit inserts, removes or
/// replaces a character, or swaps two neighbours. Case does not count.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const CHARS_MAX: usize = 64;
    let word: Vec<char> = word.to_lowercase().chars().take(CHARS_MAX + 1).collect();
    if word.len() > CHARS_MAX {
        return None;
    }
    known
        .into_iter()
        .map(|known| {
            (
                edits(&word, &known.to_lowercase().chars().collect::<Vec<_>>()),
                known,
            )
        })
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, _)| *edits <= word.len().div_ceil(3))
        .map(|(_, known)| known)
}

/// The optimal string alignment distance, by rows.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_the_word() {
        let known = ["odds", "stock", "daily_cap", "per_user_wins"];
        for (word, meant) in [
            ("odss", "odds"),
            ("Stock", "stock"),
            ("dialy_cap", "daily_cap"),
            ("per_user_win", "per_user_wins"),
            ("stcok", "stock"),
        ] {
            assert_eq!(nearest(word, known), Some(meant), "{word}");
        }
    }

    #[test]
    fn a_word_that_resembles_none_finds_none() {
        assert_eq!(nearest("colour", ["odds", "stock"]), None);
        assert_eq!(nearest("", ["odds"]), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), ["odds"]), None);
    }
}
