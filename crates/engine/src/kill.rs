//! Kill points: with the feature `kill-points`, the process ends at the hop that
//! `TOMBOLA_KILL_POINT` names (`after_commit`, or `after_commit:3` for the third
//! pass), as if by a power cut: no destructor runs, nothing is flushed. Without
//! the feature a point compiles to nothing.

/// Every point there is, in the order of the path.
pub const POINTS: &[&str] = &[
    "before_commit",
    "after_commit",
    "before_handoff",
    "before_publish",
    "after_publish",
    "after_mark",
    "before_rescue_claim",
    "rescue_after_claim",
    "after_consume",
    "before_keep",
    "after_keep",
    "before_adopt",
    "after_adopt",
    "before_deliver",
    "after_deliver",
    "before_defer",
    "after_defer",
    "before_claim",
    "after_claim",
    "before_call",
    "after_call_before_record",
    "after_record",
    "before_give_back",
    "after_give_back",
    "before_offset_commit",
    "after_offset_commit",
];

/// The environment variable that names the point.
pub const VARIABLE: &str = "TOMBOLA_KILL_POINT";

/// Ends the process if this is the named point and the named pass.
#[cfg(feature = "kill-points")]
pub fn point(name: &'static str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static CHOSEN: LazyLock<Option<(String, u64)>> =
        LazyLock::new(|| std::env::var(VARIABLE).ok().and_then(|text| parse(&text)));
    static PASSES: AtomicU64 = AtomicU64::new(0);
    if let Some((chosen, pass)) = CHOSEN.as_ref()
        && chosen == name
        && PASSES.fetch_add(1, Ordering::SeqCst) + 1 == *pass
    {
        std::process::abort();
    }
}

/// Nothing, in a process as shipped.
#[cfg(not(feature = "kill-points"))]
#[inline]
pub const fn point(_name: &'static str) {}

/// Reads `name` or `name:n`; `None` if no point has that name or `n` is no pass.
pub fn parse(text: &str) -> Option<(String, u64)> {
    let (name, pass) = match text.split_once(':') {
        Some((name, pass)) => (name, pass.parse().ok().filter(|pass| *pass > 0)?),
        None => (text, 1),
    };
    POINTS.contains(&name).then(|| (name.to_owned(), pass))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_is_named_alone_or_with_its_pass() {
        assert_eq!(parse("after_commit"), Some(("after_commit".to_owned(), 1)));
        assert_eq!(
            parse("after_commit:3"),
            Some(("after_commit".to_owned(), 3))
        );
        for text in ["", "after_commit:0", "after_commit:x", "somewhere"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
