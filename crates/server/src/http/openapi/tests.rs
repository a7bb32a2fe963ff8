//! What the document says of every route.

use super::*;
use crate::http::route::Body;
use std::collections::BTreeSet;

#[test]
fn every_route_says_what_it_takes_and_answers_under_a_name_of_its_own() {
    let mut ids = BTreeSet::new();
    for route in crate::http::table() {
        let (path, said) = (route.path, &route.operation);
        assert!(
            ids.insert(operation::id(said.title)),
            "{path}: {} is taken",
            said.title
        );
        assert!(
            said.text.ends_with('.'),
            "{path}: say what it does, in sentences"
        );
        assert!(
            said.answers.iter().any(|(status, _)| *status < 300),
            "{path}: its handler writes the answer byte by byte; say `.answers::<T>(status)`"
        );
        assert!(
            !matches!(said.body, Body::Unsaid),
            "{path}: its handler reads the body by itself; say `.body::<T>()`"
        );
        assert_eq!(
            matches!(said.body, Body::Of(_)),
            said.example.is_some(),
            "{path}: a route with a body, and no other, has an `.example(…)`"
        );
        for name in parameters::names(path) {
            assert!(
                parameters::meaning(path, name).is_some(),
                "{path}: say in parameters.rs what {{{name}}} is"
            );
        }
    }
}

#[test]
fn every_reference_leads_to_something() {
    let document = document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| collect(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn descriptions_are_for_people_who_do_not_read_rust() {
    let text = text();
    for foreign in [
        "`None`", "Self::", "limits::", "super::", "](crate", "`Option",
    ] {
        let line = text.lines().find(|line| line.contains(foreign));
        assert_eq!(line, None, "{foreign}");
    }
}
