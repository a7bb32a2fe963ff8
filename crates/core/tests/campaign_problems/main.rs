//! Aim: a campaign file that is wrong is refused with the file, the line, the
//! column, what is wrong and the mend. Each test is one claim, its expectation is
//! what `tombola campaign validate` prints.

mod json;
mod odds;
mod prizes;
mod shape;
mod values;

use tombola_core::campaign::parse_toml;

const GOOD: &str = r#"[campaign]
slug = "fair"
name = "Fair"
time_zone = "Europe/Paris"

[limits]
per_user_total = 30

[odds]
on_unavailable = "fallback"
fallback = "thanks"

[[prize]]
slug = "phone"
name = "A phone"
kind = "physical"
odds = "0.01%"
stock = 3

[[prize]]
slug = "thanks"
name = "10 points"
kind = "points"
odds = "60%"
points = 10
"#;

/// The good file with each `from`, which it must contain, turned into `to`.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the file");
        text.replacen(from, to, 1)
    })
}

fn shown(text: &str) -> String {
    let problems = parse_toml("fair.toml", text).err().unwrap_or_default();
    problems
        .iter()
        .map(|problem| problem.display_in("fair.toml") + "\n")
        .collect()
}

/// Named edits of the good file, and all that is printed then.
macro_rules! refused {
    ($($claim:ident: $edits:expr => $expected:literal;)+) => {
        $(#[test]
        fn $claim() {
            assert_eq!(shown(&edited(&$edits)), $expected);
        })+
    };
}
pub(crate) use refused;

#[test]
fn a_good_file_has_no_problem() {
    assert_eq!(shown(GOOD), "");
}
