//! Stock, daily caps and wins of one user: never exceeded, and what a roll gives
//! that fell on a prize which cannot be given.

use super::draws::drawn;
use super::world::{Ask, TEXT, World, actor, days, ok, roll_at};
use tombola_core::campaign::odds::Roll;
use tombola_core::ports::StockChanged;

/// Three prizes with equal chances; `lines` belong to the first, "a".
async fn three(w: &World, odds: &str, lines: &str) {
    let prize = |slug: &str, lines: &str| {
        format!("[[prize]]\nslug = \"{slug}\"\nname = \"It\"\nweight = 1\n{TEXT}{lines}\n")
    };
    let text = format!(
        "[campaign]\nslug = \"fair\"\nname = \"Fair\"\n[odds]\nnothing_weight = 1\n{odds}\n{}{}{}",
        prize("a", lines),
        prize("b", ""),
        prize("c", ""),
    );
    w.start("fair", &text).await;
}

const FALLBACK: &str = "on_unavailable = \"fallback\"\nfallback = \"c\"";
const SPREAD: &str = "on_unavailable = \"spread\"";

/// What one user's draws in one request give, by position of four.
async fn draw(w: &World, user: &str, positions: &[u64]) -> Vec<String> {
    let rolls: Vec<Roll> = positions.iter().map(|at| roll_at(*at, 4)).collect();
    let ask = Ask::new(user, &format!("key-{:08}", w.fresh())).rolls(&rolls);
    let draws = drawn(w.draw("fair", ask).await);
    draws
        .iter()
        .map(|draw| draw.prize.as_deref().unwrap_or("-").to_owned())
        .collect()
}

pub(super) async fn each_roll_gives_the_prize_of_its_range(w: &World) {
    three(w, "", "").await;
    assert_eq!(
        draw(w, "u1", &[0, 1, 2, 3, 0]).await,
        ["a", "b", "c", "-", "a"]
    );
}

pub(super) async fn stock_is_never_oversold_within_one_request(w: &World) {
    three(w, "", "stock = 2").await;
    assert_eq!(draw(w, "u1", &[0, 0, 0, 1]).await, ["a", "a", "-", "b"]);
    assert_eq!(w.stock_left("fair", "a").await, 0);
}

pub(super) async fn the_last_unit_goes_to_the_first_in_the_batch(w: &World) {
    three(w, "", "stock = 1").await;
    let ask = |user: &str| Ask::new(user, &format!("key-{user}")).rolls(&[roll_at(0, 4)]);
    let asks = ["user-1", "user-2", "user-3"].map(ask).to_vec();
    let answers = w.draw_all("fair", asks).await;
    let prizes: Vec<bool> = answers
        .into_iter()
        .map(|it| drawn(it)[0].prize.is_some())
        .collect();
    assert_eq!(prizes, [true, false, false]);
}

pub(super) async fn stock_is_never_oversold_over_batches(w: &World) {
    three(w, "", "stock = 2").await;
    let mut won = Vec::new();
    for user in ["u1", "u2", "u3", "u4"] {
        won.extend(draw(w, user, &[0]).await);
    }
    assert_eq!(won, ["a", "a", "-", "-"]);
    assert_eq!(w.stock_left("fair", "a").await, 0);
}

pub(super) async fn a_stock_of_nothing_gives_nothing(w: &World) {
    three(w, "", "stock = 0").await;
    assert_eq!(draw(w, "u1", &[0, 1]).await, ["-", "b"]);
}

pub(super) async fn what_cannot_be_given_gives_the_fallback(w: &World) {
    three(w, FALLBACK, "stock = 1").await;
    assert_eq!(draw(w, "u1", &[0, 0, 1, 3]).await, ["a", "c", "b", "-"]);
}

pub(super) async fn what_cannot_be_given_is_spread_over_the_others(w: &World) {
    three(w, SPREAD, "stock = 1").await;
    assert_eq!(draw(w, "u1", &[0, 0, 2, 3]).await, ["a", "b", "c", "-"]);
}

