//! One award and its timeline, for people.

use super::{instant, reason, short, text, yes};
use crate::api::{AwardDetail, TimelineEntry};
use crate::print::Out;
use std::process::ExitCode;
use tombola_core::award::State;

pub(in crate::cli) fn award(out: Out, it: &AwardDetail) -> anyhow::Result<ExitCode> {
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
    facts.extend(it.content_problem.clone().map(|why| ("content", why)));
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
    let rows: Vec<Vec<String>> = it.timeline.iter().map(moment).collect();
    let head = ["AT", "WHAT", "DECISION", "STATE", "DUE AT", "DETAIL"];
    out.table(&head, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn moment(it: &TimelineEntry) -> Vec<String> {
    let place = it.partition.zip(it.offset);
    let place = place.map(|(p, o)| format!("partition {p} offset {o}"));
    let receipt = it
        .receipt
        .as_ref()
        .map(|receipt| format!("receipt {receipt}"));
    vec![
        instant(it.at),
        it.what.clone(),
        text(it.decision.as_deref()),
        text(it.state.map(State::name)),
        instant(it.due_at),
        text(it.detail.clone().or(receipt).or(place).as_deref()),
    ]
}
