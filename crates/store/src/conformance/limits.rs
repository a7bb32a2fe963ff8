//! How often users may draw, and when nobody may. A refusal changes nothing.

use super::draws::drawn;
use super::world::{Ask, PRIZE, TEXT, World, actor, days, ok, one_prize, secs};
use tombola_core::Timestamp;
use tombola_core::campaign::{Phase, Transition};
use tombola_core::draw::{DrawLimit, DrawRefusal};
use tombola_core::ports::{DrawAnswer, Transitioned};

async fn limited(w: &World, limits: &str) {
    let text = one_prize("fair", &format!("{TEXT}stock = 1000\n"));
    w.start("fair", &format!("{text}\n[limits]\n{limits}\n"))
        .await;
}

/// A request under a key of its own.
fn ask(w: &World, user: &str, count: usize) -> Ask {
    Ask::new(user, &format!("key-{:08}", w.fresh())).times(count)
}

fn exhausted(limit: DrawLimit, left: u64, resets_at: Option<Timestamp>) -> DrawAnswer {
    DrawAnswer::Refused(DrawRefusal::AllowanceExhausted {
        limit,
        left,
        resets_at,
    })
}

pub(super) async fn a_user_draws_no_more_than_in_all_allowed(w: &World) {
    limited(w, "per_user_total = 3").await;
    for _ in 0..3 {
        drawn(w.draw("fair", ask(w, "u1", 1)).await);
    }
    let refused = exhausted(DrawLimit::UserTotal, 0, None);
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
    w.advance(days(40));
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
    drawn(w.draw("fair", ask(w, "u2", 1)).await);
}

pub(super) async fn an_allowance_is_counted_within_a_batch(w: &World) {
    limited(w, "per_user_total = 2").await;
    let asks = vec![
        ask(w, "u1", 1),
        ask(w, "u2", 2),
        ask(w, "u1", 1),
        ask(w, "u1", 1),
    ];
    let answers = w.draw_all("fair", asks).await;
    assert!(
        matches!(answers[2], DrawAnswer::Drawn { .. }),
        "{answers:?}"
    );
    assert_eq!(answers[3], exhausted(DrawLimit::UserTotal, 0, None));
    assert_eq!(w.stock_left("fair", PRIZE).await, 1000 - 4);
}

pub(super) async fn a_request_for_many_is_all_or_none(w: &World) {
    limited(w, "per_user_total = 12").await;
    assert_eq!(drawn(w.draw("fair", ask(w, "u1", 10)).await).len(), 10);
    let refused = exhausted(DrawLimit::UserTotal, 2, None);
    assert_eq!(w.draw("fair", ask(w, "u1", 10)).await, refused);
    assert_eq!(w.stock_left("fair", PRIZE).await, 990);
    assert_eq!(
        drawn(w.draw("fair", ask(w, "u1", 2)).await).len(),
        2,
        "the refusal used up nothing"
    );
}

pub(super) async fn the_day_begins_at_midnight_of_the_campaigns_zone(w: &World) {
    let text =
        one_prize("fair", TEXT).replace("[[prize]]", "time_zone = \"Asia/Shanghai\"\n[[prize]]");
    w.start("fair", &format!("{text}\n[limits]\nper_user_per_day = 2\n"))
        .await;
    let at = |text| Timestamp::parse(text).unwrap_or_default();
    let midnight = at("2026-02-13T16:00:00Z");
    w.move_to(at("2026-02-13T15:59:59Z"));
    drawn(w.draw("fair", ask(w, "u1", 2)).await);
    let refused = exhausted(DrawLimit::UserPerDay, 0, Some(midnight));
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
    w.move_to(midnight);
    drawn(w.draw("fair", ask(w, "u1", 1)).await);
    w.move_to(at("2026-02-14T00:00:01Z"));
    drawn(w.draw("fair", ask(w, "u1", 1)).await);
    let refused = exhausted(DrawLimit::UserPerDay, 0, Some(at("2026-02-14T16:00:00Z")));
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
}

pub(super) async fn a_clock_that_goes_back_over_midnight_gives_no_day_again(w: &World) {
    limited(w, "per_user_per_day = 2").await;
    let today = w.now();
    drawn(w.draw("fair", ask(w, "u1", 2)).await);
    // Somebody draws on the next day; then the clock goes back.
    w.advance(days(1));
    drawn(w.draw("fair", ask(w, "u2", 1)).await);
    w.move_to(today);
    drawn(w.draw("fair", ask(w, "u1", 2)).await);
    let answer = w.draw("fair", ask(w, "u1", 1)).await;
    assert!(
        matches!(
            answer,
            DrawAnswer::Refused(DrawRefusal::AllowanceExhausted { left: 0, .. })
        ),
        "the later day's allowance is used up: {answer:?}"
    );
    w.advance(days(1));
    let answer = w.draw("fair", ask(w, "u1", 1)).await;
    assert!(
        matches!(answer, DrawAnswer::Refused(_)),
        "and is not given again when that day comes: {answer:?}"
    );
}

