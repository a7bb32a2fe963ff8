//! A user, its points, and a kept message, for people.

use super::{instant, short, text, yes};
use crate::api::{KeptMessageFact, OperationDoc, PointsDoc, UserDetail};
use crate::print::Out;
use std::io;

pub(in crate::cli) const OPERATION_HEAD: &[&str] = &[
    "OPERATION",
    "ACTION",
    "STATE",
    "DONE",
    "MATCHED",
    "BY",
    "ASKED AT",
    "REASON",
];

pub(in crate::cli) fn operation_row(it: &OperationDoc) -> Vec<String> {
    vec![
        it.id.to_string(),
        it.action.clone(),
        it.state.to_string(),
        it.done.to_string(),
        it.matched.to_string(),
        it.by.clone(),
        short(it.created_at),
        text(it.reason.as_deref()),
    ]
}

pub(in crate::cli) fn user(out: Out, it: &UserDetail) -> io::Result<()> {
    if out.is_json() {
        return out.json(it);
    }
    let blocked = match &it.blocked_reason {
        Some(reason) => format!("since {}: {reason}", instant(it.blocked_at)),
        None => "no".to_owned(),
    };
    let awards: Vec<String> = it
        .awards
        .iter()
        .map(|of| format!("{} {}", of.count, of.state))
        .collect();
    let awards = if awards.is_empty() {
        "none".to_owned()
    } else {
        awards.join(", ")
    };
    out.line(&format!("user {}", it.user))?;
    out.line(&format!("  blocked  {blocked}"))?;
    out.line(&format!("  points   {}", it.points))?;
    out.line(&format!("  awards   {awards}"))?;
    out.line("")?;
    let row = |of: &crate::api::UserCampaign| vec![of.campaign.clone(), of.draws.to_string()];
    let rows: Vec<_> = it.campaigns.iter().map(row).collect();
    out.table(&["CAMPAIGN", "DRAWS"], &rows)
}

pub(in crate::cli) fn points(out: Out, it: &PointsDoc) -> io::Result<()> {
    if out.is_json() {
        return out.json(it);
    }
    out.line(&format!("{}: {} points", it.user, it.balance))?;
    let rows: Vec<_> = it
        .entries
        .items
        .iter()
        .map(|entry| {
            vec![
                entry.award.to_string(),
                entry.points.to_string(),
                short(entry.at),
                yes(entry.reversed_at.is_some()),
            ]
        })
        .collect();
    out.table(&["AWARD", "POINTS", "AT", "TAKEN BACK"], &rows)
}

pub(in crate::cli) fn kept_message(out: Out, it: &KeptMessageFact) -> io::Result<()> {
    if out.is_json() {
        return out.json(it);
    }
    out.line(&format!("message {}: {}", it.id, it.reason))?;
    out.line(&format!("  kept at  {}", short(it.at)))?;
    out.line(&format!(
        "  lay at   partition {} offset {}",
        it.partition, it.offset
    ))?;
    out.line(&format!("  key      {}", text(it.key.as_deref())))?;
    out.line(&format!("  headers  {}", it.headers))?;
    out.line(&format!("  bytes    {}", it.bytes))?;
    out.line("")?;
    out.line(it.value.as_deref().unwrap_or_default())
}
