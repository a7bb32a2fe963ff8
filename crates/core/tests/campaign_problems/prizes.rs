//! What each kind of prize carries.

use crate::{edited, refused, shown};

refused! {
    unknown_kind_names_the_nearest:
    [("\"physical\"", "\"phisical\"")] => r#"fair.toml:16:8: no kind is called "phisical"
  hint: did you mean "physical"?
"#;

    kind_that_is_missing_is_refused:
    [("kind = \"physical\"\n", "")] => r"fair.toml:13:1: `kind` is missing or empty
  hint: write one of text, code, points, webhook, physical, external
";

    key_of_another_kind_is_refused:
    [("stock = 3", "points = 3")] => r"fair.toml:18:10: `points` belongs to kind points
  hint: remove `points`: this prize is of kind physical
";

    key_of_two_other_kinds_names_both:
    [("stock = 3", "content = \"x\"")] => r"fair.toml:18:11: `content` belongs to kind webhook and kind external
  hint: remove `content`: this prize is of kind physical
";

    points_kind_needs_points:
    [("points = 10\n", "")] => r"fair.toml:20:1: a prize of kind points needs `points`
  hint: add `points = 10`
";

    text_kind_needs_text:
    [("kind = \"physical\"", "kind = \"text\"")] => r#"fair.toml:13:1: a prize of kind text needs `text`
  hint: add `text = "…"`
"#;

    webhook_kind_needs_an_endpoint:
    [("kind = \"physical\"", "kind = \"webhook\"")] => r#"fair.toml:13:1: a prize of kind webhook needs `endpoint`
  hint: add `endpoint = "…"`
"#;

    endpoint_is_a_slug:
    [
        ("kind = \"physical\"", "kind = \"webhook\"\nendpoint = \"Coupon Service\""),
    ] => r#"fair.toml:17:12: `endpoint` is "Coupon Service", which is not [a-z0-9-]{1,40}
  hint: for example "coupon-service"
"#;

    points_of_zero_are_refused:
    [("points = 10", "points = 0")] => r"fair.toml:25:10: `points` is 0, and has to be 1 to 1000000000
  hint: write another number
";

    points_over_a_billion_are_refused:
    [("points = 10", "points = 1000000001")] => r"fair.toml:25:10: `points` is 1000000001, and has to be 1 to 1000000000
  hint: write another number
";

    empty_text_is_refused:
    [("kind = \"physical\"", "kind = \"text\"\ntext = \"\"")] => r"fair.toml:17:8: `text` holds 0 bytes, and has to hold 1 to 4096
  hint: write it or remove the key
";

    text_with_a_nul_byte_is_refused:
    [("kind = \"physical\"", "kind = \"text\"\ntext = \"a\\u0000b\"")] => r"fair.toml:17:8: `text` has a NUL byte
  hint: remove it
";

    codes_in_another_directory_are_refused:
    [("kind = \"physical\"", "kind = \"code\"\ncodes = \"../codes.csv\"")] => r#"fair.toml:17:9: `codes` is "../codes.csv", which is not a plain file name
  hint: put the code file beside the campaign file
"#;

    duration_without_a_unit_is_refused:
    [("stock = 3", "claim_within = \"14\"")] => r#"fair.toml:18:16: `claim_within` is "14", which is not a duration
  hint: write a whole number and d, h, m or s, as "14d"
"#;

    duration_of_nothing_is_refused:
    [("stock = 3", "claim_within = \"0s\"")] => r#"fair.toml:18:16: `claim_within` is "0s", and has to be 1s to 400d
  hint: for example "14d"
"#;

    duration_over_400_days_is_refused:
    [("stock = 3", "ship_within = \"401d\"")] => r#"fair.toml:18:15: `ship_within` is "401d", and has to be 1s to 400d
  hint: for example "30d"
"#;

    release_that_is_no_time_is_refused:
    [("stock = 3", "release = \"imediate\"")] => r#"fair.toml:18:11: `release` cannot be "imediate"
  hint: did you mean "immediate"?
"#;

    release_in_a_gap_is_refused:
    [("stock = 3", "release = \"2026-03-29T02:00:00\"")] => r#"fair.toml:18:11: 2026-03-29T02:00:00 does not exist: clocks skip it in Europe/Paris that day
  hint: choose another time, for example "2026-03-29T03:00:00"
"#;

    award_id_with_a_space_is_refused:
    [("stock = 3", "award_id = \"a b\"")] => r#"fair.toml:18:12: `award_id` is "a b", and has to be 1 to 64 visible ASCII characters
  hint: write a shorter id without spaces, or remove it
"#;

    award_type_of_zero_is_refused:
    [("stock = 3", "award_type = 0")] => r"fair.toml:18:14: `award_type` is 0, and has to be 1 to 2147483647
  hint: write a positive number, or remove it
";
}
