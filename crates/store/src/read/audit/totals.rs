//! What each campaign's rows add up to, and the two checks that follow from it.

use super::{CampaignCount, Check};
use crate::sql::{self, Connection};

/// A campaign's rows, and the number it keeps beside them.
pub(super) struct Total {
    pub(super) count: CampaignCount,
    kept_draws: u64,
    kept_wins: u64,
}

/// Counts all campaigns, those without draws too, by slug.
pub(super) fn count(conn: &Connection) -> sql::Result<Vec<Total>> {
    let mut totals = Vec::new();
    let mut index = std::collections::HashMap::new();
    let mut campaigns = conn.prepare_large(
        "SELECT c.id, c.slug, n.draws, n.wins
             FROM campaign c JOIN campaign_count n ON n.campaign_id = c.id ORDER BY c.slug",
    )?;
    let mut rows = campaigns.query([])?;
    while let Some(row) = rows.next()? {
        index.insert(row.get::<_, i64>(0)?, totals.len());
        totals.push(Total {
            count: empty(row.get(1)?),
            kept_draws: super::super::column::count(&row, 2)?,
            kept_wins: super::super::column::count(&row, 3)?,
        });
    }
    // One pass in the order of both keys; the groups are few, so they are made here
    // and not by sorting a million rows.
    let mut draws = conn.prepare_large(
        "SELECT d.campaign_id, d.prize_id IS NOT NULL, v.state
         FROM draw d LEFT JOIN delivery v ON v.award_id = d.id",
    )?;
    let mut rows = draws.query([])?;
    while let Some(row) = rows.next()? {
        // A draw without its campaign is missed by that campaign's own number.
        let Some(total) = index
            .get(&row.get(0)?)
            .and_then(|index| totals.get_mut(*index))
        else {
            continue;
        };
        add(&mut total.count, row.get(1)?, row.text_or_null(2)?);
    }
    Ok(totals)
}

const fn empty(campaign: String) -> CampaignCount {
    CampaignCount {
        campaign,
        draws: 0,
        wins: 0,
        delivered: 0,
        unfinished: 0,
        held: 0,
        dead: 0,
        cancelled: 0,
    }
}

fn add(count: &mut CampaignCount, has_won: bool, state: Option<&str>) {
    count.draws += 1;
    count.wins += u64::from(has_won);
    match state {
        Some("delivered") => count.delivered += 1,
        Some("dead") => count.dead += 1,
        Some("cancelled") => count.cancelled += 1,
        Some("held") => {
            count.held += 1;
            count.unfinished += 1;
        }
        Some("pending" | "delivering" | "retryable") => count.unfinished += 1,
        // Of a win, this is what the conservation check finds.
        Some(_) | None => {}
    }
}

/// A campaign's numbers of draws and wins are those of its rows; nothing that was
/// won disappears.
pub(super) fn checks(totals: &[Total]) -> [Check; 3] {
    let mut draws = Check::new("I2_campaign_draws");
    let mut wins = Check::new("I2_campaign_wins");
    let mut conservation = Check::new("I16_conservation");
    for Total {
        count,
        kept_draws,
        kept_wins,
    } in totals
    {
        if *kept_draws != count.draws {
            draws.found(|| {
                format!(
                    "campaign {}: kept {kept_draws}, drawn {}",
                    count.campaign, count.draws
                )
            });
        }
        if *kept_wins != count.wins {
            wins.found(|| {
                format!(
                    "campaign {}: kept {kept_wins}, won {}",
                    count.campaign, count.wins
                )
            });
        }
        let accounted = count.delivered + count.unfinished + count.dead + count.cancelled;
        if count.wins != accounted {
            conservation.found(|| {
                format!(
                    "campaign {}: {} wins, but {} delivered + {} unfinished + {} dead + {} cancelled",
                    count.campaign, count.wins, count.delivered, count.unfinished, count.dead, count.cancelled
                )
            });
        }
    }
    [draws, wins, conservation]
}
