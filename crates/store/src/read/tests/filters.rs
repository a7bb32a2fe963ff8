//! Aim: whatever is asked, all pages together are what a plain filter of all rows
//! gives, newest first, however few rows a page may read.

use super::super::fixture::{Fixture, On, on_each_database};
use super::super::page::{Page, PageQuery};
use super::super::walk::Reach;
use super::super::{
    AwardFilter, DeadLetterFilter, DrawFilter, Gauges, LetterReason, LogFilter, Outcome, awards,
    dead_letters, draws, log,
};
use super::each;
use super::random::{
    self, ACTIONS, CAMPAIGNS, CLIENTS, Draw, ENDPOINTS, Line, PRIZES, Rows, USERS,
};
use crate::sql::{self, Connection};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use tombola_core::AwardId;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::limits::SPAN_IDS;
use tombola_core::reason::{DeadReason, HoldReason, KeptReason};

/// A few fields at a time: each pair of them comes up.
fn some<T: Clone + std::fmt::Debug + 'static>(
    values: &'static [T],
) -> impl Strategy<Value = Option<T>> {
    weighted(0.25, select(values))
}

fn name(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    some(values).prop_map(|it| it.map(str::to_owned))
}

fn slug() -> impl Strategy<Value = Option<String>> {
    some(&PRIZES).prop_map(|it| it.map(|(slug, _)| slug.to_owned()))
}

fn instant() -> impl Strategy<Value = Option<Timestamp>> {
    weighted(0.25, random::minute())
}

/// Names that no row has are asked for as well.
const CAMPAIGNS_ASKED: [&str; 3] = [CAMPAIGNS[0], CAMPAIGNS[1], "none"];
const ENDPOINTS_ASKED: [&str; 3] = [ENDPOINTS[0], ENDPOINTS[1], "none"];
const ACTIONS_ASKED: [&str; 5] = [ACTIONS[0], "award", "stock", "tock", "%"];

prop_compose! {
    fn award_filter()(
        campaign in name(&CAMPAIGNS_ASKED),
        user in name(&USERS),
        state in some(State::ALL),
        kind in some(&Kind::ALL),
        prize in slug(),
        hold_reason in some(HoldReason::ALL),
        dead_reason in some(DeadReason::ALL),
        endpoint in name(&ENDPOINTS_ASKED),
        since in instant(),
        until in instant(),
    ) -> AwardFilter {
        AwardFilter { campaign, user, state, kind, prize, hold_reason, dead_reason, endpoint, since, until }
    }
}

prop_compose! {
    fn draw_filter()(
        campaign in name(&CAMPAIGNS_ASKED),
        user in name(&USERS),
        outcome in some(&[Outcome::Won, Outcome::Nothing]),
        prize in slug(),
        client in name(&CLIENTS),
        since in instant(),
        until in instant(),
    ) -> DrawFilter {
        DrawFilter { campaign, user, outcome, prize, client, since, until }
    }
}

prop_compose! {
    fn letter_filter()(
        campaign in name(&CAMPAIGNS_ASKED),
        kind in some(&Kind::ALL),
        award in some(DeadReason::ALL),
        message in some(KeptReason::ALL),
        since in instant(),
        until in instant(),
    ) -> DeadLetterFilter {
        let award = award.map(LetterReason::Award);
        let reason = award.or(message.map(LetterReason::Message));
        DeadLetterFilter { campaign, kind, reason, since, until }
    }
}

prop_compose! {
    fn log_filter()(
        since in instant(),
        until in instant(),
        by in name(&CLIENTS),
        award in weighted(0.25, 1..5_i64),
        action in name(&ACTIONS_ASKED),
    ) -> LogFilter {
        LogFilter { since, until, by, award: award.map(AwardId), action }
    }
}

prop_compose! {
    /// How a list is cut, and what one page of it may read.
    fn cut()(
        limit in 1..12_usize,
        spans in 1..12_i64,
        looks in 1..12_i64,
        seeks in 1..6_i64,
        sorted in select(&[0, 1000_i64][..]),
    ) -> (usize, Reach) {
        (limit, Reach { rows: spans * SPAN_IDS, seeks, spans: looks, sorted })
    }
}

fn fits<T: PartialEq>(wanted: Option<&T>, has: Option<&T>) -> bool {
    wanted.is_none() || wanted == has
}

fn is(wanted: Option<&String>, has: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == has)
}

