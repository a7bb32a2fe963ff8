//! Odds, weights and what happens to those of a prize that is gone.

use crate::{edited, refused, shown};

refused! {
    prize_with_odds_and_weight_is_refused:
    [("odds = \"0.01%\"", "odds = \"0.01%\"\nweight = 1")] => r"fair.toml:18:10: a prize has `odds` or `weight`, not both
  hint: remove one of them
";

    prize_without_odds_is_refused:
    [("odds = \"0.01%\"\n", "")] => r#"fair.toml:13:1: the prize has no odds
  hint: add `odds = "1%"`, or `weight` on every prize
"#;

    odds_and_weights_mixed_among_prizes_are_refused:
    [("odds = \"60%\"", "weight = 60")] => r"fair.toml:24:10: this prize has `weight`, those before it have `odds`
  hint: write `odds` on every prize
";

    nothing_weight_beside_odds_is_refused:
    [
        ("fallback = \"thanks\"", "fallback = \"thanks\"\nnothing_weight = 5"),
    ] => r"fair.toml:12:18: `nothing_weight` belongs to prizes with `weight`
  hint: remove it: what is left to 100% is nothing
";

    odds_without_a_percent_sign_are_refused_with_the_mend:
    [("\"60%\"", "\"60\"")] => r#"fair.toml:24:8: `odds` is "60": odds end in a percent sign
  hint: write "60%"
"#;

    odds_with_a_comma_are_refused_with_the_mend:
    [("\"60%\"", "\"60,5 %\"")] => r#"fair.toml:24:8: `odds` is "60,5 %": odds are digits, at most one decimal point and a percent sign
  hint: write "60.5%"
"#;

    odds_finer_than_7_decimals_are_refused:
    [("0.01%", "0.00000001%")] => r#"fair.toml:17:8: `odds` is "0.00000001%": odds have at most 7 decimals of a percent
  hint: round it, or use `weight` on every prize for finer odds
"#;

    odds_above_100_percent_are_refused:
    [("\"60%\"", "\"160%\"")] => r#"fair.toml:24:8: `odds` is "160%": odds are at most 100%
  hint: 100% is every draw
"#;

    odds_that_add_up_to_more_than_100_percent_say_by_how_much:
    [("0.01%", "40.5%")] => r"fair.toml:24:8: the odds of all prizes add up to 100.5%
  hint: lower them by 0.5% in all
";

    weight_below_zero_is_refused:
    [("odds = \"0.01%\"", "weight = -1"), ("odds = \"60%\"", "weight = 5")] => r"fair.toml:17:10: `weight` is -1, and has to be 0 to 1099511627775
  hint: write a whole number in that range
";

    weights_that_are_all_zero_are_refused:
    [("odds = \"0.01%\"", "weight = 0"), ("odds = \"60%\"", "weight = 0")] => r"fair.toml:17:10: all weights are 0
  hint: give at least one prize a weight above 0
";

    weights_that_add_up_to_2_to_the_40_are_refused:
    [
        ("odds = \"0.01%\"", "weight = 1099511627775"),
        ("odds = \"60%\"", "weight = 1"),
    ] => r"fair.toml:17:10: the weights add up to 1099511627776, and have to stay below 1099511627776
  hint: divide all of them by a common number
";

    unknown_on_unavailable_names_the_nearest:
    [("\"fallback\"", "\"falback\"")] => r#"fair.toml:10:18: `on_unavailable` cannot be "falback"
  hint: did you mean "fallback"?
"#;

    fallback_without_its_rule_is_refused:
    [("on_unavailable = \"fallback\"\n", "")] => r#"fair.toml:10:12: `fallback` names a prize that is never used
  hint: write `on_unavailable = "fallback"`, or remove `fallback`
"#;

    fallback_rule_without_a_prize_is_refused:
    [("fallback = \"thanks\"\n", "")] => r#"fair.toml:9:1: `on_unavailable = "fallback"` names no prize
  hint: add `fallback = "…"` with the slug of an unlimited prize
"#;

    fallback_that_does_not_exist_names_the_nearest:
    [("fallback = \"thanks\"", "fallback = \"thank\"")] => r#"fair.toml:11:12: no prize has the slug "thank"
  hint: did you mean "thanks"?
"#;

    fallback_that_can_run_out_is_refused_for_each_bound:
    [("points = 10", "points = 10\nstock = 5\nper_user_wins = 1")] => r#"fair.toml:26:9: the fallback "thanks" can run out: it has `stock`
  hint: remove `stock`, or name an unlimited prize as the fallback
fair.toml:27:17: the fallback "thanks" can run out: it has `per_user_wins`
  hint: remove `per_user_wins`, or name an unlimited prize as the fallback
"#;
}
