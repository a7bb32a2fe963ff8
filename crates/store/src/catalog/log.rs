//! The operator log: who did what to what. Each line is written by the
//! transaction that it tells of. Actions are the commands of the command line,
//! noun then verb, so that a person finds them again.

use crate::sql::{self, Array, Connection, params};
use tombola_core::ports::Actor;
use tombola_core::{AwardId, Timestamp};

/// Actions whose `units` are changes of a prize's stock; their sum is what
/// operators changed on top of the stock of the file.
pub(crate) const STOCK_ADD: &str = "stock add";
/// See [`STOCK_ADD`].
pub(crate) const STOCK_WITHDRAW: &str = "stock withdraw";

/// One line.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line<'a> {
    /// The command.
    pub(crate) action: &'a str,
    /// Campaign, `campaign/prize`, endpoint, award … by name.
    pub(crate) subject: &'a str,
    /// The award, if it is about one.
    pub(crate) award: Option<AwardId>,
    /// Stock changed, or given back by this award.
    pub(crate) units: Option<i64>,
}

/// Writes a line of one action on each of these awards, with what it is about.
pub(crate) fn write_each(
    conn: &Connection,
    by: &Actor,
    now: Timestamp,
    action: &str,
    lines: &[(AwardId, String)],
) -> sql::Result<()> {
    if !conn.is_far() {
        for (award, subject) in lines {
            let line = Line {
                action,
                subject,
                award: Some(*award),
                units: None,
            };
            write(conn, by, now, line)?;
        }
        return Ok(());
    }
    let awards: Vec<i64> = lines.iter().map(|(award, _)| award.0).collect();
    let subjects: Vec<&str> = lines.iter().map(|(_, it)| it.as_str()).collect();
    conn.prepare_cached(
        "INSERT INTO operator_log (at, actor, action, reason, award_id, subject)
         SELECT ?1::bigint, ?2::text, ?3::text, ?4::text,
           unnest(?5::bigint[]), unnest(?6::text[])",
    )?
    .execute(params![
        now.0,
        by.name,
        action,
        by.reason,
        Array(&awards),
        Array(&subjects)
    ])
    .map(drop)
}

/// Writes one line.
pub(crate) fn write(
    conn: &Connection,
    by: &Actor,
    now: Timestamp,
    line: Line<'_>,
) -> sql::Result<()> {
    conn.prepare_cached(
        "INSERT INTO operator_log (at, actor, action, subject, award_id, units, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        now.0,
        by.name,
        line.action,
        line.subject,
        line.award.map(|award| award.0),
        line.units,
        by.reason,
    ])?;
    Ok(())
}
