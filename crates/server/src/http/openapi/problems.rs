//! The errors of an operation: one response for each status, which names the
//! codes that come with it. Equal ones are shared.

use crate::http::error::{ApiError, Code};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Adds the responses of `codes` to those of an operation.
pub(super) fn add(answers: &mut Value, shared: &mut Map<String, Value>, codes: &[Code]) {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status
            .entry(code.status().as_u16())
            .or_default()
            .push(*code);
    }
    for (status, codes) in by_status {
        let status = status.to_string();
        // `/readyz` answers 503 with a body of its own.
        if let Some(answer) = answers.get_mut(&status) {
            answer["content"][MEDIA] = content(&codes);
            continue;
        }
        let names: Vec<_> = codes.iter().map(|code| code.name()).collect();
        let name = format!("{status}.{}", names.join("."));
        answers[&status] = json!({ "$ref": format!("#/components/responses/{name}") });
        shared
            .entry(name)
            .or_insert_with(|| response(&status, &codes));
    }
}

const MEDIA: &str = "application/problem+json";

fn response(status: &str, codes: &[Code]) -> Value {
    let lines: Vec<_> = codes
        .iter()
        .map(|code| format!("- `{}`: {}.", code.name(), code.title()))
        .collect();
    let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    let mut headers = json!({ "x-request-id": header("x-request-id") });
    match status {
        "401" => headers["WWW-Authenticate"] = header("WWW-Authenticate"),
        "429" | "503" => headers["Retry-After"] = header("Retry-After"),
        _ => {}
    }
    json!({
        "description": lines.join("\n"),
        "headers": headers,
        "content": { MEDIA: content(codes) },
    })
}

fn content(codes: &[Code]) -> Value {
    let names: Vec<_> = codes.iter().map(|code| code.name()).collect();
    json!({
        "schema": {
            "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "properties": { "code": { "enum": names } } },
            ],
        },
        "example": codes.first().map(|code| ApiError::from(*code).body("1f0c7d3e-2a")),
    })
}

/// The schema of every error, with all codes.
pub(super) fn schema() -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    let lines: Vec<_> = Code::ALL.iter().map(|code| line(*code)).collect();
    let text = |about: &str| json!({ "type": "string", "description": about });
    let count = |about: &str| json!({ "type": "integer", "minimum": 0, "description": about });
    json!({
        "type": "object",
        "description": "An error, as RFC 9457 has it. Beside the members that all have, some codes \
            bring members of their own.",
        "required": ["type", "title", "status", "code", "request_id"],
        "properties": {
            "type": text("`urn:tombola:error:` and the code."),
            "title": text("The code in words, always the same."),
            "status": {
                "type": "integer", "minimum": 400, "maximum": 599,
                "description": "The HTTP status.",
            },
            "code": {
                "type": "string", "enum": codes,
                "description": format!("Stable; programs go by it.\n\n{}", lines.join("\n")),
            },
            "detail": text("What this time was the matter; never with a 5xx."),
            "request_id": text("Names the request in the log."),
            "errors": {
                "type": "array",
                "description": "Each bad field of the body.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "what"],
                    "properties": {
                        "pointer": text("JSON pointer of the field; empty for the whole body."),
                        "what": text("What is wrong with it."),
                        "mend": text("What to do about it."),
                    },
                },
            },
            "limit": text("`allowance_exhausted`, `rate_limited`: which limit."),
            "left": count("`allowance_exhausted`, `not_enough_stock`: how much is left."),
            "resets_at": {
                "type": ["string", "null"], "format": "date-time",
                "description": "`allowance_exhausted`: when a daily limit begins anew.",
            },
            "unfinished": count("`user_unfinished`: awards that are on their way."),
            "phase": text("`campaign_not_running`: what the campaign is instead."),
            "state": text("Where the campaign or the award stands."),
            "lease_ends": {
                "type": "string", "format": "date-time",
                "description": "`award_delivering`: when to try again.",
            },
            "ends_at": {
                "type": "string", "format": "date-time",
                "description": "`endpoint_secrets_full`: when there is room for one more.",
            },
            "problems": {
                "type": "array", "items": { "type": "string" },
                "description": "`campaign_not_ready`: what is missing, each with its mend.",
            },
            "prize": text("`kind_changed`: the prize's slug."),
            "line": count("`invalid_codes`: the first line that cannot be used."),
            "max": count("`count_too_large`: the most that one request may ask for."),
        },
    })
}

fn line(code: Code) -> String {
    format!(
        "- `{}` ({}): {}.",
        code.name(),
        code.status().as_u16(),
        code.title()
    )
}
