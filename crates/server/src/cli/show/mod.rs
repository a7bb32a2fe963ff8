//! How answers look to people: tables, lines, timelines; and how lists are paged.

mod audit;
mod award;
mod campaign;
mod doctor;
mod pages;
mod secret;
mod user;

pub(crate) use audit::audit;
pub(super) use award::award;
pub(super) use campaign::{campaign, campaign_row};
pub(super) use doctor::doctor;
pub(super) use pages::{export, pages, whole};
pub(super) use secret::{SECRET_HEAD, secret_notes, secret_row};
pub(super) use user::{OPERATION_HEAD, kept_message, operation_row, points, user};

use crate::api::{
    AwardDoc, AwardFact, CodeFact, DeadLetterFact, DrawDoc, EndpointFact, EndpointTestDoc, KeyDoc,
    LogFact,
};
use tombola_core::Timestamp;
use tombola_core::campaign::Kind;
use tombola_core::reason::{DeadReason, HoldReason};

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
    "CAMPAIGNS",
    "CREATED AT",
    "EXPIRES AT",
    "REVOKED AT",
];
pub(super) const LOG_HEAD: &[&str] = &["AT", "BY", "ACTION", "SUBJECT", "UNITS", "REASON"];

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
    let ends = it.older_secrets_end_at.iter();
    lines.extend(ends.map(|end| format!("  an older secret signs until {end}")));
    lines.extend(
        it.problem
            .iter()
            .map(|problem| format!("  problem: {problem}")),
    );
    let fields = it
        .spec
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "name");
    lines.extend(fields.map(|(name, value)| format!("  {name}: {value}")));
    lines.join("\n")
}

pub(super) fn endpoint_test(it: &EndpointTestDoc) -> String {
    let answered = it.status.map_or_else(
        || text(it.error.as_deref()),
        |status| format!("HTTP {status}"),
    );
    let (name, took, id) = (&it.endpoint, it.took_ms, &it.webhook_id);
    format!(
        "{name}: {answered} after {took} ms, to an award: {} (webhook-id {id})",
        it.decision
    )
}

pub(super) fn key_row(it: &KeyDoc) -> Vec<String> {
    vec![
        it.id.to_string(),
        it.client.clone(),
        it.role.to_string(),
        if it.campaigns.is_empty() {
            "all".to_owned()
        } else {
            it.campaigns.join(" ")
        },
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