fn is_in((since, until): (Option<Timestamp>, Option<Timestamp>), at: Timestamp) -> bool {
    since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
}

fn is_award(it: &Draw, filter: &AwardFilter) -> bool {
    let Some(award) = &it.award else { return false };
    is(filter.campaign.as_ref(), it.campaign)
        && is(filter.user.as_ref(), it.user)
        && fits(filter.state.as_ref(), Some(&award.state))
        && fits(filter.kind.as_ref(), Some(&award.kind))
        && is(filter.prize.as_ref(), it.prize.unwrap_or_default())
        && fits(filter.hold_reason.as_ref(), award.hold_reason.as_ref())
        && fits(filter.dead_reason.as_ref(), award.dead_reason.as_ref())
        && is(filter.endpoint.as_ref(), award.endpoint.unwrap_or_default())
        && is_in((filter.since, filter.until), it.drawn_at)
}

fn is_draw(it: &Draw, filter: &DrawFilter) -> bool {
    is(filter.campaign.as_ref(), it.campaign)
        && is(filter.user.as_ref(), it.user)
        && filter
            .outcome
            .is_none_or(|wanted| (wanted == Outcome::Won) == it.prize.is_some())
        && is(filter.prize.as_ref(), it.prize.unwrap_or_default())
        && is(filter.client.as_ref(), it.client)
        && is_in((filter.since, filter.until), it.drawn_at)
}

fn dead_letters_of(rows: &Rows, filter: &DeadLetterFilter) -> Vec<String> {
    let period = (filter.since, filter.until);
    let is_of_message = matches!(filter.reason, Some(LetterReason::Message(_)));
    let awards = rows.draws.iter().rev().filter(|it| {
        let Some(award) = it.award.as_ref().filter(|it| it.state == State::Dead) else {
            return false;
        };
        let reason = award.dead_reason.map(LetterReason::Award);
        is(filter.campaign.as_ref(), it.campaign)
            && fits(filter.kind.as_ref(), Some(&award.kind))
            && fits(filter.reason.as_ref(), reason.as_ref())
            && !is_of_message
            && is_in(period, it.drawn_at)
    });
    let messages = rows.messages.iter().rev().filter(|it| {
        let reason = LetterReason::Message(it.reason);
        filter.campaign.is_none()
            && filter.kind.is_none()
            && fits(filter.reason.as_ref(), Some(&reason))
            && is_in(period, it.at)
    });
    awards
        .map(|it| it.id.to_string())
        .chain(messages.map(|it| format!("m{}", it.number)))
        .collect()
}

fn is_line(it: &Line, filter: &LogFilter) -> bool {
    is(filter.by.as_ref(), it.by)
        && fits(filter.award.map(|it| it.0).as_ref(), it.award.as_ref())
        && filter
            .action
            .as_ref()
            .is_none_or(|begin| it.action.starts_with(begin.as_str()))
        && is_in((filter.since, filter.until), it.at)
}

/// All pages joined. Each goes on below the one before, so there is an end.
fn joined<T: Send>(
    it: &Fixture,
    limit: usize,
    mut read: impl FnMut(&Connection, PageQuery) -> sql::Result<Page<T>> + Send,
) -> Vec<T> {
    it.by_shell(|conn| joined_by(limit, |page| read(conn, page)))
}

fn joined_by<T>(limit: usize, mut read: impl FnMut(PageQuery) -> sql::Result<Page<T>>) -> Vec<T> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let asked = PageQuery {
            after,
            limit: Some(limit),
        };
        let page = read(asked).unwrap();
        assert!(page.items.len() <= limit);
        items.extend(page.items);
        assert!(page.next.is_none() || after.is_none() || page.next < after);
        after = page.next;
        if after.is_none() {
            return items;
        }
    }
}

type Cut = (usize, Reach);

on_each_database! {
    pages_of_awards_and_draws_are_what_a_plain_filter_gives;
    pages_of_dead_letters_and_of_the_log_are_what_a_plain_filter_gives;
    gauges_are_what_a_recount_gives;
}

fn pages_of_awards_and_draws_are_what_a_plain_filter_gives(on: On) {
    let filters = vec((award_filter(), draw_filter(), cut()), 20);
    each(on, (random::rows(), filters), async |(rows, asked)| {
        let it = rows.stored(on).await;
        for asked in asked {
            pages_of_awards_and_draws(&it, &rows, asked)?;
        }
        Ok(())
    });
}

