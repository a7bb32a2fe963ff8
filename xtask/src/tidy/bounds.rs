//! Every bound of the system has one row on the page of limits: with its value, and with tests
//! that reach it. Whether those tests are there is looked up by `claims`.

use std::collections::BTreeMap;

use super::{Finding, Text};

/// Where the bounds stand.
const BOUNDS: &str = "crates/core/src/limits.rs";
/// The page that is held to them.
pub(super) const PAGE: &str = "docs/reference/limits.md";

pub(super) fn check(texts: &[Text]) -> Vec<Finding> {
    let text_of = |path| texts.iter().find(|text| text.path == path);
    let Some(source) = text_of(BOUNDS) else {
        return vec![Finding::new(BOUNDS, 0, "is missing")];
    };
    let page = text_of(PAGE).map_or("", |page| &page.text);
    let (bounds, rows) = (bounds(&source.text), rows(page));
    let mut findings = Vec::new();
    let mut is_seen: BTreeMap<&str, bool> = bounds.iter().map(|it| (it.name, false)).collect();
    for row in &rows {
        let bound = bounds.iter().find(|bound| bound.name == row.name);
        let is_second = is_seen
            .get_mut(row.name)
            .is_some_and(|it| std::mem::replace(it, true));
        let what = wrong_in(row, bound, is_second);
        findings.extend(what.map(|what| Finding::new(PAGE, row.line, what)));
    }
    for bound in &bounds {
        let what = if bound.value.is_none() {
            format!(
                "`{}` has a value that xtask/src/tidy/bounds.rs cannot read",
                bound.name
            )
        } else if is_seen[bound.name] {
            continue;
        } else {
            format!("`{}` has no row in {PAGE}", bound.name)
        };
        findings.push(Finding::new(BOUNDS, bound.line, what));
    }
    findings
}

fn wrong_in(row: &Row<'_>, bound: Option<&Bound<'_>>, is_second: bool) -> Option<String> {
    let name = row.name;
    let Some(bound) = bound else {
        return Some(format!("names `{name}`, which is no bound of {BOUNDS}"));
    };
    if is_second {
        return Some(format!("has a second row of `{name}`"));
    }
    let value = bound.value.as_deref()?;
    let says_it = row
        .value
        .strip_prefix(value)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    if !says_it {
        return Some(format!(
            "says \"{}\" of `{name}`, which is {value}",
            row.value
        ));
    }
    (!row.tests.contains(" :: ")).then(|| format!("names no test that reaches `{name}`"))
}

struct Bound<'a> {
    line: usize,
    name: &'a str,
    /// As the page says it.
    value: Option<String>,
}

fn bounds(source: &str) -> Vec<Bound<'_>> {
    let mut numbers = BTreeMap::new();
    let mut bounds = Vec::new();
    for (at, _) in source.match_indices("\npub const ") {
        let item = source[at..].trim_start_matches("\npub const ");
        let item = item.split(';').next().unwrap_or(item);
        let Some((name, (_, value))) = item
            .split_once(": ")
            .and_then(|(name, rest)| Some((name, rest.split_once('=')?)))
        else {
            continue;
        };
        let value = value.trim();
        if let Some(number) = number(value, &numbers) {
            numbers.insert(name, number);
        }
        bounds.push(Bound {
            line: source[..=at].matches('\n').count() + 1,
            name,
            value: shown(value, &numbers),
        });
    }
    bounds
}

/// A value as people write it: `1,000`, `2 s`, `8 to 128`.
fn shown(value: &str, numbers: &BTreeMap<&str, u64>) -> Option<String> {
    if let Some((from, to)) = value.split_once("..=") {
        let (from, to) = (shown(from, numbers)?, shown(to, numbers)?);
        return Some(format!("{from} to {to}"));
    }
    let Some(span) = value.strip_prefix("Duration::from_") else {
        return number(value, numbers).map(grouped);
    };
    let (unit, count) = span.strip_suffix(')')?.split_once('(')?;
    let count = number(count, numbers)?;
    Some(match unit {
        "millis" => format!("{count} ms"),
        "secs" => format!("{count} s"),
        "mins" => format!("{count} min"),
        "hours" if count % 24 == 0 => format!("{} d", count / 24),
        "hours" => format!("{count} h"),
        _ => return None,
    })
}

