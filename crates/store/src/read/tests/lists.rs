//! Aim: codes, endpoints, the operator log and the gauges are counted right.

use super::super::fixture::{
    COINS, Fixture, GIFT, HELLO, HOOK, NOTHING, NOW, On, PHONE, actor, award_of, on_each_database,
};
use super::super::walk::Reach;
use super::super::{LogFilter, PageQuery, log};
use super::{all, refuse};
use crate::sql::Connection;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::award::{Mark, Position, State};
use tombola_core::limits::LOG_CLOCK_BACK_MAX;
use tombola_core::ports::{
    Action, AwardPath as _, BulkAction, BulkFilter, BulkSpec, Catalog as _, MarkOf, Operate as _,
};
use tombola_core::reason::{DeadReason, HoldReason};

on_each_database! {
    async codes_are_counted_by_prize_and_import_and_none_is_shown;
    async operator_log_is_listed_by_time_by_client_and_by_award;
    async log_by_time_is_walked_within_its_time_and_not_to_its_beginning;
    async gauges_count_every_state_and_reason_from_zero;
    async endpoint_shows_what_waits_for_it;
    async user_is_shown_with_what_it_has_and_what_is_open;
    async operations_and_seals_are_listed;
}

async fn codes_are_counted_by_prize_and_import_and_none_is_shown(on: On) {
    let it = Fixture::fair_on(on).await;
    let award = it.win("ann", GIFT).await;
    it.deliver(award).await;
    let running = it.begin("fair", "gift").await;
    it.add(running, &["X-1", "X-2"]).await;
    let stats = it.store.code_stats("fair").await.unwrap().unwrap();
    let gift = &stats[0];
    assert_eq!(
        (gift.total, gift.free, gift.given, gift.voided),
        (3, 2, 1, 0)
    );
    let states: Vec<(&str, u64)> = gift
        .imports
        .iter()
        .map(|it| (it.state.as_str(), it.total))
        .collect();
    assert_eq!(states, [("running", 2), ("ready", 3)]);
    assert!(!serde_json::to_string(&stats).unwrap().contains("GIFT-"));
}

async fn operator_log_is_listed_by_time_by_client_and_by_award(on: On) {
    let it = Fixture::fair_on(on).await;
    let award = it.win("ann", PHONE).await;
    it.act(award, Action::Hold).await;
    let later = NOW.plus(Duration::from_secs(5));
    it.store
        .act(award, Action::Release, actor(), later)
        .await
        .unwrap();
    let lines =
        async |filter: LogFilter| all(3, |page| it.store.log_list(filter.clone(), page)).await;
    let everything = lines(LogFilter::default()).await;
    assert_eq!(everything.len(), 8);
    assert_eq!(
        (everything[0].action.as_str(), everything[0].by.as_str()),
        ("award release", "ada")
    );
    assert_eq!(everything[0].reason.as_deref(), Some("because"));
    assert_eq!(
        lines(LogFilter {
            award: Some(award),
            ..LogFilter::default()
        })
        .await
        .len(),
        2
    );
    assert_eq!(
        lines(LogFilter {
            since: Some(later),
            ..LogFilter::default()
        })
        .await
        .len(),
        1
    );
    assert_eq!(
        lines(LogFilter {
            by: Some("bob".to_owned()),
            ..LogFilter::default()
        })
        .await
        .len(),
        0
    );
}

/// A page of the log that may read few lines.
fn page_of_log(it: &Fixture, filter: &LogFilter) -> (Vec<i64>, Option<i64>) {
    let reach = Reach {
        rows: 100,
        ..Reach::default()
    };
    let page = it.by_shell(|conn| log::list(conn, filter, PageQuery::default(), reach).unwrap());
    let ids = page.items.iter().map(|line| line.id).collect();
    (ids, page.next.map(|place| place.0))
}

async fn log_by_time_is_walked_within_its_time_and_not_to_its_beginning(on: On) {
    let it = Fixture::fair_on(on).await;
    let hour = |hours: i64| Timestamp(NOW.0 + hours * 3_600_000_000);
    it.by_shell(|conn| conn.execute_batch("DELETE FROM operator_log").unwrap());
    let write = |conn: &Connection, id: i64, at: Timestamp| {
        let sql = "INSERT INTO operator_log (id, at, actor, action, subject) VALUES (?1, ?2, 'ada', 'it', 'it')";
        conn.prepare_cached(sql)
            .unwrap()
            .execute([id, at.0])
            .unwrap();
    };
    it.by_shell(|conn| (1..=1000).for_each(|id| write(conn, id, hour(id))));
    let filter = |since: Option<i64>, until: Option<i64>| LogFilter {
        since: since.map(hour),
        until: until.map(hour),
        ..LogFilter::default()
    };
    let newest = page_of_log(&it, &filter(Some(998), None));
    assert_eq!(newest, (vec![1000, 999, 998], None));
    let oldest = page_of_log(&it, &filter(None, Some(3)));
    assert_eq!(oldest, (vec![2, 1], None));
    assert_eq!(page_of_log(&it, &filter(Some(2000), None)), (vec![], None));
    // A clock that was set back by as much as it may.
    let back = i64::try_from(LOG_CLOCK_BACK_MAX.as_secs() / 3600).unwrap();
    it.by_shell(|conn| write(conn, 1001, hour(1000 - back)));
    let late = page_of_log(&it, &filter(Some(1000), None));
    assert_eq!(late, (vec![1000], None));
    let early = page_of_log(&it, &filter(Some(1000 - back), Some(1001 - back)));
    assert_eq!(early, (vec![1001, 1000 - back], None));
}