pub(super) async fn the_limit_in_all_outlives_the_day(w: &World) {
    limited(w, "per_user_total = 3\nper_user_per_day = 2").await;
    drawn(w.draw("fair", ask(w, "u1", 2)).await);
    w.advance(days(1));
    drawn(w.draw("fair", ask(w, "u1", 1)).await);
    let refused = exhausted(DrawLimit::UserTotal, 0, None);
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
}

pub(super) async fn a_campaign_gives_no_more_draws_than_in_all_allowed(w: &World) {
    limited(w, "campaign_total = 3").await;
    let asks = vec![
        ask(w, "u1", 2),
        ask(w, "u2", 2),
        ask(w, "u3", 1),
        ask(w, "u4", 1),
    ];
    let answers = w.draw_all("fair", asks).await;
    assert_eq!(answers[1], exhausted(DrawLimit::CampaignTotal, 1, None));
    assert!(matches!(answers[2], DrawAnswer::Drawn { .. }));
    assert_eq!(answers[3], exhausted(DrawLimit::CampaignTotal, 0, None));
    assert_eq!(w.draw("fair", ask(w, "u5", 1)).await, answers[3]);
}

pub(super) async fn what_was_drawn_counts_in_the_next_version_too(w: &World) {
    limited(w, "per_user_total = 3").await;
    drawn(w.draw("fair", ask(w, "u1", 2)).await);
    w.move_campaign("fair", Transition::Pause).await;
    let text = one_prize("fair", &format!("{TEXT}stock = 1000\n"));
    w.start("fair", &format!("{text}\n[limits]\nper_user_total = 2\n"))
        .await;
    let refused = exhausted(DrawLimit::UserTotal, 0, None);
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
    assert_eq!(w.stock_left("fair", PRIZE).await, 998);
}

pub(super) async fn a_blocked_user_draws_nothing(w: &World) {
    limited(w, "").await;
    ok(w.store().block_user("u1", actor(), w.now()).await);
    let refused = DrawAnswer::Refused(DrawRefusal::UserBlocked);
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
    drawn(w.draw("fair", ask(w, "u2", 1)).await);
    assert_eq!(w.stock_left("fair", PRIZE).await, 999);
}

async fn is_not_running(w: &World, phase: Phase) {
    let refused = DrawAnswer::Refused(DrawRefusal::NotRunning { phase });
    assert_eq!(w.draw("fair", ask(w, "u1", 1)).await, refused);
    assert_eq!(w.stock_left("fair", PRIZE).await, 10);
}

pub(super) async fn users_draw_only_while_a_campaign_is_running(w: &World) {
    use Transition as T;
    w.put(&one_prize("fair", &format!("{TEXT}stock = 10\n")))
        .await;
    is_not_running(w, Phase::Draft).await;
    let steps = [
        (T::Submit, Phase::Submitted),
        (T::Refuse, Phase::Refused),
        (T::Edit, Phase::Draft),
        (T::Submit, Phase::Submitted),
        (T::Approve, Phase::Approved),
    ];
    for (command, phase) in steps {
        let moved = w.move_campaign("fair", command).await;
        assert!(
            matches!(moved, Transitioned::Moved { .. }),
            "{command}: {moved:?}"
        );
        is_not_running(w, phase).await;
    }
    w.move_campaign("fair", T::Start).await;
    w.move_campaign("fair", T::Pause).await;
    is_not_running(w, Phase::Paused).await;
    w.move_campaign("fair", T::Close).await;
    is_not_running(w, Phase::Closed).await;
}

pub(super) async fn users_draw_only_within_the_period(w: &World) {
    let period =
        "starts_at = \"2026-02-14T00:00:00\"\nends_at = \"2026-02-15T00:00:00\"\n[[prize]]";
    let text = one_prize("fair", &format!("{TEXT}stock = 10\n")).replace("[[prize]]", period);
    w.start("fair", &text).await;
    let at = |text| Timestamp::parse(text).unwrap_or_default();
    let (starts_at, ends_at) = (at("2026-02-14T00:00:00Z"), at("2026-02-15T00:00:00Z"));
    is_not_running(w, Phase::Scheduled).await;
    w.move_to(starts_at.minus(std::time::Duration::from_micros(1)));
    is_not_running(w, Phase::Scheduled).await;
    w.move_to(ends_at);
    is_not_running(w, Phase::Ended).await;
    w.move_to(starts_at);
    drawn(w.draw("fair", ask(w, "u1", 1)).await);
    w.move_to(ends_at.minus(secs(1)));
    drawn(w.draw("fair", ask(w, "u1", 1)).await);
}

pub(super) async fn a_refusal_changes_nothing(w: &World) {
    limited(w, "per_user_total = 2\ncampaign_total = 4").await;
    for _ in 0..3 {
        let refused = w.draw("fair", ask(w, "u1", 3)).await;
        assert_eq!(refused, exhausted(DrawLimit::UserTotal, 2, None));
    }
    assert_eq!(w.stock_left("fair", PRIZE).await, 1000);
    drawn(w.draw("fair", ask(w, "u1", 2)).await);
    drawn(w.draw("fair", ask(w, "u2", 2)).await);
}
