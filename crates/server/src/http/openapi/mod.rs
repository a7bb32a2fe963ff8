//! The OpenAPI 3.1 document of the API, made from the table of routes: a route
//! cannot exist without its operation, and an operation says nothing that its
//! handler's signature and line in the table do not. It is committed as
//! `openapi.json` and served from memory.

mod operation;
mod parameters;
mod problems;
mod schemas;
#[cfg(test)]
mod tests;

use super::Group;
use schemas::Schemas;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The document as text, ending in a line feed.
pub(super) fn text() -> String {
    let mut text = String::new();
    write!(text, "{:#}", document()).expect("writing to a text cannot fail");
    text.push('\n');
    text
}

/// The document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut responses = Map::new();
    let mut paths = Map::new();
    for group in super::GROUPS {
        for route in (group.routes)() {
            let operation = operation::of(group.name, &route, &mut schemas, &mut responses);
            let methods = paths
                .entry(route.path)
                .or_insert_with(|| Value::Object(Map::new()));
            methods[route.method.as_str().to_ascii_lowercase()] = operation;
        }
    }
    let document = json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Tombola",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A prize-draw server that never loses a prize and never pays one twice.",
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The server that this document came from." }],
        "tags": super::GROUPS.iter().map(tag).collect::<Value>(),
        "security": [{ "key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(),
            "headers": headers(),
            "parameters": parameters::request_keys(),
            "responses": responses,
            "schemas": {},
        },
    });
    schemas.finish(document)
}

const DESCRIPTION: &str = "\
Times are RFC 3339 in UTC. Ids are integers below 2^53: unique, not dense, not in time order.

Lists are pages, newest first unless they say otherwise: `next` of one page is `after` of the \
following one, with the same filters; null is the last page. A page may be short, or empty, and \
not be the last. No row that is there all the time is left out or there twice, whatever comes and \
changes meanwhile.

Every `POST` may have an `Idempotency-Key`, and may then be sent again: the answer is the first \
one's, byte for byte, with `Idempotent-Replayed: true`.

Errors are `application/problem+json` (RFC 9457) with a stable `code`; a 5xx has fixed text, and \
its cause is in the log under `request_id`. A request may bring its own `x-request-id` (1 to 64 \
visible ASCII characters); it comes back with the answer.";

fn tag(group: &Group) -> Value {
    json!({ "name": group.name, "description": group.about })
}

fn security_schemes() -> Value {
    json!({
        "key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "tmb_…",
            "description": "A key of the API, which `tombola key create` makes. Its role says what \
                it may; `admin` may all that the others may.",
        },
        "claim": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "tmc_…",
            "description": "The claim token of one award, which came with the draw that won it.",
        },
        "player": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "tmp_…",
            "description": "A player token: one user in one campaign, for a short time.",
        },
    })
}

fn headers() -> Value {
    json!({
        "x-request-id": {
            "description": "Names the request in the log; the caller's own, if it sent a good one.",
            "required": true,
            "schema": { "type": "string", "pattern": "^[!-~]{1,64}$" },
        },
        "Idempotent-Replayed": {
            "description": "`true` on the answer to a request that was answered before; absent on \
                a first answer.",
            "schema": { "type": "string", "const": "true" },
        },
        "Retry-After": {
            "description": "Seconds to wait before the request is sent again.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "WWW-Authenticate": {
            "description": "How to say who calls.",
            "schema": { "type": "string" },
        },
    })
}
