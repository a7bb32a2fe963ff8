//! One operation of the document, from one line of the table.

use super::parameters;
use super::problems;
use super::schemas::Schemas;
use crate::http::auth::Access;
use crate::http::error::Code;
use crate::http::replay::KeyRule;
use crate::http::route::{Body, Content, Route};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use tombola_core::ports::Role;

/// Answers of a server that `tests/surface/examples` recorded, by operation: the
/// body under the status.
static ANSWERS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("answers.json")).expect("the recorded answers are JSON")
});

/// The operation of `route`; the bodies of its errors go to `responses`.
pub(super) fn of(
    tag: &str,
    route: &Route,
    schemas: &mut Schemas,
    responses: &mut Map<String, Value>,
) -> Value {
    let said = &route.operation;
    let id = id(said.title);
    let mut parameters = parameters::of_path(route.path);
    parameters.extend(said.query.map_or_else(Vec::new, |query| {
        parameters::of_query(&schemas.asked_inline(query))
    }));
    if route.keys != KeyRule::None {
        parameters.push(parameters::request_key(is_key_demanded(route)));
    }
    let mut operation = json!({
        "operationId": id,
        "tags": [tag],
        "summary": said.title,
        "description": format!("{}\n\n{}", said.text, who_may(&route.access)),
        "x-tombola-roles": roles(&route.access),
        "security": security(&route.access),
        "responses": answers(&id, route, schemas),
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Body::Of(content) = said.body {
        operation["requestBody"] = body(content, said.example.as_ref(), schemas);
    }
    problems::add(&mut operation["responses"], responses, &codes(route));
    operation
}

/// `Show draw` is `show_draw`.
pub(in crate::http) fn id(title: &str) -> String {
    title.to_lowercase().replace(' ', "_")
}

/// What any route may refuse with.
const OF_ANY: &[Code] = &[
    Code::Unauthorized,
    Code::UriTooLong,
    Code::HeadersTooLarge,
    Code::RateLimited,
    Code::Overloaded,
    Code::Unavailable,
    Code::Stopping,
    Code::TimedOut,
    Code::Sealed,
    Code::Internal,
];

/// In the order of the reference, each once.
fn codes(route: &Route) -> Vec<Code> {
    let mut codes = OF_ANY.to_vec();
    codes.extend(&route.operation.codes);
    if !route.access.is_public {
        codes.push(Code::Forbidden);
    }
    if route.keys != KeyRule::None {
        codes.extend([
            Code::RequestKeyInvalid,
            Code::RequestKeyReused,
            Code::UserErased,
        ]);
    }
    if is_key_demanded(route) {
        codes.push(Code::RequestKeyMissing);
    }
    let has = |code: &&Code| codes.contains(code);
    Code::ALL.iter().filter(has).copied().collect()
}

fn is_key_demanded(route: &Route) -> bool {
    matches!(route.keys, KeyRule::Demanded | KeyRule::OfHandler)
}

fn roles(access: &Access) -> Vec<&'static str> {
    if access.is_public {
        return vec!["anybody"];
    }
    let winner = access.takes_claim_token.then_some("winner");
    let player = access.takes_player_token.then_some("player");
    let roles = access.roles.iter().map(|role| role.name());
    let roles = roles.chain([Role::Admin.name()]);
    roles.chain(player).chain(winner).collect()
}

fn who_may(access: &Access) -> String {
    if access.is_public {
        return "Needs no key.".to_owned();
    }
    let mut roles: Vec<_> = access.roles.iter().map(|role| role.name()).collect();
    roles.push(Role::Admin.name());
    let last = roles.pop().unwrap_or_default();
    let or = if roles.is_empty() { "" } else { " or " };
    let token = match (access.takes_player_token, access.takes_claim_token) {
        (true, true) => ", the award's claim token, or the user's player token",
        (true, false) => ", or the user's player token",
        (false, true) => ", or the award's claim token",
        (false, false) => "",
    };
    format!(
        "Needs a key of the role {}{or}{last}{token}.",
        roles.join(", ")
    )
}

fn security(access: &Access) -> Value {
    let ways = [
        (!access.is_public, "key"),
        (access.takes_claim_token, "claim"),
        (access.takes_player_token, "player"),
    ];
    let ways = ways.iter().filter(|(is_one, _)| *is_one);
    ways.map(|(_, name)| json!({ *name: [] })).collect()
}

fn body(content: Content, example: Option<&Value>, schemas: &mut Schemas) -> Value {
    let (media, schema) = match content {
        Content::Json(shape) => ("application/json", schemas.asked(shape)),
        Content::Raw(media) => (media, raw(media)),
    };
    // An empty body is `{}`, where that is a body.
    let is_needed = schemas
        .resolve(&schema)
        .get("required")
        .is_some_and(|fields| *fields != json!([]));
    let mut content = json!({ "schema": schema });
    if let Some(example) = example {
        content["example"] = example.clone();
    }
    json!({
        "required": is_needed || media != "application/json",
        "content": { media: content },
    })
}

/// The schema of what is no JSON: a text, or bytes, of which a schema says nothing.
fn raw(media: &str) -> Value {
    if media.starts_with("text/") {
        json!({ "type": "string" })
    } else {
        json!({})
    }
}

fn answers(id: &str, route: &Route, schemas: &mut Schemas) -> Value {
    let mut answers = Map::new();
    for (status, content) in &route.operation.answers {
        let status = status.to_string();
        let (media, schema) = match content {
            Content::Json(shape) => ("application/json", schemas.answered(*shape)),
            Content::Raw(media) => (*media, raw(media)),
        };
        let about = schemas
            .resolve(&schema)
            .get("description")
            .cloned()
            .unwrap_or_else(|| "The answer.".into());
        let mut content = json!({ "schema": schema });
        if let Some(recorded) = ANSWERS.get(id).and_then(|it| it.get(&status)) {
            content["example"] = recorded.clone();
        }
        let mut headers =
            json!({ "x-request-id": { "$ref": "#/components/headers/x-request-id" } });
        if route.keys != KeyRule::None {
            headers["Idempotent-Replayed"] =
                json!({ "$ref": "#/components/headers/Idempotent-Replayed" });
        }
        let answer = answers
            .entry(status)
            .or_insert_with(|| json!({ "description": about, "headers": headers, "content": {} }));
        if let Some(other) = answer["content"].get(media) {
            content["schema"] = json!({ "anyOf": [other["schema"], content["schema"]] });
        }
        answer["content"][media] = content;
    }
    Value::Object(answers)
}