fn pages_of_awards_and_draws(
    it: &Fixture,
    rows: &Rows,
    (of_awards, of_draws, (limit, reach)): (AwardFilter, DrawFilter, Cut),
) -> TestCaseResult {
    let found = joined(it, limit, |conn, page| {
        awards::list(conn, &of_awards, page, reach)
    });
    let found: Vec<i64> = found.iter().map(|it| it.id.0).collect();
    let wanted = rows
        .draws
        .iter()
        .rev()
        .filter(|it| is_award(it, &of_awards));
    prop_assert_eq!(
        found,
        wanted.map(|it| it.id).collect::<Vec<_>>(),
        "{:?}",
        of_awards
    );
    let found = joined(it, limit, |conn, page| {
        draws::list(conn, &of_draws, page, reach)
    });
    let found: Vec<i64> = found.iter().map(|it| it.id.0).collect();
    let wanted = rows.draws.iter().rev().filter(|it| is_draw(it, &of_draws));
    prop_assert_eq!(
        found,
        wanted.map(|it| it.id).collect::<Vec<_>>(),
        "{:?}",
        of_draws
    );
    Ok(())
}

fn pages_of_dead_letters_and_of_the_log_are_what_a_plain_filter_gives(on: On) {
    let filters = vec((letter_filter(), log_filter(), cut()), 20);
    each(on, (random::rows(), filters), async |(rows, asked)| {
        let it = rows.stored(on).await;
        for asked in asked {
            pages_of_letters_and_lines(&it, &rows, asked)?;
        }
        Ok(())
    });
}

fn pages_of_letters_and_lines(
    it: &Fixture,
    rows: &Rows,
    (of_letters, of_lines, (limit, reach)): (DeadLetterFilter, LogFilter, Cut),
) -> TestCaseResult {
    // Ids of these have no spans: a page may read a few rows only.
    let reach = Reach {
        rows: reach.seeks,
        ..reach
    };
    let found = joined(it, limit, |conn, page| {
        dead_letters::list(conn, &of_letters, page, reach)
    });
    let found: Vec<String> = found.into_iter().map(|it| it.id).collect();
    prop_assert_eq!(
        found,
        dead_letters_of(rows, &of_letters),
        "{:?}",
        of_letters
    );
    let found = joined(it, limit, |conn, page| {
        log::list(conn, &of_lines, page, reach)
    });
    let found: Vec<i64> = found.iter().map(|it| it.id).collect();
    let wanted = rows.log.iter().rev().filter(|it| is_line(it, &of_lines));
    prop_assert_eq!(
        found,
        wanted.map(|it| it.id).collect::<Vec<_>>(),
        "{:?}",
        of_lines
    );
    Ok(())
}

fn gauges_are_what_a_recount_gives(on: On) {
    each(on, random::rows(), async |rows| {
        let gauges = rows.stored(on).await.store.gauges().await.unwrap();
        recount(&rows, &gauges)
    });
}

fn recount(rows: &Rows, gauges: &Gauges) -> TestCaseResult {
    let awards = || {
        rows.draws
            .iter()
            .filter_map(|it| Some((it, it.award.as_ref()?)))
    };
    for state in State::ALL {
        let wanted = awards().filter(|(_, it)| it.state == *state).count();
        prop_assert_eq!(gauges.awards[state], wanted as u64, "{}", state);
    }
    for reason in HoldReason::ALL {
        let wanted = awards()
            .filter(|(_, it)| it.hold_reason == Some(*reason))
            .count();
        prop_assert_eq!(gauges.held[reason], wanted as u64, "{}", reason);
    }
    for reason in DeadReason::ALL {
        let wanted = awards()
            .filter(|(_, it)| it.dead_reason == Some(*reason))
            .count();
        prop_assert_eq!(gauges.dead[reason], wanted as u64, "{}", reason);
    }
    for reason in KeptReason::ALL {
        let wanted = rows
            .messages
            .iter()
            .filter(|it| it.reason == *reason)
            .count();
        prop_assert_eq!(gauges.kept[reason], wanted as u64, "{}", reason);
    }
    let under_way = awards().filter(|(_, it)| !it.state.is_final() && it.state != State::Held);
    prop_assert_eq!(
        gauges.oldest_undelivered,
        under_way.map(|(it, _)| it.drawn_at).min()
    );
    Ok(())
}
