//! What must be there before users may draw: an award that is won can be
//! delivered. Each thing that is missing is a sentence that says what to do.

use super::stock::LiveStock;
use crate::sql::{self, Connection, OptionalExtension};
use tombola_core::campaign::{CampaignFile, KindSpec, Prize};

/// Everything that keeps the file from being started, with its mend.
pub(super) fn problems(
    conn: &Connection,
    file: &CampaignFile,
    stocks: &[LiveStock],
) -> sql::Result<Vec<String>> {
    let rules = match file.check() {
        Ok(rules) => rules,
        Err(problems) => {
            return Ok(problems
                .iter()
                .map(|it| format!("{}: {}: {}", it.path, it.what, it.mend))
                .collect());
        }
    };
    let mut found = Vec::new();
    for (prize, live) in rules.prizes.iter().zip(stocks) {
        let problem = match &prize.spec {
            KindSpec::Code { .. } => codes(conn, &rules.slug, prize, live)?,
            KindSpec::Webhook { endpoint, .. } => endpoint_problem(conn, prize, endpoint)?,
            KindSpec::Text { .. }
            | KindSpec::Points { .. }
            | KindSpec::Physical { .. }
            | KindSpec::External { .. } => None,
        };
        found.extend(problem);
    }
    Ok(found)
}

/// As many codes as stock, those given already included; of unlimited stock at
/// least one, so that nobody's first award waits for an import.
fn codes(
    conn: &Connection,
    campaign: &str,
    prize: &Prize,
    live: &LiveStock,
) -> sql::Result<Option<String>> {
    let free: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM code_import i JOIN code c INDEXED BY code_free ON c.import_id = i.id
             WHERE i.prize_id = ?1 AND i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL",
        )?
        .query_row([live.prize_id], |row| row.get(0))?;
    let given: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM code c JOIN code_import i ON i.id = c.import_id
             WHERE i.prize_id = ?1 AND c.award_id IS NOT NULL AND c.voided_at IS NULL",
        )?
        .query_row([live.prize_id], |row| row.get(0))?;
    let (slug, command) = (
        &prize.slug,
        format!("tombola code import {campaign} {} FILE.csv", prize.slug),
    );
    Ok(match live.stock {
        None if free == 0 => Some(format!(
            "prize {slug}: its stock is unlimited and no code is ready: import codes with `{command}`"
        )),
        Some(stock) if free + given < stock => Some(format!(
            "prize {slug}: {stock} in stock but {} codes: import {} more with `{command}`, or lower its stock",
            free + given,
            stock - free - given,
        )),
        None | Some(_) => None,
    })
}

fn endpoint_problem(
    conn: &Connection,
    prize: &Prize,
    endpoint: &str,
) -> sql::Result<Option<String>> {
    let is_enabled: Option<bool> = conn
        .prepare_cached("SELECT enabled FROM endpoint WHERE name = ?1")?
        .query_row([endpoint], |row| row.get(0))
        .optional()?;
    let slug = &prize.slug;
    Ok(match is_enabled {
        Some(true) => None,
        Some(false) => Some(format!(
            "prize {slug}: endpoint {endpoint} is disabled: enable it with `tombola endpoint enable {endpoint}`"
        )),
        None => Some(format!(
            "prize {slug}: there is no endpoint {endpoint}: add it with `tombola endpoint put FILE`"
        )),
    })
}
