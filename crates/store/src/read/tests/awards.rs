//! Aim: every draw, award and dead letter is found, by each filter, once, and with
//! its whole way.

use super::super::TimelineEntry;
use super::super::fixture::{
    COINS, Fixture, GIFT, HELLO, HOOK, NOTHING, NOW, On, PHONE, TOUR, award_of, on_each_database,
};
use super::super::{AwardFilter, DeadLetterFilter, DrawFilter, Outcome};
use super::{all, refuse, show, whole};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tombola_core::award::{Mark, Position, State};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::limits::TIMELINE_LINES_MAX;
use tombola_core::ports::{
    AwardPath as _, BulkAction, BulkFilter, BulkSpec, KeptMessage, MarkOf, Record,
};
use tombola_core::reason::{DeadReason, KeptReason};
use tombola_core::retry::Jitter;
use tombola_core::{AwardId, DrawId};

on_each_database! {
    async each_filter_of_awards_narrows_and_pages_are_whole;
    async first_publish_is_told_with_its_place;
    async award_shows_its_whole_way;
    async what_is_not_there_is_none;
    async content_is_there_only_once_it_is_delivered_and_can_be_masked;
    async every_draw_is_on_one_page_newest_first;
    async dead_letters_are_awards_and_after_them_messages;
    async dead_letter_says_why_and_whether_it_is_in_doubt;
    async filter_of_dead_letters_counts_what_a_requeue_would_touch;
    async timeline_shows_as_many_lines_as_its_bound_the_newest;
}

/// How many awards fit, however the list is cut into pages.
async fn count(it: &Fixture, filter: AwardFilter) -> usize {
    let small = all(2, |page| it.store.award_list(filter.clone(), page)).await;
    let large = it.store.award_list(filter, whole()).await.unwrap().items;
    assert_eq!(small, large);
    let ids: BTreeSet<AwardId> = small.iter().map(|award| award.id).collect();
    assert_eq!(ids.len(), small.len());
    small.len()
}

fn filter(json: serde_json::Value) -> AwardFilter {
    serde_json::from_value(json).unwrap()
}

async fn each_filter_of_awards_narrows_and_pages_are_whole(on: On) {
    let it = Fixture::fair_on(on).await;
    for user in ["ann", "bob", "cid"] {
        let places = [HELLO, GIFT, COINS, HOOK, PHONE, TOUR, NOTHING];
        let draws = it.draw(user, &places).await;
        it.deliver(award_of(&draws[0])).await;
        it.deliver(award_of(&draws[4])).await;
        refuse(&it, award_of(&draws[1])).await;
    }
    let later = NOW.plus(Duration::from_secs(9));
    it.draw_at("dan", &[HELLO], later).await;
    for (wanted, awards) in [
        (json!({}), 19),
        (json!({"user": "bob"}), 6),
        (json!({"campaign": "fair"}), 19),
        (json!({"campaign": "none"}), 0),
        (json!({"prize": "hook"}), 3),
        (json!({"kind": "external"}), 3),
        (json!({"since": later}), 1),
        (json!({"state": "delivered"}), 3),
        (json!({"state": "held"}), 3),
        (json!({"state": "dead"}), 3),
        (json!({"state": "pending"}), 10),
        (json!({"state": "dead", "kind": "points"}), 0),
        (json!({"state": "dead", "kind": "code", "user": "ann"}), 1),
    ] {
        assert_eq!(count(&it, filter(wanted.clone())).await, awards, "{wanted}");
    }
}

/// The award's next call ends like that.
async fn call(it: &Fixture, award: AwardId, decision: Decision, error: Option<&str>) {
    let lease = it.claim_at(award, NOW.plus(Duration::from_hours(1))).await;
    let record = Record {
        award,
        lease,
        decision,
        error: error.map(str::to_owned),
        lane_at: NOW,
        jitter: Jitter::NONE,
    };
    it.store.record(vec![record], NOW).await.unwrap();
}

async fn first_publish_is_told_with_its_place(on: On) {
    let it = Fixture::fair_on(on).await;
    let award = it.win("ann", HOOK).await;
    assert_eq!(show(&it, award).await.timeline.len(), 1);
    let at = Position {
        epoch: 1,
        partition: 5,
        offset: 77,
    };
    let mark = MarkOf {
        award,
        lease: 1,
        mark: Mark::Taken(at),
        error: None,
    };
    it.store.mark_published(vec![mark], NOW).await.unwrap();
    let published = &show(&it, award).await.timeline[1];
    assert_eq!(published.what, "published");
    assert_eq!((published.partition, published.offset), (Some(5), Some(77)));
}

