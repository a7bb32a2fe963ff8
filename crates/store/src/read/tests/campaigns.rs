//! Aim: a campaign shows its phase, its odds and what became of each prize, and a
//! user what is left to draw.

use super::super::fixture::{
    FAIR, Fixture, GIFT, HELLO, NOTHING, NOW, On, PHONE, TOUR, award_of, on_each_database,
};
use super::{refuse, whole};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::campaign::{CampaignState, Phase, Transition};

on_each_database! {
    async campaign_shows_its_phase_at_the_instant_asked;
    async campaign_shows_what_became_of_each_prize;
    async prize_that_is_in_no_file_any_more_is_still_counted;
    async export_is_the_newest_file_or_the_version_asked_for;
    async user_sees_the_limit_that_is_nearest_and_when_there_is_more;
}

async fn campaign_shows_its_phase_at_the_instant_asked(on: On) {
    let it = Fixture::empty(on).await;
    let period =
        "name = \"Fair\"\nstarts_at = \"2026-03-01T00:00:00\"\nends_at = \"2026-03-02T00:00:00\"";
    let only = FAIR
        .split("[[prize]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[prize]]");
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
}

async fn campaign_shows_what_became_of_each_prize(on: On) {
    let it = Fixture::fair_on(on).await;
    let draws = it
        .draw("ann", &[HELLO, GIFT, GIFT, PHONE, NOTHING, GIFT])
        .await;
    it.deliver(award_of(&draws[0])).await;
    it.deliver(award_of(&draws[1])).await;
    it.deliver(award_of(&draws[3])).await;
    refuse(&it, award_of(&draws[2])).await;
    let shown = it.store.campaign_show("fair", NOW).await.unwrap().unwrap();
    assert_eq!(
        (shown.fact.draws, shown.fact.state),
        (6, CampaignState::Started)
    );
    let slugs: Vec<&str> = shown
        .prizes
        .iter()
        .map(|prize| prize.prize.as_str())
        .collect();
    assert_eq!(slugs, ["hello", "gift", "coins", "hook", "phone", "tour"]);
    let gift = &shown.prizes[1];
    assert_eq!(
        (gift.stock, gift.spent, gift.left, gift.today),
        (Some(3), 3, Some(0), 3)
    );
    assert_eq!(
        (gift.won, gift.delivered, gift.unfinished, gift.dead),
        (3, 1, 1, 1)
    );
    assert_eq!(
        (gift.odds.as_deref(), gift.effective.as_deref()),
        (Some("10%"), Some("0%"))
    );
    assert_eq!(
        (
            shown.nothing_odds.as_str(),
            shown.nothing_effective.as_str()
        ),
        ("40%", "50%")
    );
    assert_eq!((shown.prizes[4].held, shown.prizes[4].unfinished), (1, 1));
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["campaign"], "fair");
    assert_eq!(json["prizes"][0]["name"], "A greeting");
}

async fn prize_that_is_in_no_file_any_more_is_still_counted(on: On) {
    let it = Fixture::fair_on(on).await;
    it.win("ann", TOUR).await;
    it.go("fair", Transition::Pause).await;
    let (without, _) = FAIR.split_at(FAIR.find("[[prize]]\nslug = \"tour\"").unwrap());
    it.put(without).await;
    it.start("fair").await;
    let shown = it.store.campaign_show("fair", NOW).await.unwrap().unwrap();
    let tour = shown.prizes.last().unwrap();
    assert_eq!(
        (tour.prize.as_str(), tour.odds.as_deref(), tour.won),
        ("tour", None, 1)
    );
}

async fn export_is_the_newest_file_or_the_version_asked_for(on: On) {
    let it = Fixture::fair_on(on).await;
    it.put(&FAIR.replace("stock = 5", "stock = 9")).await;
    let stock = async |version| {
        let file = it.store.campaign_export("fair", version).await.unwrap();
        file.map(|file| file.prize[4].stock)
    };
    assert_eq!(
        (
            stock(None).await,
            stock(Some(1)).await,
            stock(Some(7)).await
        ),
        (Some(Some(9)), Some(Some(5)), None)
    );
}

async fn user_sees_the_limit_that_is_nearest_and_when_there_is_more(on: On) {
    let it = Fixture::fair_on(on).await;
    it.draw("ann", &[NOTHING; 15]).await;
    let show = async |at| {
        it.store
            .user_show("fair", "ann", at)
            .await
            .unwrap()
            .unwrap()
    };
    let today = show(NOW).await;
    assert_eq!(
        (today.left, today.limit.as_deref()),
        (Some(5), Some("per_user_per_day"))
    );
    assert_eq!(today.resets_at, Timestamp::parse("2026-02-14T00:00:00Z"));
    assert_eq!((today.total, today.today), (15, 15));
    let tomorrow = NOW.plus(Duration::from_hours(24));
    assert_eq!(
        (show(tomorrow).await.left, show(tomorrow).await.today),
        (Some(20), 0)
    );
    it.draw_at("ann", &[NOTHING; 20], tomorrow).await;
    it.draw_at(
        "ann",
        &[NOTHING; 14],
        tomorrow.plus(Duration::from_hours(24)),
    )
    .await;
    let later = show(tomorrow.plus(Duration::from_hours(48))).await;
    assert_eq!(
        (later.left, later.limit.as_deref(), later.resets_at),
        (Some(1), Some("per_user_total"), None)
    );
    it.by_shell(|conn| {
        conn.execute_batch("INSERT INTO blocked_user VALUES ('ann', 'a bot', 1)")
            .unwrap()
    });
    let blocked = show(NOW).await;
    assert_eq!(
        (blocked.left, blocked.blocked_reason.as_deref()),
        (Some(0), Some("a bot"))
    );
}
