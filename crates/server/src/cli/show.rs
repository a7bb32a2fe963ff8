//! How answers look to people: tables, lines, timelines; and how lists are paged.

use crate::api::{
    AuditReport, AwardDetail, AwardDoc, AwardFact, CampaignFact, CampaignShow, CodeFact,
    DeadLetterFact, DrawDoc, EndpointFact, KeyDoc, LogFact, Page,
};
use crate::client::ClientError;
use crate::print::Out;
use serde::Serialize;
use std::process::ExitCode;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{Timestamp, limits};

pub(super) const CAMPAIGN_HEAD: &[&str] = &[
    "CAMPAIGN", "PHASE", "VERSION", "NEXT", "DRAWS", "STARTS", "ENDS", "NAME",
];
pub(super) const DRAW_HEAD: &[&str] = &[
    "DRAW", "DRAWN AT", "CAMPAIGN", "USER", "PRIZE", "KIND", "STATE",
];
pub(super) const AWARD_HEAD: &[&str] = &[
    "AWARD", "DRAWN AT", "CAMPAIGN", "PRIZE", "USER", "KIND", "STATE", "REASON", "ATTEMPTS",
    "DUE AT",
];
pub(super) const DEAD_HEAD: &[&str] = &[
    "ID", "AT", "REASON", "CAMPAIGN", "PRIZE", "USER", "KIND", "IN DOUBT", "DETAIL",
];
pub(super) const CODE_HEAD: &[&str] = &["PRIZE", "TOTAL", "FREE", "GIVEN", "VOID", "IMPORTS"];
pub(super) const ENDPOINT_HEAD: &[&str] =
    &["ENDPOINT", "ENABLED", "IDEMPOTENT", "UNFINISHED", "URL"];
pub(super) const KEY_HEAD: &[&str] = &[
    "KEY",
    "CLIENT",
    "ROLE",
    "CREATED AT",
    "EXPIRES AT",
    "REVOKED AT",
];
pub(super) const LOG_HEAD: &[&str] = &["AT", "BY", "ACTION", "SUBJECT", "UNITS", "REASON"];