async fn gauges_count_every_state_and_reason_from_zero(on: On) {
    let it = Fixture::fair_on(on).await;
    let empty = it.store.gauges().await.unwrap();
    assert_eq!(empty.awards.values().sum::<u64>(), 0);
    assert_eq!(
        (empty.awards.len(), empty.held.len(), empty.dead.len()),
        (7, 8, 8)
    );
    assert_eq!(
        (empty.oldest_unpublished, empty.oldest_undelivered),
        (None, None)
    );
    let draws = it.draw("ann", &[HELLO, GIFT, PHONE, COINS]).await;
    it.draw_at("bob", &[HELLO], NOW.plus(Duration::from_secs(7)))
        .await;
    it.deliver(award_of(&draws[0])).await;
    it.deliver(award_of(&draws[2])).await;
    refuse(&it, award_of(&draws[1])).await;
    let at = Position {
        epoch: 1,
        partition: 0,
        offset: 1,
    };
    let taken = MarkOf {
        award: award_of(&draws[3]),
        lease: 1,
        mark: Mark::Taken(at),
        error: None,
    };
    it.store.mark_published(vec![taken], NOW).await.unwrap();
    let gauges = it.store.gauges().await.unwrap();
    let awards: Vec<u64> = State::ALL
        .iter()
        .map(|state| gauges.awards[state])
        .collect();
    assert_eq!(awards, [2, 0, 0, 1, 1, 1, 0]);
    assert_eq!(
        (
            gauges.held[&HoldReason::Address],
            gauges.dead[&DeadReason::Unpublishable]
        ),
        (1, 1)
    );
    assert_eq!(
        gauges.oldest_unpublished,
        Some(NOW.plus(Duration::from_secs(7)))
    );
    assert_eq!(gauges.oldest_undelivered, Some(NOW));
    let left: Vec<(&str, u64)> = gauges
        .stock_left
        .iter()
        .map(|it| (it.prize.as_str(), it.left))
        .collect();
    assert_eq!(left, [("gift", 2), ("phone", 4)]);
}

async fn endpoint_shows_what_waits_for_it(on: On) {
    let it = Fixture::fair_on(on).await;
    it.win("ann", HOOK).await;
    let shown = it.store.endpoint_show("keen", NOW).await.unwrap().unwrap();
    assert_eq!(
        (
            shown.lane,
            shown.is_enabled,
            shown.secrets,
            shown.unfinished
        ),
        (1, true, 1, 1)
    );
    assert_eq!(shown.spec["idempotent"], true);
    assert_eq!(
        it.store.endpoints().await.unwrap()[0].secrets_at(NOW),
        ["whsec_secret"]
    );
}

async fn user_is_shown_with_what_it_has_and_what_is_open(on: On) {
    let it = Fixture::fair_on(on).await;
    let draws = it.draw("ann", &[COINS, PHONE, NOTHING, HELLO]).await;
    it.deliver(award_of(&draws[0])).await;
    refuse(&it, award_of(&draws[3])).await;
    assert_eq!(it.store.user_detail("bob").await.unwrap(), None);
    let shown = it.store.user_detail("ann").await.unwrap().unwrap();
    assert_eq!((shown.points, shown.is_blocked), (10, false));
    assert_eq!(shown.campaigns[0].draws, 4);
    let states: Vec<_> = shown.awards.iter().map(|it| (it.state, it.count)).collect();
    let expected = [(State::Dead, 1), (State::Delivered, 1), (State::Pending, 1)];
    assert_eq!(states, expected);
    assert_eq!(it.store.user_unfinished("ann").await.unwrap(), 1);
    it.store.block_user("ann", actor(), NOW).await.unwrap();
    let blocked = it.store.user_detail("ann").await.unwrap().unwrap();
    assert_eq!(blocked.blocked_reason.as_deref(), Some("because"));
}

async fn operations_and_seals_are_listed(on: On) {
    let it = Fixture::fair_on(on).await;
    let spec = BulkSpec {
        action: BulkAction::Release,
        filter: BulkFilter::default(),
        matched: 3,
    };
    for _ in 0..3 {
        it.store
            .begin_operation(spec.clone(), actor(), NOW)
            .await
            .unwrap();
    }
    let listed = all(2, |page| it.store.operation_list(page)).await;
    let ids: Vec<i64> = listed.iter().map(|it| it.id).collect();
    assert_eq!(ids, [3, 2, 1]);
    let shown = it.store.operation_show(2).await.unwrap().unwrap();
    assert_eq!(shown, listed[1]);
    let seals = it.store.seal_show().await.unwrap();
    assert_eq!((seals.newest, seals.is_resealing), (0, false));
    let plain = &seals.versions[0].rows;
    assert_eq!(plain.values().sum::<u64>(), 4, "three codes and a secret");
}
