//! The one SQL that is written for both databases, as PostgreSQL takes it. All that
//! is changed:
//!
//! - `?1` becomes `$1`, and each `?` the next number;
//! - `INDEXED BY name`, `NOT INDEXED` and the `CROSS` of `CROSS JOIN … ON` go: they
//!   are SQLite's ways to name a plan;
//! - `instr` becomes `strpos`;
//! - `INTEGER` in a cast becomes `bigint`, which is what SQLite's integer is, and
//!   `BLOB` becomes `bytea`;
//! - the column `user` becomes `user_id`: there `user` is the name of the role;
//! - `x'…'` becomes a `bytea`.

/// The text for PostgreSQL.
pub(super) fn postgres(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut rest = sql;
    let mut values = 0;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = quoted(rest) {
            out.push_str(quoted);
            rest = &rest[quoted.len()..];
        } else if first == '?' {
            rest = &rest[1..];
            let digits = taken(rest, |it| it.is_ascii_digit());
            out.push('$');
            if digits.is_empty() {
                values += 1;
                out.push_str(&values.to_string());
            } else {
                out.push_str(digits);
            }
            rest = &rest[digits.len()..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let word = taken(rest, is_of_word);
            rest = word_of(word, &rest[word.len()..], &mut out);
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Writes a word, or what stands in its place; gives what comes after it.
fn word_of<'a>(word: &str, rest: &'a str, out: &mut String) -> &'a str {
    match word {
        "user" => out.push_str("user_id"),
        "instr" => out.push_str("strpos"),
        "BLOB" => out.push_str("bytea"),
        "INTEGER" => out.push_str("bigint"),
        "x" if rest.starts_with('\'') => {
            let bytes = quoted(rest).unwrap_or(rest);
            out.push_str("'\\x");
            out.push_str(&bytes[1..]);
            out.push_str("::bytea");
            return &rest[bytes.len()..];
        }
        "CROSS" => return rest.trim_start(),
        "INDEXED" => {
            let by = after(rest, "BY").unwrap_or(rest).trim_start();
            return &by[taken(by, is_of_word).len()..];
        }
        "NOT" => match after(rest, "INDEXED") {
            Some(rest) => return rest,
            None => out.push_str(word),
        },
        _ => out.push_str(word),
    }
    rest
}

/// A text or a name in quotes at the beginning.
fn quoted(sql: &str) -> Option<&str> {
    let quote = sql.chars().next().filter(|it| ['\'', '"'].contains(it))?;
    let end = sql[1..].find(quote)?;
    Some(&sql[..end + 2])
}

fn after<'a>(sql: &'a str, word: &str) -> Option<&'a str> {
    sql.trim_start().strip_prefix(word)
}

fn taken(sql: &str, is_of_it: fn(char) -> bool) -> &str {
    let end = sql.find(|it| !is_of_it(it)).unwrap_or(sql.len());
    &sql[..end]
}

fn is_of_word(it: char) -> bool {
    it.is_ascii_alphanumeric() || it == '_'
}

#[cfg(test)]
mod tests {
    use super::postgres;

    #[test]
    fn only_what_differs_is_changed() {
        let cases = [
            (
                "SELECT a FROM t WHERE b = ?1 AND c = ?12",
                "SELECT a FROM t WHERE b = $1 AND c = $12",
            ),
            ("b >= ? AND b < ? LIMIT ?", "b >= $1 AND b < $2 LIMIT $3"),
            (
                "d.user = ?1 AND u.users = 'user ?'",
                "d.user_id = $1 AND u.users = 'user ?'",
            ),
            (
                "SELECT \"user\", \"offset\" FROM t",
                "SELECT \"user\", \"offset\" FROM t",
            ),
            ("FROM code c INDEXED BY code_free ON x", "FROM code c  ON x"),
            (
                "FROM delivery v NOT INDEXED WHERE NOT a",
                "FROM delivery v  WHERE NOT a",
            ),
            (
                "FROM a CROSS JOIN b ON b.i = a.i",
                "FROM a JOIN b ON b.i = a.i",
            ),
            ("CAST(value AS INTEGER)", "CAST(value AS bigint)"),
            ("VALUES (?1, x'')", "VALUES ($1, '\\x'::bytea)"),
            ("SET digest = x'ff00'", "SET digest = '\\xff00'::bytea"),
            ("'it''s' || ?1", "'it''s' || $1"),
        ];
        for (both, expected) in cases {
            assert_eq!(postgres(both), expected);
        }
    }
}
