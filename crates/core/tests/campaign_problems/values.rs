//! Names, zones, times and limits.

use crate::{edited, refused, shown};

refused! {
    slug_with_other_characters_is_refused_with_a_slug:
    [("slug = \"fair\"", "slug = \"Autumn Fair!\"")] => r#"fair.toml:2:8: `slug` is "Autumn Fair!", which is not [a-z0-9-]{1,40}
  hint: for example "autumn-fair"
"#;

    slug_that_is_missing_is_refused:
    [("slug = \"phone\"\n", "")] => r#"fair.toml:13:1: `slug` is missing or empty
  hint: write `slug = "…"`, lower-case letters, digits and hyphens
"#;

    slug_over_40_bytes_is_refused:
    [("slug = \"fair\"", &format!("slug = {:?}", "a".repeat(41)))] => r#"fair.toml:2:8: `slug` is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", which is not [a-z0-9-]{1,40}
  hint: for example "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
"#;

    slug_given_twice_is_refused:
    [
        ("on_unavailable = \"fallback\"\nfallback = \"thanks\"\n", ""),
        ("slug = \"phone\"", "slug = \"thanks\""),
    ] => r#"fair.toml:19:8: prize 1 has the slug "thanks" already
  hint: give each prize a slug of its own
"#;

    name_that_is_missing_is_refused:
    [("name = \"Fair\"\n", "")] => r#"fair.toml:1:1: `name` is missing or empty
  hint: write `name = "…"`, shown to people
"#;

    name_over_256_bytes_is_refused:
    [("A phone", &"a".repeat(257))] => r"fair.toml:15:8: `name` holds 257 bytes, more than 256
  hint: write a shorter one
";

    name_with_a_control_character_is_refused:
    [("A phone", "A\\u0000phone")] => r"fair.toml:15:8: `name` has the control character U+0000
  hint: remove it: names are one line
";

    unknown_zone_names_the_nearest:
    [("Europe/Paris", "Europe/Pairs")] => r#"fair.toml:4:13: no time zone is called "Europe/Pairs"
  hint: did you mean "Europe/Paris"?
"#;

    unknown_zone_without_a_neighbour_shows_the_form:
    [("Europe/Paris", "Mars/Olympus Mons crater")] => r#"fair.toml:4:13: no time zone is called "Mars/Olympus Mons crater"
  hint: write an IANA name as "Asia/Shanghai", or "UTC"
"#;

    time_with_an_offset_is_refused_with_the_local_time:
    [("time_zone", "starts_at = \"2026-02-10T00:00:00Z\"\ntime_zone")] => r#"fair.toml:4:13: `starts_at` is "2026-02-10T00:00:00Z", which is not a local time
  hint: write the time in the campaign's zone: "2026-02-10T01:00:00"
"#;

    time_that_is_none_is_refused:
    [("time_zone", "starts_at = \"tomorrow\"\ntime_zone")] => r#"fair.toml:4:13: `starts_at` is "tomorrow", which is not a local time
  hint: write it like "2026-02-10T00:00:00"
"#;

    date_without_a_time_is_refused:
    [("time_zone", "starts_at = \"2026-02-10\"\ntime_zone")] => r#"fair.toml:4:13: `starts_at` is "2026-02-10", which is not a local time
  hint: write it like "2026-02-10T00:00:00"
"#;

    day_that_does_not_exist_is_refused:
    [("time_zone", "starts_at = \"2026-02-30T00:00:00\"\ntime_zone")] => r#"fair.toml:4:13: `starts_at` is "2026-02-30T00:00:00", which is not a local time
  hint: write it like "2026-02-10T00:00:00"
"#;

    time_in_a_gap_is_refused:
    [("time_zone", "starts_at = \"2026-03-29T02:30:00\"\ntime_zone")] => r#"fair.toml:4:13: 2026-03-29T02:30:00 does not exist: clocks skip it in Europe/Paris that day
  hint: choose another time, for example "2026-03-29T03:00:00"
"#;

    time_in_a_fold_is_refused:
    [("time_zone", "ends_at = \"2026-10-25T02:30:00\"\ntime_zone")] => r#"fair.toml:4:11: 2026-10-25T02:30:00 happens twice: clocks repeat it in Europe/Paris that day
  hint: choose another time, for example "2026-10-25T03:00:00"
"#;

    end_that_is_not_after_the_start_is_refused:
    [
        ("time_zone", "starts_at = 2026-02-10T00:00:00\nends_at = \"2026-02-10T00:00:00\"\ntime_zone"),
    ] => r"fair.toml:5:11: `ends_at` is not after `starts_at`
  hint: make `ends_at` later than 2026-02-10T00:00:00, or remove it
";

    limit_of_zero_is_refused:
    [("per_user_total = 30", "per_user_total = 0")] => r"fair.toml:7:18: `per_user_total` is 0, and has to be 1 to 1099511627776
  hint: write another number, or remove `per_user_total`: absent is unlimited
";

    limit_over_2_to_the_40_is_refused:
    [("per_user_total = 30", "campaign_total = 1099511627777")] => r"fair.toml:7:18: `campaign_total` is 1099511627777, and has to be 1 to 1099511627776
  hint: write another number, or remove `campaign_total`: absent is unlimited
";

    negative_stock_is_refused:
    [("stock = 3", "stock = -1")] => r"fair.toml:18:9: `stock` is -1, and has to be 0 to 1099511627776
  hint: write another number, or remove `stock`: absent is unlimited
";

    daily_cap_of_zero_is_refused:
    [("stock = 3", "daily_cap = 0")] => r"fair.toml:18:13: `daily_cap` is 0, and has to be 1 to 1099511627776
  hint: write another number, or remove `daily_cap`: absent is unlimited
";

    campaign_without_prizes_is_refused:
    [
        ("[[prize]]\nslug = \"phone\"\nname = \"A phone\"\nkind = \"physical\"\nodds = \"0.01%\"\nstock = 3\n\n[[prize]]\nslug = \"thanks\"\nname = \"10 points\"\nkind = \"points\"\nodds = \"60%\"\npoints = 10\n", ""),
        ("on_unavailable = \"fallback\"\nfallback = \"thanks\"\n", ""),
    ] => r"fair.toml:1:1: the campaign has no prize
  hint: add a `[[prize]]`
";
}