async fn award_shows_its_whole_way(on: On) {
    let it = Fixture::fair_on(on).await;
    let award = it.win("ann", HOOK).await;
    let receipt = Some("r-9".to_owned());
    let retry = Decision::Retry { after: None };
    call(&it, award, retry, Some("status 503")).await;
    call(&it, award, Decision::Delivered { receipt }, None).await;
    let shown = show(&it, award).await;
    let fact = &shown.fact;
    assert_eq!(
        (fact.state, fact.grant_state, fact.mq_state),
        (State::Delivered, 1, 1)
    );
    assert_eq!(shown.endpoint.as_deref(), Some("keen"));
    assert_eq!(shown.client, "shop");
    let line = |it: &TimelineEntry| (it.what.clone(), it.decision.clone().unwrap_or_default());
    let told: Vec<(String, String)> = shown.timeline.iter().map(line).collect();
    let expected = [
        ("drawn", ""),
        ("published", ""),
        ("deliver", "retry"),
        ("deliver", "delivered"),
    ];
    assert_eq!(told, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let [_, _, retry, delivered] = &shown.timeline[..] else {
        panic!("four entries")
    };
    assert_eq!(retry.detail.as_deref(), Some("status 503"));
    assert_eq!(retry.due_at, Some(NOW.plus(Duration::from_secs(1))));
    assert_eq!(delivered.receipt.as_deref(), Some("r-9"));
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["id"], award.0);
    assert_eq!(json["grant_state"], 1);
    assert_eq!(json["state"], "delivered");
}

async fn what_is_not_there_is_none(on: On) {
    let it = Fixture::fair_on(on).await;
    assert_eq!(it.store.award_show(AwardId(4711)).await.unwrap(), None);
    assert_eq!(it.store.draw_show(DrawId(4711)).await.unwrap(), None);
    assert_eq!(it.store.kept_message_show(9).await.unwrap(), None);
    assert_eq!(it.store.code_stats("none").await.unwrap(), None);
    assert_eq!(it.store.endpoint_show("none", NOW).await.unwrap(), None);
    assert_eq!(it.store.user_show("none", "ann", NOW).await.unwrap(), None);
    assert_eq!(it.store.campaign_show("none", NOW).await.unwrap(), None);
}

async fn content_is_there_only_once_it_is_delivered_and_can_be_masked(on: On) {
    let it = Fixture::fair_on(on).await;
    let draws = it.draw("ann", &[HELLO, GIFT, COINS]).await;
    let show = async |at: usize| {
        it.store
            .award_show(award_of(&draws[at]))
            .await
            .unwrap()
            .unwrap()
    };
    assert_eq!((show(0).await.content, show(1).await.content), (None, None));
    for draw in &draws {
        it.deliver(award_of(draw)).await;
    }
    assert_eq!(show(0).await.content.as_deref(), Some("hello, winner"));
    let code = show(1).await;
    assert_eq!(code.content.as_deref(), Some("GIFT-0001"));
    assert_eq!(code.masked().content.as_deref(), Some("GI••••01"));
    assert_eq!(
        (show(2).await.content, show(2).await.points),
        (None, Some(10))
    );
    let points = it.store.points_show("ann", whole()).await.unwrap();
    assert_eq!((points.balance, points.entries.items.len()), (10, 1));
}