/// A number, a product, a number that is shifted, or a bound that stands above.
fn number(text: &str, numbers: &BTreeMap<&str, u64>) -> Option<u64> {
    let text = text.trim();
    if let Some((one, other)) = text.split_once("<<") {
        let by = u32::try_from(number(other, numbers)?).ok()?;
        return number(one, numbers)?.checked_shl(by);
    }
    if let Some((one, other)) = text.split_once('*') {
        return number(one, numbers)?.checked_mul(number(other, numbers)?);
    }
    let digits = text.replace('_', "");
    digits.parse().ok().or_else(|| numbers.get(text).copied())
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

struct Row<'a> {
    line: usize,
    name: &'a str,
    value: &'a str,
    tests: &'a str,
}

/// Rows of the tables whose first cell is a name in backticks.
fn rows(page: &str) -> Vec<Row<'_>> {
    let lines = page.lines().enumerate();
    lines
        .filter_map(|(index, line)| row(index + 1, line))
        .collect()
}

fn row(line: usize, text: &str) -> Option<Row<'_>> {
    let mut cells = text.strip_prefix("| `")?.split(" | ");
    Some(Row {
        line,
        name: cells.next()?.strip_suffix('`')?,
        value: cells.next()?,
        tests: cells.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, text};
    use super::*;

    const SOURCE: &str = "use std::time::Duration;\n\n\
        /// Rows.\npub const ROWS_MAX: usize = 1_000;\n\
        /// Rows.\npub const SEEN_MAX: usize = 20 * ROWS_MAX;\n\
        /// Wait.\npub const WAIT: std::ops::RangeInclusive<Duration> =\n    Duration::from_millis(50)..=Duration::from_hours(7 * 24);\n";
    const ROWS: &str = "| `ROWS_MAX` | 1,000 rows | the rest waits | | `a.rs :: one` |\n";
    const REST: &str = "| `SEEN_MAX` | 20,000 rows | | | `a.rs :: one` |\n\
        | `WAIT` | 50 ms to 7 d | | | `a.rs :: one` |\n";

    fn findings(page: &str) -> Vec<Finding> {
        check(&[text(BOUNDS, SOURCE), text(PAGE, page)])
    }

    #[test]
    fn page_with_a_row_for_each_bound_passes() {
        let heading = "| Bound | Value | Past it | Setting | Tests |\n| --- | --- |\n";
        assert_eq!(findings(&[heading, ROWS, REST].concat()), []);
    }

    #[test]
    fn bound_without_a_row_is_found_where_it_stands() {
        let findings = findings(REST);
        assert_eq!(
            said(&findings),
            ["`ROWS_MAX` has no row in docs/reference/limits.md"]
        );
        assert_eq!((findings[0].place.as_str(), findings[0].line), (BOUNDS, 4));
    }

    #[test]
    fn row_of_a_bound_that_is_gone_or_comes_twice_is_found() {
        let gone = "| `GONE` | 1 | | | `a.rs :: one` |\n";
        assert_eq!(
            said(&findings(&[ROWS, REST, gone, ROWS].concat())),
            [
                "names `GONE`, which is no bound of crates/core/src/limits.rs",
                "has a second row of `ROWS_MAX`"
            ]
        );
    }

    #[test]
    fn another_value_and_a_row_without_a_test_are_found() {
        let other = ROWS.replace("1,000", "1,0001");
        assert_eq!(
            said(&findings(&[&other, REST].concat())),
            ["says \"1,0001 rows\" of `ROWS_MAX`, which is 1,000"]
        );
        let untried = ROWS.replace("`a.rs :: one`", "by hand");
        assert_eq!(
            said(&findings(&[&untried, REST].concat())),
            ["names no test that reaches `ROWS_MAX`"]
        );
    }

    #[test]
    fn value_that_cannot_be_read_is_found_and_not_taken_for_any() {
        let odd = "\npub const ODD: usize = size_of::<u8>();\n";
        let row = "| `ODD` | 1 | | | `a.rs :: one` |\n";
        let findings = check(&[text(BOUNDS, odd), text(PAGE, row)]);
        assert!(said(&findings)[0].contains("cannot read"), "{findings:?}");
    }

    #[test]
    fn bounds_must_be_there() {
        assert_eq!(said(&check(&[])), ["is missing"]);
    }
}
