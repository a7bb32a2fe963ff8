//! What browsers are told by the headers of answers.

use crate::world::{Answer, JSON, World};
use axum::http::StatusCode;
use tombola_server::config::Config;

const SHOP: &str = "https://shop.example";

/// Every route of these answers in another way: text, JSON, an error of the guard, of
/// the handler, of no route at all.
const PATHS: &[(&str, u16)] = &[
    ("/livez", 200),
    ("/version", 200),
    ("/v1/campaigns/fair/odds", 200),
    ("/metrics", 401),
    ("/v1/campaigns/none/odds", 404),
    ("/v1/nothing", 404),
];

async fn ask(world: &World, method: &str, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,idempotency-key",
        ),
    ];
    world.send_as(None, method, path, &headers, "").await
}

/// The names of an answer's headers of CORS.
fn of_cors(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(axum::http::HeaderName::as_str);
    names
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}

#[tokio::test]
async fn every_answer_says_that_it_is_data_and_not_to_be_kept() {
    let world = World::with_fair().await;
    for (path, status) in PATHS {
        let answer = world.send_as(None, "GET", path, &[], "").await;
        assert_eq!(answer.status, *status, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        assert_eq!(
            answer.header("strict-transport-security"),
            None,
            "{path}: in clear"
        );
    }
}

#[tokio::test]
async fn strict_transport_is_said_under_tls_only() {
    let under_tls = |it: &mut Config| it.http.tls_certificate = "cert.pem".to_owned();
    let world = World::with_fair_and(under_tls).await;
    let answer = world.get("/livez").await;
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=31536000")
    );
}

#[tokio::test]
async fn no_page_of_another_origin_may_call_unless_its_origin_is_named() {
    let world = World::with_fair().await;
    for (path, _) in PATHS {
        let answer = ask(&world, "GET", path, SHOP).await;
        assert_eq!(of_cors(&answer), [""; 0], "{path}");
    }
    let asked_before = ask(&world, "OPTIONS", "/v1/campaigns/fair/draws", SHOP).await;
    assert_eq!(asked_before.code(), "method_not_allowed");
    assert_eq!(of_cors(&asked_before), [""; 0]);
}

#[tokio::test]
async fn pages_of_the_named_origins_may_call_and_others_may_not() {
    let open = |it: &mut Config| it.http.cors_origins = vec![SHOP.to_owned()];
    let world = World::with_fair_and(open).await;
    let path = "/v1/campaigns/fair/draws";
    let asked_before = ask(&world, "OPTIONS", path, SHOP).await;
    assert_eq!(asked_before.status, StatusCode::OK);
    assert_eq!(
        asked_before.header("access-control-allow-origin"),
        Some(SHOP)
    );
    let headers = asked_before.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization") && headers.contains("idempotency-key"));
    assert_eq!(
        asked_before.header("access-control-allow-credentials"),
        None
    );
    let shown = ask(&world, "GET", "/v1/campaigns/fair/odds", SHOP).await;
    assert_eq!(shown.header("access-control-allow-origin"), Some(SHOP));
    let exposed = shown.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("retry-after"), "{exposed}");
    for other in [
        "https://evil.example",
        "https://shop.example.evil.example",
        "null",
    ] {
        for (method, path) in [("OPTIONS", path), ("GET", "/v1/campaigns/fair/odds")] {
            let answer = ask(&world, method, path, other).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{other}"
            );
        }
    }
    // Being named is no key.
    let headers = [JSON, ("origin", SHOP), ("idempotency-key", "request-1")];
    let draw = world
        .send_as(None, "POST", path, &headers, "{\"user\":\"u\"}")
        .await;
    assert_eq!(draw.code(), "unauthorized");
    assert_eq!(draw.header("access-control-allow-origin"), Some(SHOP));
}
