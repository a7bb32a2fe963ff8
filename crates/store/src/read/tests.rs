//! Aim: people see what is there, under the names of the contract: every row of a
//! list exactly once over its pages, phases at the instant asked, the whole way of
//! an award, and nothing that is secret.

use super::fixture::{
    COINS, FAIR, Fixture, GIFT, HELLO, HOOK, NOTHING, NOW, PHONE, TOUR, actor, award_of,
};
use super::{AwardFilter, DrawFilter, LogFilter, Page, PageQuery};
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;
use tombola_core::award::{Mark, Position, State};
use tombola_core::campaign::{CampaignState, Kind, Phase, Transition};
use tombola_core::decision::Decision;
use tombola_core::ports::{
    Action, AwardPath as _, Catalog as _, DeadFilter, KeptMessage, MarkOf, Operate as _, Record, StoreResult,
};
use tombola_core::reason::{DeadReason, HoldReason, KeptReason};
use tombola_core::retry::Jitter;
use tombola_core::{AwardId, DrawId, Timestamp};

/// All items of a list, read page by page.
async fn all<T, F>(limit: usize, mut read: impl FnMut(PageQuery) -> F) -> Vec<T>
where
    F: Future<Output = StoreResult<Page<T>>>,
{
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let page = read(PageQuery { after, limit: Some(limit) }).await.unwrap();
        assert!(page.items.len() <= limit);
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            return items;
        }
    }
}

async fn refuse(it: &Fixture, award: AwardId) {
    let mark = MarkOf { award, lease: 1, mark: Mark::Refused, error: Some("too large".to_owned()) };
    it.store.mark_published(vec![mark], NOW).await.unwrap();
}

fn whole() -> PageQuery {
    PageQuery::default()
}

#[tokio::test]
async fn campaign_shows_its_phase_at_the_instant_asked() {
    let it = Fixture::new();
    let period = "name = \"Fair\"\nstarts_at = \"2026-03-01T00:00:00\"\nends_at = \"2026-03-02T00:00:00\"";
    let only = FAIR.split("[[prize]]").take(2).collect::<Vec<_>>().join("[[prize]]");
    it.put(&only.replace("name = \"Fair\"", period)).await;
    let phase = async |at: &str| {
        let at = Timestamp::parse(at).unwrap();
        let list = it.store.campaign_list(whole(), at).await.unwrap();
        let shown = it.store.campaign_show("fair", at).await.unwrap().unwrap();
        assert_eq!(list.items[0], shown.fact);
        shown.fact.phase
    };
    assert_eq!(phase("2026-03-01T00:00:00Z").await, Phase::Draft);
    it.start("fair").await;
    assert_eq!(phase("2026-02-28T23:59:59Z").await, Phase::Scheduled);
    assert_eq!(phase("2026-03-01T00:00:00Z").await, Phase::Running);
    assert_eq!(phase("2026-03-02T00:00:00Z").await, Phase::Ended);
    it.go("fair", Transition::Pause).await;
    assert_eq!(phase("2026-03-01T00:00:00Z").await, Phase::Paused);
    assert_eq!(it.store.campaign_show("none", NOW).await.unwrap(), None);
}

#[tokio::test]
async fn campaign_shows_what_became_of_each_prize() {
    let it = Fixture::fair().await;
    let draws = it.draw("ann", &[HELLO, GIFT, GIFT, PHONE, NOTHING, GIFT]).await;
    it.deliver(award_of(&draws[0])).await;
    it.deliver(award_of(&draws[1])).await;
    it.deliver(award_of(&draws[3])).await;
    refuse(&it, award_of(&draws[2])).await;
    let shown = it.store.campaign_show("fair", NOW).await.unwrap().unwrap();
    assert_eq!((shown.fact.draws, shown.fact.state), (6, CampaignState::Started));
    let slugs: Vec<&str> = shown.prizes.iter().map(|prize| prize.prize.as_str()).collect();
    assert_eq!(slugs, ["hello", "gift", "coins", "hook", "phone", "tour"]);
    let gift = &shown.prizes[1];
    assert_eq!((gift.stock, gift.spent, gift.left, gift.today), (Some(3), 3, Some(0), 3));
    assert_eq!((gift.won, gift.delivered, gift.unfinished, gift.dead), (3, 1, 1, 1));
    assert_eq!((gift.odds.as_deref(), gift.effective.as_deref()), (Some("10%"), Some("0%")));
    assert_eq!((shown.nothing_odds.as_str(), shown.nothing_effective.as_str()), ("40%", "50%"));
    assert_eq!((shown.prizes[4].held, shown.prizes[4].unfinished), (1, 1));
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["campaign"], "fair");
    assert_eq!(json["prizes"][0]["name"], "A greeting");
}