/// Prints a list of at most `limit` rows: objects a line with `--json`, else a
/// table. `page` fetches the page after a cursor.
pub(super) async fn pages<T: Serialize>(
    out: Out,
    limit: usize,
    head: &[&str],
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    row: fn(&T) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    let has_more = each_page(limit, page, |item| {
        if out.is_json() {
            out.json(item)?;
        } else {
            rows.push(row(item));
        }
        Ok(())
    })
    .await?;
    if !out.is_json() {
        out.table(head, &rows)?;
    }
    if has_more {
        out.note(&format!(
            "there are more; --limit says how many are shown (now {limit})"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The same as CSV with a heading.
pub(super) async fn csv_pages<T>(
    out: Out,
    limit: usize,
    head: &[&str],
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    row: fn(&T) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let heading: Vec<String> = head
        .iter()
        .map(|name| name.to_lowercase().replace(' ', "_"))
        .collect();
    out.line(&csv_line(&heading)?)?;
    each_page(limit, page, |item| Ok(out.line(&csv_line(&row(item))?)?)).await?;
    Ok(ExitCode::SUCCESS)
}

fn csv_line(cells: &[String]) -> anyhow::Result<String> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::Any(b'\n'))
        .from_writer(Vec::new());
    writer.write_record(cells)?;
    Ok(String::from_utf8(writer.into_inner()?)?
        .trim_end_matches('\n')
        .to_owned())
}

/// Whether there are more than were asked for.
async fn each_page<T>(
    limit: usize,
    page: impl AsyncFn(Option<String>, usize) -> Result<Page<T>, ClientError>,
    mut show: impl FnMut(&T) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let (mut left, mut after) = (limit, None);
    while left > 0 {
        let fetched = page(after, left.min(limits::PAGE_MAX)).await?;
        left = left.saturating_sub(fetched.items.len());
        fetched.items.iter().try_for_each(&mut show)?;
        after = fetched.next;
        if after.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), short)
}

/// To the second: what a table has room for.
fn short(at: Timestamp) -> String {
    format!("{:.0}", at.to_jiff())
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

pub(super) fn campaign_row(it: &CampaignFact) -> Vec<String> {
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

pub(super) fn campaign(out: Out, it: &CampaignShow) -> anyhow::Result<ExitCode> {
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

pub(super) fn draw_line(it: &DrawDoc) -> String {
    match (&it.prize, &it.award) {
        (Some(prize), Some(award)) => {
            let token = award
                .claim_token
                .as_ref()
                .map_or_else(String::new, |token| format!(", claim token {token}"));
            format!(
                "draw {}: {} wins {prize} ({}, {}){token}",
                it.id, it.user, award.kind, award.state
            )
        }
        _ => format!("draw {}: {} wins nothing", it.id, it.user),
    }
}

pub(super) fn draw_row(it: &DrawDoc) -> Vec<String> {
    vec![
        it.id.to_string(),
        short(it.drawn_at),
        it.campaign.clone(),
        it.user.clone(),
        text(it.prize.as_deref()),
        text(it.award.as_ref().map(|award| award.kind.as_str())),
        text(it.award.as_ref().map(|award| award.state.as_str())),
    ]
}

fn reason(it: &AwardFact) -> String {
    let held = it.hold_reason.map(HoldReason::name);
    text(held.or(it.dead_reason.map(DeadReason::name)))
}

pub(super) fn award_row(it: &AwardFact) -> Vec<String> {
    vec![
        it.id.to_string(),
        short(it.drawn_at),
        it.campaign.clone(),
        it.prize.clone(),
        it.user.clone(),
        it.kind.to_string(),
        it.state.to_string(),
        reason(it),
        it.attempts.to_string(),
        instant(it.due_at),
    ]
}

pub(super) fn award_line(it: &AwardDoc) -> String {
    let why = it
        .hold_reason
        .map(HoldReason::name)
        .or(it.dead_reason.map(DeadReason::name));
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    let due = it
        .due_at
        .map_or_else(String::new, |at| format!(", looked at again {}", short(at)));
    format!("award {}: {}{why}{due}", it.id, it.state)
}

pub(super) fn award(out: Out, it: &AwardDetail) -> anyhow::Result<ExitCode> {
    if out.is_json() {
        out.json(it)?;
        return Ok(ExitCode::SUCCESS);
    }
    let fact = &it.fact;
    out.line(&format!(
        "award {} of {}: {} ({})",
        fact.id, fact.user, it.prize_name, fact.kind
    ))?;
    let mut facts = vec![
        (
            "prize",
            format!(
                "{}/{}, rules version {}",
                fact.campaign, fact.prize, it.version
            ),
        ),
        (
            "state",
            format!("{} {}", fact.state, reason(fact))
                .trim_end_matches(" -")
                .to_owned(),
        ),
        (
            "message",
            format!("{} (mq_state {})", it.message_id, fact.mq_state),
        ),
        ("in doubt", yes(fact.in_doubt)),
        ("due at", instant(fact.due_at)),
    ];
    facts.extend(it.endpoint.clone().map(|name| ("endpoint", name)));
    facts.extend(it.content.clone().map(|content| ("content", content)));
    facts.extend(it.points.map(|points| ("points", points.to_string())));
    facts.extend(it.shipment.as_ref().map(|it| {
        (
            "shipment",
            format!("{} {}, {}", it.carrier, it.tracking, short(it.at)),
        )
    }));
    facts.extend(it.has_address.then(|| ("address", "given".to_owned())));
    facts
        .iter()
        .try_for_each(|(name, text)| out.line(&format!("  {name:<9} {text}")))?;
    out.line("")?;
    let rows: Vec<Vec<String>> = it
        .timeline
        .iter()
        .map(|moment| {
            let place = moment
                .partition
                .zip(moment.offset)
                .map(|(p, o)| format!("partition {p} offset {o}"));
            let told = moment
                .detail
                .clone()
                .or_else(|| moment.receipt.as_ref().map(|it| format!("receipt {it}")));
            vec![
                instant(moment.at),
                moment.what.clone(),
                text(moment.decision.as_deref()),
                text(moment.state.map(State::name)),
                instant(moment.due_at),
                text(told.or(place).as_deref()),
            ]
        })
        .collect();
    out.table(
        &["AT", "WHAT", "DECISION", "STATE", "DUE AT", "DETAIL"],
        &rows,
    )?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn dead_row(it: &DeadLetterFact) -> Vec<String> {
    let place = it
        .partition
        .zip(it.offset)
        .map(|(p, o)| format!("message at partition {p} offset {o}"));
    vec![
        it.id.clone(),
        short(it.at),
        it.reason.clone(),
        text(it.campaign.as_deref()),
        text(it.prize.as_deref()),
        text(it.user.as_deref()),
        text(it.kind.map(Kind::name)),
        it.in_doubt.map_or_else(|| "-".to_owned(), yes),
        text(it.detail.clone().or(place).as_deref()),
    ]
}

pub(super) fn code_row(it: &CodeFact) -> Vec<String> {
    let counts = [it.total, it.free, it.given, it.voided].map(|count| count.to_string());
    let imports = it.imports.len().to_string();
    [it.prize.clone()]
        .into_iter()
        .chain(counts)
        .chain([imports])
        .collect()
}

pub(super) fn endpoint_row(it: &EndpointFact) -> Vec<String> {
    vec![
        it.name.clone(),
        yes(it.is_enabled),
        it.spec["idempotent"]
            .as_bool()
            .map_or_else(|| "-".to_owned(), yes),
        it.unfinished.to_string(),
        text(it.spec["url"].as_str()),
    ]
}

pub(super) fn endpoint(it: &EndpointFact) -> String {
    let mut lines = vec![
        format!(
            "endpoint {}: {}",
            it.name,
            if it.is_enabled { "enabled" } else { "disabled" }
        ),
        format!(
            "  unfinished awards: {}, secrets: {}",
            it.unfinished, it.secrets
        ),
    ];
    let fields = it
        .spec
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "name");
    lines.extend(fields.map(|(name, value)| format!("  {name}: {value}")));
    lines.join("\n")
}

pub(super) fn key_row(it: &KeyDoc) -> Vec<String> {
    vec![
        it.id.to_string(),
        it.client.clone(),
        it.role.to_string(),
        short(it.created_at),
        instant(it.expires_at),
        instant(it.revoked_at),
    ]
}

pub(super) fn log_row(it: &LogFact) -> Vec<String> {
    vec![
        short(it.at),
        it.by.clone(),
        it.action.clone(),
        it.subject.clone(),
        it.units
            .map_or_else(|| "-".to_owned(), |units| units.to_string()),
        text(it.reason.as_deref()),
    ]
}

/// The audit: the document with `--json`, else two tables and a verdict.
pub(crate) fn audit(out: Out, it: &AuditReport) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(it);
    }
    let campaigns: Vec<Vec<String>> = it
        .campaigns
        .iter()
        .map(|it| {
            let counts = [
                it.draws,
                it.wins,
                it.delivered,
                it.unfinished,
                it.held,
                it.dead,
                it.cancelled,
            ];
            [it.campaign.clone()]
                .into_iter()
                .chain(counts.map(|count| count.to_string()))
                .collect()
        })
        .collect();
    let head = [
        "CAMPAIGN",
        "DRAWS",
        "WINS",
        "DELIVERED",
        "UNFINISHED",
        "HELD",
        "DEAD",
        "CANCELLED",
    ];
    out.table(&head, &campaigns)?;
    out.line("")?;
    let checks: Vec<Vec<String>> = it
        .checks
        .iter()
        .map(|check| {
            let said = if check.violations == 0 {
                "ok".to_owned()
            } else {
                format!("{} violations", check.violations)
            };
            vec![check.name.clone(), said]
        })
        .collect();
    out.table(&["CHECK", "FOUND"], &checks)?;
    for check in it.checks.iter().filter(|check| check.violations > 0) {
        check
            .examples
            .iter()
            .try_for_each(|example| out.line(&format!("{}: {example}", check.name)))?;
    }
    out.line(if it.ok {
        "the audit is clean"
    } else {
        "the audit found violations"
    })
}
