//! Syntax, keys and types.

use crate::{edited, refused, shown};

refused! {
    syntax_error_is_placed:
    [("name = \"Fair\"", "name = \"Fair")] => r#"fair.toml:3:13: not TOML: invalid basic string, expected `"`
  hint: mend this line: texts stand in double quotes, and each key stands once
"#;

    every_syntax_error_is_reported:
    [("name = \"Fair\"", "name = "), ("stock = 3", "stock = = 3")] => r"fair.toml:3:8: not TOML: string values must be quoted, expected literal string
  hint: mend this line: texts stand in double quotes, and each key stands once
fair.toml:18:9: not TOML: extra `=`, expected nothing
  hint: mend this line: texts stand in double quotes, and each key stands once
fair.toml:18:11: not TOML: unexpected key or value, expected newline, `#`
  hint: mend this line: texts stand in double quotes, and each key stands once
";

    duplicate_key_is_refused:
    [("stock = 3", "stock = 3\nstock = 4")] => r"fair.toml:19:1: not TOML: duplicate key
  hint: mend this line: texts stand in double quotes, and each key stands once
";

    unknown_key_names_the_nearest:
    [("stock = 3", "stcok = 3")] => r#"fair.toml:18:1: no key is called "stcok"
  hint: did you mean `stock`?
"#;

    unknown_section_names_the_nearest:
    [("[limits]", "[limit]")] => r#"fair.toml:6:2: no key is called "limit"
  hint: did you mean `limits`?
"#;

    unknown_key_without_a_neighbour_lists_the_known:
    [("per_user_total = 30", "colour = 30")] => r#"fair.toml:7:1: no key is called "colour"
  hint: the keys here are per_user_total, per_user_per_day, campaign_total
"#;

    integer_in_quotes_is_refused:
    [("stock = 3", "stock = \"3\"")] => r"fair.toml:18:9: `stock` is a text, and has to be an integer
  hint: write a whole number without quotes, like `stock = 3`
";

    odds_without_quotes_are_refused:
    [("odds = \"60%\"", "odds = 60")] => r#"fair.toml:24:8: `odds` is an integer, and has to be a text
  hint: write it as a percentage in quotes: `odds = "60%"`
"#;

    odds_as_a_number_with_decimals_are_refused:
    [("odds = \"0.01%\"", "odds = 0.01")] => r#"fair.toml:17:8: `odds` is a number with decimals, and has to be a text
  hint: write it as a percentage in quotes: `odds = "0.5%"`
"#;

    flag_in_quotes_is_refused:
    [("stock = 3", "return_stock = \"yes\"")] => r"fair.toml:18:16: `return_stock` is a text, and has to be true or false
  hint: write `return_stock = true` or `return_stock = false`, without quotes
";

    prize_with_one_bracket_is_refused:
    [
        ("[[prize]]\nslug = \"phone\"", "[prize]\nslug = \"phone\""),
        ("[[prize]]\nslug = \"thanks\"\nname = \"10 points\"\nkind = \"points\"\nodds = \"60%\"\npoints = 10\n", ""),
    ] => r"fair.toml:13:1: `prize` is a table, and has to be a list of tables
  hint: write each with two brackets, `[[prize]]`: a list of tables
";

    section_that_is_no_table_is_refused_without_what_follows_from_it:
    [
        ("[campaign]\nslug = \"fair\"\nname = \"Fair\"\ntime_zone = \"Europe/Paris\"\n", "campaign = 3\n"),
    ] => r"fair.toml:1:12: `campaign` is an integer, and has to be a table
  hint: write it as a table, `[campaign]`
";

    integer_beyond_64_bits_is_refused:
    [("stock = 3", "stock = 99999999999999999999")] => r"fair.toml:18:9: `stock` is a number beyond 64 bits, and has to be an integer
  hint: write a whole number without quotes, like `stock = 3`
";

    all_problems_of_a_file_come_at_once_in_its_order:
    [
        ("slug = \"fair\"", "slug = \"Fair\""),
        ("per_user_total = 30", "per_user_totl = 30"),
        ("stock = 3", "stock = \"3\"\npoints = 1"),
        ("60%", "100%"),
        ("points = 10", "points = 0"),
    ] => r#"fair.toml:2:8: `slug` is "Fair", which is not [a-z0-9-]{1,40}
  hint: for example "fair"
fair.toml:7:1: no key is called "per_user_totl"
  hint: did you mean `per_user_total`?
fair.toml:18:9: `stock` is a text, and has to be an integer
  hint: write a whole number without quotes, like `stock = 3`
fair.toml:19:10: `points` belongs to kind points
  hint: remove `points`: this prize is of kind physical
fair.toml:25:8: the odds of all prizes add up to 100.01%
  hint: lower them by 0.01% in all
fair.toml:26:10: `points` is 0, and has to be 1 to 1000000000
  hint: write another number
"#;
}
