//! The same rules for the body of `PUT /v1/campaigns/{campaign}`: problems carry
//! the pointer of the field.

use tombola_core::campaign::file::from_json;
use tombola_core::campaign::parse_toml;

fn shown(json: &str) -> Vec<String> {
    let problems = from_json(json).err().unwrap_or_default();
    problems
        .iter()
        .map(|problem| problem.display_in("body"))
        .collect()
}

/// A good body with more fields in its prize.
fn with_prize(fields: &str) -> String {
    format!(
        r#"{{"campaign":{{"slug":"fair","name":"Fair"}},"prize":[{{"slug":"a","name":"A","kind":"points","points":1,"odds":"1%"{fields}}}]}}"#
    )
}

#[test]
fn null_is_the_same_as_absent() {
    let file = from_json(&with_prize(r#","stock":null,"text":null"#)).unwrap();
    assert_eq!(file, from_json(&with_prize("")).unwrap());
}

#[test]
fn each_bad_field_is_named_by_its_pointer() {
    let json = with_prize(r#","stock":-1,"daily_cap":1.5,"stok":2,"a/b~c":3"#);
    let pointers: Vec<String> = from_json(&json)
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    assert_eq!(
        pointers,
        [
            "/prize/0/daily_cap",
            "/prize/0/stok",
            "/prize/0/a~1b~0c",
            "/prize/0/stock"
        ]
    );
}

#[test]
fn a_field_given_twice_is_refused() {
    assert_eq!(
        shown(&with_prize(r#","stock":1,"stock":2"#)),
        ["body: /prize/0/stock: `stock` is given twice\n  hint: keep one"]
    );
}

#[test]
fn a_text_that_is_not_json_is_refused_with_its_place() {
    assert_eq!(
        shown("{\n  \"campaign\": }"),
        ["body:2:15: not JSON: expected value at line 2 column 15\n  hint: mend the syntax here"]
    );
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for json in ["null", "[]", "3", "\"x\""] {
        let shown = shown(json);
        assert!(
            shown.len() == 1 && shown[0].contains("has to be a table"),
            "{shown:?}"
        );
    }
}

#[test]
fn a_file_over_one_mebibyte_is_refused_before_it_is_read() {
    let text = "#".repeat((1 << 20) + 1);
    let problems = parse_toml("big.toml", &text).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].what,
        "big.toml holds 1048577 bytes, more than 1048576"
    );
    assert!(from_json(&text).is_err());
}

#[test]
fn the_201st_prize_is_refused() {
    let prize = r#"{"slug":"P","name":"A","kind":"points","points":1,"odds":"0%"}"#;
    let prizes: Vec<String> = (0..201)
        .map(|index| prize.replace('P', &format!("p{index}")))
        .collect();
    let body = |count: usize| {
        let prizes = prizes[..count].join(",");
        format!(r#"{{"campaign":{{"slug":"fair","name":"Fair"}},"prize":[{prizes}]}}"#)
    };
    assert!(from_json(&body(200)).is_ok());
    assert_eq!(
        shown(&body(201)),
        [
            "body: /prize/200: 201 prizes are more than 200\n  hint: split the campaign in two, or join prizes"
        ]
    );
}

#[test]
fn thousands_of_problems_are_cut_to_a_hundred() {
    let keys: Vec<String> = (0..5000).map(|index| format!(",\"x{index}\":1")).collect();
    let problems = from_json(&with_prize(&keys.concat())).unwrap_err();
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100].what, "4900 more problems");
}
