//! One campaign for people.

use super::{CAMPAIGN_HEAD, instant, text};
use crate::api::{CampaignFact, CampaignShow};
use crate::print::Out;
use std::process::ExitCode;

pub(in crate::cli) fn campaign_row(it: &CampaignFact) -> Vec<String> {
    let next = it
        .next_version
        .zip(it.next_state)
        .map(|(version, state)| format!("{version} {state}"));
    vec![
        it.campaign.clone(),
        it.phase.to_string(),
        it.version.to_string(),
        text(next.as_deref()),
        it.draws.to_string(),
        instant(it.starts_at),
        instant(it.ends_at),
        it.name.clone(),
    ]
}

pub(in crate::cli) fn campaign(out: Out, it: &CampaignShow) -> anyhow::Result<ExitCode> {
    if out.is_json() {
        out.json(it)?;
        return Ok(ExitCode::SUCCESS);
    }
    out.table(CAMPAIGN_HEAD, &[campaign_row(&it.detail.fact)])?;
    out.line("")?;
    let head = [
        "PRIZE",
        "KIND",
        "ODDS",
        "NOW",
        "STOCK",
        "LEFT",
        "WON",
        "DELIVERED",
        "UNFINISHED",
        "DEAD",
        "CANCELLED",
    ];
    let number =
        |count: Option<u64>| count.map_or_else(|| "∞".to_owned(), |count| count.to_string());
    let mut rows: Vec<Vec<String>> = it
        .detail
        .prizes
        .iter()
        .map(|prize| {
            vec![
                prize.prize.clone(),
                prize.kind.to_string(),
                text(prize.odds.as_deref()),
                text(prize.effective.as_deref()),
                number(prize.stock),
                number(prize.left),
                prize.won.to_string(),
                prize.delivered.to_string(),
                prize.unfinished.to_string(),
                prize.dead.to_string(),
                prize.cancelled.to_string(),
            ]
        })
        .collect();
    let nothing = [
        it.detail.nothing_odds.clone(),
        it.detail.nothing_effective.clone(),
    ];
    rows.push(
        ["nothing".to_owned(), "-".to_owned()]
            .into_iter()
            .chain(nothing)
            .collect(),
    );
    out.table(&head, &rows)?;
    Ok(ExitCode::SUCCESS)
}