async fn every_draw_is_on_one_page_newest_first(on: On) {
    let it = Fixture::fair_on(on).await;
    for user in ["ann", "bob", "cid"] {
        it.draw(user, &[HELLO, NOTHING, COINS]).await;
    }
    let filter = |user: Option<&str>| DrawFilter {
        campaign: Some("fair".to_owned()),
        user: user.map(str::to_owned),
        ..DrawFilter::default()
    };
    let draws = all(2, |page| it.store.draw_list(filter(None), page)).await;
    assert!(draws.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!(draws.len(), 9);
    let bobs = all(2, |page| it.store.draw_list(filter(Some("bob")), page)).await;
    assert_eq!(bobs.len(), 3);
    assert!(bobs.iter().all(|draw| draw.user == "bob"));
    let shown = it.store.draw_show(bobs[1].id).await.unwrap().unwrap();
    assert_eq!(
        (shown.outcome, &shown.prize, shown.state),
        (Outcome::Nothing, &None, None)
    );
    let none = DrawFilter {
        campaign: Some("none".to_owned()),
        ..DrawFilter::default()
    };
    assert!(
        it.store
            .draw_list(none, whole())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

/// Three dead awards and two kept messages; gives the awards' ids, newest first.
async fn with_dead_letters(it: &Fixture) -> Vec<String> {
    let draws = it.draw("ann", &[HELLO, GIFT, TOUR]).await;
    for draw in &draws {
        refuse(it, award_of(draw)).await;
    }
    let message = |offset, reason| KeptMessage {
        position: Position {
            epoch: 1,
            partition: 2,
            offset,
        },
        key: Some("ann".to_owned()),
        value: Some(b"{}".to_vec()),
        headers: vec![("origin".to_owned(), "x".to_owned())],
        reason,
    };
    let messages = vec![
        message(8, KeptReason::Empty),
        message(9, KeptReason::Undecodable),
    ];
    it.store.keep_messages(messages, NOW).await.unwrap();
    draws.iter().rev().map(|draw| draw.id.to_string()).collect()
}

async fn dead_letters_are_awards_and_after_them_messages(on: On) {
    let it = Fixture::fair_on(on).await;
    let mut expected = with_dead_letters(&it).await;
    expected.extend(["m2".to_owned(), "m1".to_owned()]);
    for limit in 1..=6 {
        let read = |page| it.store.dead_letter_list(DeadLetterFilter::default(), page);
        let letters = all(limit, read).await;
        let ids: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
        assert_eq!(ids, expected, "in pages of {limit}");
    }
}

async fn dead_letter_says_why_and_whether_it_is_in_doubt(on: On) {
    let it = Fixture::fair_on(on).await;
    with_dead_letters(&it).await;
    let list = it
        .store
        .dead_letter_list(DeadLetterFilter::default(), whole());
    let letters = list.await.unwrap().items;
    assert_eq!(letters[0].reason, "unpublishable");
    assert_eq!(letters[0].in_doubt, Some(true));
    assert_eq!(letters[0].detail.as_deref(), Some("too large"));
    assert_eq!(letters[3].reason, "undecodable");
    assert_eq!((letters[3].offset, letters[3].bytes), (Some(9), Some(2)));
    let kept = it.store.kept_message_show(2).await.unwrap().unwrap();
    assert_eq!(kept.value.as_deref(), Some("{}"));
    assert_eq!((kept.partition, kept.key.as_deref()), (2, Some("ann")));
}

async fn filter_of_dead_letters_counts_what_a_requeue_would_touch(on: On) {
    let it = Fixture::fair_on(on).await;
    with_dead_letters(&it).await;
    let of_kind = BulkFilter {
        kind: Some(Kind::Code),
        ..BulkFilter::default()
    };
    let other = BulkFilter {
        reason: Some(DeadReason::Poison),
        ..BulkFilter::default()
    };
    let count = async |filter: BulkFilter| {
        let action = BulkAction::Requeue {
            not_delivered: false,
            over_secs: 0,
        };
        let spec = BulkSpec {
            action,
            filter,
            matched: 0,
        };
        it.store.operation_count(spec).await.unwrap()
    };
    assert_eq!(count(BulkFilter::default()).await, (3, 1));
    assert_eq!(count(of_kind).await, (1, 0));
    assert_eq!(count(other).await, (0, 0));
}

async fn timeline_shows_as_many_lines_as_its_bound_the_newest(on: On) {
    let it = Fixture::fair_on(on).await;
    let award = it.win("ann", HELLO).await;
    let lines = "INSERT INTO attempt (award_id, n, at, what, lease, decision, state)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= ?2)
         SELECT ?1, i, i, 'operator', i, 'hold', 'held' FROM n";
    let count = i64::try_from(TIMELINE_LINES_MAX).unwrap();
    it.by_shell(|conn| conn.execute(lines, [award.0, count]).unwrap());
    let timeline = show(&it, award).await.timeline;
    let leases: Vec<i64> = timeline.iter().filter_map(|line| line.lease).collect();
    assert_eq!(leases.len(), TIMELINE_LINES_MAX);
    assert_eq!(leases[0], 2, "the first of one too many is not shown");
}
