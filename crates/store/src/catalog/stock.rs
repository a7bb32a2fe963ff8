//! Stock: the live figure of a prize is what its file says plus all that operators
//! added and withdrew, and never less than what was given. `stock add` and
//! `stock withdraw` change it at once; a file changes it when its version starts.
//! So a new version does not undo what an operator did in the meantime, and a
//! figure that falls below what was given means "no more of these".

use super::campaign::CampaignRow;
use super::log::{self, STOCK_ADD, STOCK_WITHDRAW};
use crate::read::column::count;
use crate::sql::{self, Connection, OptionalExtension, params};
use std::collections::HashMap;
use tombola_core::Timestamp;
use tombola_core::campaign::CampaignFile;
use tombola_core::ports::{Actor, StockChanged};

/// Adds to or takes from a prize's stock; takes at most what is left.
pub(super) fn change_stock(
    conn: &Connection,
    campaign: &str,
    prize: &str,
    by_units: i64,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<StockChanged> {
    // What is given is counted behind the campaign's lock, and read once it is had.
    if super::campaign::load(conn, campaign)?.is_none() {
        return Ok(StockChanged::NotFound);
    }
    let found: Option<(i64, Option<i64>)> = conn
        .prepare_cached(&format!(
            "SELECT p.id, p.stock FROM prize p JOIN campaign c ON c.id = p.campaign_id
             WHERE c.slug = ?1 AND p.slug = ?2{}",
            conn.either("", " FOR NO KEY UPDATE OF p")
        ))?
        .query_row([campaign, prize], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, stock)) = found else {
        return Ok(StockChanged::NotFound);
    };
    let Some(stock) = stock else {
        return Ok(StockChanged::Unlimited);
    };
    let spent: i64 = conn
        .prepare_cached("SELECT spent FROM prize_count WHERE prize_id = ?1")?
        .query_row([id], |row| row.get(0))?;
    // Saturating: a stock beyond the column's range is as good as its end.
    if stock.saturating_add(by_units) < spent {
        return Ok(StockChanged::NotEnough {
            left: (stock - spent).unsigned_abs(),
        });
    }
    let changed = conn
        .prepare_cached(
            "UPDATE prize SET stock = ?2 WHERE id = ?1 RETURNING stock, stock - CAST(?3 AS INTEGER)",
        )?
        .query_row([id, stock.saturating_add(by_units), spent], |row| {
            Ok(StockChanged::Changed {
                stock: count(row, 0)?,
                left: count(row, 1)?,
            })
        })?;
    let action = if by_units < 0 {
        STOCK_WITHDRAW
    } else {
        STOCK_ADD
    };
    let subject = format!("{campaign}/{prize}");
    log::write(
        conn,
        by,
        now,
        log::Line {
            action,
            subject: &subject,
            units: Some(by_units),
            award: None,
        },
    )?;
    Ok(changed)
}

/// A prize of a file, its row, and the live stock that the file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LiveStock {
    pub(super) slug: String,
    pub(super) prize_id: i64,
    /// `None` is unlimited.
    pub(super) stock: Option<i64>,
    pub(super) spent: i64,
}

/// The live stock that a file gives each of its prizes, in the order of the file.
pub(super) fn of_file(
    conn: &Connection,
    campaign: &CampaignRow,
    file: &CampaignFile,
) -> sql::Result<Vec<LiveStock>> {
    let changes = operator_changes(conn, &campaign.slug)?;
    let mut row_of = conn.prepare_cached(
        "SELECT p.id, n.spent FROM prize p JOIN prize_count n ON n.prize_id = p.id
             WHERE p.campaign_id = ?1 AND p.slug = ?2",
    )?;
    file.prize
        .iter()
        .map(|prize| {
            let (prize_id, spent): (i64, i64) = row_of
                .query_row(params![campaign.id, prize.slug], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            let changed = changes.get(&prize.slug).copied().unwrap_or(0);
            let stock = prize
                .stock
                .map(|stock| stock.saturating_add(changed).max(spent));
            Ok(LiveStock {
                slug: prize.slug.clone(),
                prize_id,
                stock,
                spent,
            })
        })
        .collect()
}

/// Writes live stocks, in the order in which whoever gives units back locks prizes.
pub(super) fn set<'a>(
    conn: &Connection,
    stocks: impl IntoIterator<Item = &'a LiveStock>,
) -> sql::Result<()> {
    let mut update = conn.prepare_cached("UPDATE prize SET stock = ?2 WHERE id = ?1")?;
    let mut stocks: Vec<&LiveStock> = stocks.into_iter().collect();
    stocks.sort_unstable_by_key(|live| live.prize_id);
    for live in stocks {
        update.execute(params![live.prize_id, live.stock])?;
    }
    Ok(())
}

/// What operators changed so far, by prize. One pass over the operator log: putting
/// and starting a version are rare.
fn operator_changes(conn: &Connection, campaign: &str) -> sql::Result<HashMap<String, i64>> {
    let mut changes = conn.prepare_cached(
        "SELECT substr(subject, length(?1) + 2), sum(units) FROM operator_log
         WHERE action IN (?2, ?3) AND substr(subject, 1, length(?1) + 1) = ?1 || '/'
         GROUP BY subject",
    )?;
    changes
        .query_map([campaign, STOCK_ADD, STOCK_WITHDRAW], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}