#[tokio::test]
async fn prize_that_is_in_no_file_any_more_is_still_counted() {
    let it = Fixture::fair().await;
    it.win("ann", TOUR).await;
    it.go("fair", Transition::Pause).await;
    let (without, _) = FAIR.split_at(FAIR.find("[[prize]]\nslug = \"tour\"").unwrap());
    it.put(without).await;
    it.start("fair").await;
    let shown = it.store.campaign_show("fair", NOW).await.unwrap().unwrap();
    let tour = shown.prizes.last().unwrap();
    assert_eq!((tour.prize.as_str(), tour.odds.as_deref(), tour.won), ("tour", None, 1));
}

#[tokio::test]
async fn export_is_the_newest_file_or_the_version_asked_for() {
    let it = Fixture::fair().await;
    it.put(&FAIR.replace("stock = 5", "stock = 9")).await;
    let stock = async |version| {
        let file = it.store.campaign_export("fair", version).await.unwrap();
        file.map(|file| file.prize[4].stock)
    };
    assert_eq!((stock(None).await, stock(Some(1)).await, stock(Some(7)).await), (Some(Some(9)), Some(Some(5)), None));
}

#[tokio::test]
async fn every_draw_is_on_one_page_newest_first() {
    let it = Fixture::fair().await;
    for user in ["ann", "bob", "cid"] {
        it.draw(user, &[HELLO, NOTHING, COINS]).await;
    }
    let filter = |user: Option<&str>| DrawFilter { campaign: Some("fair".to_owned()), user: user.map(str::to_owned) };
    let draws = all(2, |page| it.store.draw_list(filter(None), page)).await;
    assert!(draws.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!(draws.len(), 9);
    let bobs = all(2, |page| it.store.draw_list(filter(Some("bob")), page)).await;
    assert_eq!(bobs.len(), 3);
    assert!(bobs.iter().all(|draw| draw.user == "bob"));
    let shown = it.store.draw_show(bobs[1].id).await.unwrap().unwrap();
    assert_eq!((shown.outcome.as_str(), &shown.prize, shown.state), ("nothing", &None, None));
    assert_eq!(it.store.draw_show(DrawId(4711)).await.unwrap(), None);
    let none = DrawFilter { campaign: Some("none".to_owned()), user: None };
    assert!(it.store.draw_list(none, whole()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn each_filter_of_awards_narrows_and_pages_are_whole() {
    let it = Fixture::fair().await;
    for user in ["ann", "bob", "cid"] {
        let draws = it.draw(user, &[HELLO, GIFT, COINS, HOOK, PHONE, TOUR, NOTHING]).await;
        it.deliver(award_of(&draws[0])).await;
        it.deliver(award_of(&draws[4])).await;
        refuse(&it, award_of(&draws[1])).await;
    }
    it.draw_at("dan", &[HELLO], NOW.plus(Duration::from_secs(9))).await;
    let count = async |filter: AwardFilter| {
        let small = all(2, |page| it.store.award_list(filter.clone(), page)).await;
        let large = it.store.award_list(filter, whole()).await.unwrap().items;
        assert_eq!(small, large, "however it is cut into pages");
        let ids: BTreeSet<AwardId> = small.iter().map(|award| award.id).collect();
        assert_eq!(ids.len(), small.len());
        small.len()
    };
    let none = AwardFilter::default;
    assert_eq!(count(none()).await, 19);
    assert_eq!(count(AwardFilter { user: Some("bob".to_owned()), ..none() }).await, 6);
    assert_eq!(count(AwardFilter { campaign: Some("fair".to_owned()), ..none() }).await, 19);
    assert_eq!(count(AwardFilter { campaign: Some("none".to_owned()), ..none() }).await, 0);
    assert_eq!(count(AwardFilter { prize: Some("hook".to_owned()), ..none() }).await, 3);
    assert_eq!(count(AwardFilter { kind: Some(Kind::External), ..none() }).await, 3);
    assert_eq!(count(AwardFilter { since: Some(NOW.plus(Duration::from_secs(1))), ..none() }).await, 1);
    for (state, awards) in [(State::Delivered, 3), (State::Held, 3), (State::Dead, 3), (State::Pending, 10)] {
        assert_eq!(count(AwardFilter { state: Some(state), ..none() }).await, awards, "{state}");
    }
    let dead_coins = AwardFilter { state: Some(State::Dead), kind: Some(Kind::Points), ..none() };
    assert_eq!(count(dead_coins).await, 0);
}

#[tokio::test]
async fn award_shows_its_whole_way() {
    let it = Fixture::fair().await;
    let award = it.win("ann", HOOK).await;
    let at = Position { epoch: 1, partition: 5, offset: 77 };
    let mark = |lease, mark| MarkOf { award, lease, mark, error: None };
    it.store.mark_published(vec![mark(1, Mark::Taken(at))], NOW).await.unwrap();
    let shown = it.store.award_show(award).await.unwrap().unwrap();
    assert_eq!((shown.timeline[1].what.as_str(), shown.timeline[1].partition), ("published", Some(5)));
    assert_eq!(shown.timeline[1].offset, Some(77));
    for decision in [Decision::Retry { after: None }, Decision::Delivered { receipt: Some("r-9".to_owned()) }] {
        let lease = it.claim_at(award, NOW.plus(Duration::from_secs(3600))).await;
        let record = Record {
            award,
            lease,
            error: matches!(decision, Decision::Retry { .. }).then(|| "status 503".to_owned()),
            decision,
            lane_at: NOW,
            jitter: Jitter::NONE,
        };
        it.store.record(vec![record], NOW).await.unwrap();
    }
    let shown = it.store.award_show(award).await.unwrap().unwrap();
    assert_eq!((shown.fact.state, shown.fact.grant_state, shown.fact.mq_state), (State::Delivered, 1, 1));
    assert_eq!((shown.endpoint.as_deref(), shown.client.as_str()), (Some("keen"), "shop"));
    let told: Vec<_> = shown.timeline.iter().map(|it| (it.what.as_str(), it.decision.as_deref())).collect();
    let expected = [
        ("drawn", None),
        ("published", None),
        ("deliver", Some("retry")),
        ("deliver", Some("delivered")),
    ];
    assert_eq!(told, expected);
    assert_eq!(shown.timeline[2].detail.as_deref(), Some("status 503"));
    assert_eq!(shown.timeline[2].due_at, Some(NOW.plus(Duration::from_secs(1))));
    assert_eq!(shown.timeline[3].receipt.as_deref(), Some("r-9"));
    assert_eq!(it.store.award_show(AwardId(4711)).await.unwrap(), None);
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!((&json["id"], &json["grant_state"], &json["state"]), (&award.0.into(), &1.into(), &"delivered".into()));
}

#[tokio::test]
async fn content_is_there_only_once_it_is_delivered_and_can_be_masked() {
    let it = Fixture::fair().await;
    let draws = it.draw("ann", &[HELLO, GIFT, COINS]).await;
    let show = async |at: usize| it.store.award_show(award_of(&draws[at])).await.unwrap().unwrap();
    assert_eq!((show(0).await.content, show(1).await.content), (None, None));
    for draw in &draws {
        it.deliver(award_of(draw)).await;
    }
    assert_eq!(show(0).await.content.as_deref(), Some("hello, winner"));
    let code = show(1).await;
    assert_eq!(code.content.as_deref(), Some("GIFT-0001"));
    assert_eq!(code.masked().content.as_deref(), Some("GI••••01"));
    assert_eq!((show(2).await.content, show(2).await.points), (None, Some(10)));
    let points = it.store.points_show("ann", whole()).await.unwrap();
    assert_eq!((points.balance, points.entries.items.len()), (10, 1));
}

#[tokio::test]
async fn dead_letters_are_awards_and_after_them_messages() {
    let it = Fixture::fair().await;
    let draws = it.draw("ann", &[HELLO, GIFT, TOUR]).await;
    for draw in &draws {
        refuse(&it, award_of(draw)).await;
    }
    let message = |offset, reason| KeptMessage {
        position: Position { epoch: 1, partition: 2, offset },
        key: Some("ann".to_owned()),
        value: Some(b"{}".to_vec()),
        headers: vec![("origin".to_owned(), "x".to_owned())],
        reason,
    };
    let messages = vec![message(8, KeptReason::Empty), message(9, KeptReason::Undecodable)];
    it.store.keep_messages(messages, NOW).await.unwrap();
    for limit in 1..=6 {
        let letters = all(limit, |page| it.store.dead_letter_list(DeadFilter::default(), page)).await;
        let ids: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
        let mut expected: Vec<String> = draws.iter().rev().map(|draw| draw.id.to_string()).collect();
        expected.extend(["m2".to_owned(), "m1".to_owned()]);
        assert_eq!(ids, expected, "in pages of {limit}");
    }
    let dead = it.store.dead_letter_list(DeadFilter::default(), whole()).await.unwrap().items;
    assert_eq!((dead[0].reason.as_str(), dead[0].in_doubt), ("unpublishable", Some(true)));
    assert_eq!(dead[0].detail.as_deref(), Some("too large"));
    assert_eq!((dead[3].reason.as_str(), dead[3].offset, dead[3].bytes), ("undecodable", Some(9), Some(2)));
    let of_kind = DeadFilter { kind: Some(Kind::Code), ..DeadFilter::default() };
    assert_eq!(it.store.dead_letter_list(of_kind, whole()).await.unwrap().items.len(), 1);
    assert_eq!(it.store.dead_letter_count(DeadFilter::default()).await.unwrap(), (3, 1));
    let other = DeadFilter { reason: Some(DeadReason::Poison), ..DeadFilter::default() };
    assert_eq!(it.store.dead_letter_count(other).await.unwrap(), (0, 0));
    let kept = it.store.kept_message_show(2).await.unwrap().unwrap();
    assert_eq!((kept.value.as_deref(), kept.partition, kept.key.as_deref()), (Some("{}"), 2, Some("ann")));
    assert_eq!(it.store.kept_message_show(9).await.unwrap(), None);
}

#[tokio::test]
async fn codes_are_counted_by_prize_and_import_and_none_is_shown() {
    let it = Fixture::fair().await;
    let award = it.win("ann", GIFT).await;
    it.deliver(award).await;
    let running = it.begin("fair", "gift").await;
    it.add(running, &["X-1", "X-2"]).await;
    let stats = it.store.code_stats("fair").await.unwrap().unwrap();
    let gift = &stats[0];
    assert_eq!((gift.total, gift.free, gift.given, gift.voided), (3, 2, 1, 0));
    let states: Vec<(&str, u64)> = gift.imports.iter().map(|it| (it.state.as_str(), it.total)).collect();
    assert_eq!(states, [("running", 2), ("ready", 3)]);
    assert!(!serde_json::to_string(&stats).unwrap().contains("GIFT-"));
    assert_eq!(it.store.code_stats("none").await.unwrap(), None);
}

#[tokio::test]
async fn user_sees_the_limit_that_is_nearest_and_when_there_is_more() {
    let it = Fixture::fair().await;
    it.draw("ann", &[NOTHING; 15]).await;
    let show = async |at| it.store.user_show("fair", "ann", at).await.unwrap().unwrap();
    let today = show(NOW).await;
    assert_eq!((today.left, today.limit.as_deref()), (Some(5), Some("per_user_per_day")));
    assert_eq!(today.resets_at, Timestamp::parse("2026-02-14T00:00:00Z"));
    assert_eq!((today.total, today.today), (15, 15));
    let tomorrow = NOW.plus(Duration::from_hours(24));
    assert_eq!((show(tomorrow).await.left, show(tomorrow).await.today), (Some(20), 0));
    it.draw_at("ann", &[NOTHING; 20], tomorrow).await;
    it.draw_at("ann", &[NOTHING; 14], tomorrow.plus(Duration::from_hours(24))).await;
    let later = show(tomorrow.plus(Duration::from_hours(48))).await;
    assert_eq!((later.left, later.limit.as_deref(), later.resets_at), (Some(1), Some("per_user_total"), None));
    it.shell().execute_batch("INSERT INTO blocked_user VALUES ('ann', 'a bot', 1)").unwrap();
    let blocked = show(NOW).await;
    assert_eq!((blocked.left, blocked.blocked_reason.as_deref()), (Some(0), Some("a bot")));
    assert_eq!(it.store.user_show("none", "ann", NOW).await.unwrap(), None);
}

#[tokio::test]
async fn operator_log_is_listed_by_time_by_client_and_by_award() {
    let it = Fixture::fair().await;
    let award = it.win("ann", PHONE).await;
    it.act(award, Action::Hold).await;
    let later = NOW.plus(Duration::from_secs(5));
    it.store.act(award, Action::Release, actor(), later).await.unwrap();
    let lines = async |filter: LogFilter| all(3, |page| it.store.log_list(filter.clone(), page)).await;
    let everything = lines(LogFilter::default()).await;
    assert_eq!(everything.len(), 8);
    assert_eq!((everything[0].action.as_str(), everything[0].by.as_str()), ("award release", "ada"));
    assert_eq!(everything[0].reason.as_deref(), Some("because"));
    assert_eq!(lines(LogFilter { award: Some(award), ..LogFilter::default() }).await.len(), 2);
    assert_eq!(lines(LogFilter { since: Some(later), ..LogFilter::default() }).await.len(), 1);
    assert_eq!(lines(LogFilter { by: Some("bob".to_owned()), ..LogFilter::default() }).await.len(), 0);
}

#[tokio::test]
async fn gauges_count_every_state_and_reason_from_zero() {
    let it = Fixture::fair().await;
    let empty = it.store.gauges().await.unwrap();
    assert_eq!(empty.awards.values().sum::<u64>(), 0);
    assert_eq!((empty.awards.len(), empty.held.len(), empty.dead.len()), (7, 8, 8));
    assert_eq!((empty.oldest_unpublished, empty.oldest_undelivered), (None, None));
    let draws = it.draw("ann", &[HELLO, GIFT, PHONE, COINS]).await;
    it.draw_at("bob", &[HELLO], NOW.plus(Duration::from_secs(7))).await;
    it.deliver(award_of(&draws[0])).await;
    it.deliver(award_of(&draws[2])).await;
    refuse(&it, award_of(&draws[1])).await;
    let at = Position { epoch: 1, partition: 0, offset: 1 };
    let taken = MarkOf { award: award_of(&draws[3]), lease: 1, mark: Mark::Taken(at), error: None };
    it.store.mark_published(vec![taken], NOW).await.unwrap();
    let gauges = it.store.gauges().await.unwrap();
    let awards: Vec<u64> = State::ALL.iter().map(|state| gauges.awards[state]).collect();
    assert_eq!(awards, [2, 0, 0, 1, 1, 1, 0]);
    assert_eq!((gauges.held[&HoldReason::Address], gauges.dead[&DeadReason::Unpublishable]), (1, 1));
    assert_eq!(gauges.oldest_unpublished, Some(NOW.plus(Duration::from_secs(7))));
    assert_eq!(gauges.oldest_undelivered, Some(NOW));
    let left: Vec<(&str, u64)> = gauges.stock_left.iter().map(|it| (it.prize.as_str(), it.left)).collect();
    assert_eq!(left, [("gift", 2), ("phone", 4)]);
}

#[tokio::test]
async fn endpoint_shows_what_waits_for_it() {
    let it = Fixture::fair().await;
    it.win("ann", HOOK).await;
    let shown = it.store.endpoint_show("keen").await.unwrap().unwrap();
    assert_eq!((shown.lane, shown.is_enabled, shown.secrets, shown.unfinished), (1, true, 1, 1));
    assert_eq!(shown.spec["idempotent"], true);
    assert_eq!(it.store.endpoint_show("none").await.unwrap(), None);
    assert_eq!(it.store.endpoints().await.unwrap()[0].secrets, ["whsec_secret"]);
}

#[tokio::test]
async fn page_is_bounded_whatever_is_asked() {
    let page = PageQuery { after: Some("rubbish".to_owned()), limit: Some(1_000_000) };
    assert_eq!(page.rows(), 501);
    assert_eq!(page.below(), i64::MAX);
    assert_eq!(PageQuery { limit: Some(0), ..page }.rows(), 2);
}