pub(super) async fn a_daily_cap_ends_with_the_day(w: &World) {
    for (n, odds, instead) in [(0, "", "-"), (1, FALLBACK, "c"), (2, SPREAD, "b")] {
        if n > 0 {
            w.move_campaign("fair", tombola_core::campaign::Transition::Pause)
                .await;
        }
        three(w, odds, "daily_cap = 1").await;
        w.advance(days(1));
        assert_eq!(draw(w, "u1", &[0, 0]).await, ["a", instead], "{odds}");
        assert_eq!(draw(w, "u2", &[0]).await, [instead], "{odds}");
        w.advance(days(1));
        assert_eq!(draw(w, "u2", &[0]).await, ["a"], "{odds}");
    }
}

pub(super) async fn one_user_wins_a_prize_no_more_often_than_allowed(w: &World) {
    for (n, odds, instead) in [(0, "", "-"), (1, FALLBACK, "c"), (2, SPREAD, "b")] {
        if n > 0 {
            w.move_campaign("fair", tombola_core::campaign::Transition::Pause)
                .await;
        }
        three(w, odds, "per_user_wins = 2").await;
        let users = [format!("u{n}"), format!("v{n}")];
        assert_eq!(
            draw(w, &users[0], &[0, 0, 0]).await,
            ["a", "a", instead],
            "{odds}"
        );
        w.advance(days(40));
        assert_eq!(draw(w, &users[0], &[0]).await, [instead], "{odds}");
        assert_eq!(draw(w, &users[1], &[0]).await, ["a"], "{odds}");
    }
}

pub(super) async fn stock_and_daily_cap_hold_together(w: &World) {
    three(w, "", "stock = 3\ndaily_cap = 2").await;
    assert_eq!(draw(w, "u1", &[0, 0, 0]).await, ["a", "a", "-"]);
    w.advance(days(1));
    assert_eq!(draw(w, "u1", &[0, 0]).await, ["a", "-"]);
    w.advance(days(1));
    assert_eq!(draw(w, "u1", &[0]).await, ["-"]);
}

async fn change(w: &World, prize: &str, by_units: i64) -> StockChanged {
    ok(w.store()
        .change_stock("fair", prize, by_units, actor(), w.now())
        .await)
}

pub(super) async fn stock_that_is_added_can_be_won_at_once(w: &World) {
    three(w, "", "stock = 1").await;
    assert_eq!(draw(w, "u1", &[0, 0]).await, ["a", "-"]);
    assert_eq!(
        change(w, "a", 2).await,
        StockChanged::Changed { stock: 3, left: 2 }
    );
    assert_eq!(draw(w, "u1", &[0, 0, 0]).await, ["a", "a", "-"]);
}

pub(super) async fn no_more_stock_is_withdrawn_than_is_left(w: &World) {
    three(w, "", "stock = 3").await;
    draw(w, "u1", &[0]).await;
    assert_eq!(
        change(w, "a", -3).await,
        StockChanged::NotEnough { left: 2 }
    );
    assert_eq!(
        change(w, "a", -2).await,
        StockChanged::Changed { stock: 1, left: 0 }
    );
    assert_eq!(draw(w, "u1", &[0]).await, ["-"]);
}

pub(super) async fn unlimited_stock_cannot_be_changed(w: &World) {
    three(w, "", "stock = 3").await;
    assert_eq!(change(w, "b", 1).await, StockChanged::Unlimited);
    assert_eq!(change(w, "none", 1).await, StockChanged::NotFound);
    let other = w
        .store()
        .change_stock("none", "a", 1, actor(), w.now())
        .await;
    assert_eq!(ok(other), StockChanged::NotFound);
}

pub(super) async fn a_change_of_stock_is_in_the_operator_log(w: &World) {
    three(w, "", "stock = 3").await;
    let lines = w.bench().operator_lines().await;
    change(w, "a", 2).await;
    assert_eq!(w.bench().operator_lines().await, lines + 1);
    change(w, "a", -100).await;
    assert_eq!(w.bench().operator_lines().await, lines + 1);
}
