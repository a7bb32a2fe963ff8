//! Endpoints: a lane is given once, a secret is kept.

use super::world::{World, actor, ok};
use tombola_core::endpoint::{Endpoint, EndpointSpec};

fn spec(name: &str, secret: Option<&str>) -> EndpointSpec {
    EndpointSpec {
        name: name.to_owned(),
        url: "https://coupons.example/awards".to_owned(),
        secret: secret.map(str::to_owned),
        idempotent: true,
        conflict_means_delivered: true,
        timeout: "10s".to_owned(),
        concurrency: 16,
        rate: Some("50/s".to_owned()),
        allow_private: false,
    }
}

async fn put(w: &World, spec: EndpointSpec, new_secret: &str) -> Endpoint {
    ok(w.store()
        .put_endpoint(spec, new_secret.to_owned(), actor(), w.now())
        .await)
}

async fn kept(w: &World, lane: i64) -> Endpoint {
    let all = ok(w.store().endpoints().await);
    let found = all.into_iter().find(|it| it.lane == lane);
    found.unwrap_or_else(|| panic!("no endpoint has lane {lane}"))
}

pub(super) async fn an_endpoint_is_kept_as_it_was_put(w: &World) {
    let endpoint = put(w, spec("coupons", None), "whsec_new").await;
    assert!(endpoint.lane > 0);
    assert_eq!(
        (endpoint.name.as_str(), endpoint.is_enabled),
        ("coupons", true)
    );
    assert_eq!(endpoint.secrets, ["whsec_new"]);
    assert!(endpoint.is_idempotent && endpoint.conflict_means_delivered);
    assert!(kept(w, endpoint.lane).await == endpoint);
}

pub(super) async fn an_endpoint_keeps_its_lane_its_secret_and_its_state(w: &World) {
    let first = put(w, spec("coupons", None), "whsec_one").await;
    let other = put(w, spec("others", None), "whsec_two").await;
    assert_ne!(first.lane, other.lane);
    assert!(ok(w
        .store()
        .enable_endpoint(first.lane, false, actor(), w.now())
        .await));
    let changed = EndpointSpec {
        concurrency: 3,
        idempotent: false,
        ..spec("coupons", None)
    };
    let second = put(w, changed, "whsec_three").await;
    assert_eq!((second.lane, second.is_enabled), (first.lane, false));
    assert_eq!(second.secrets, ["whsec_one"]);
    assert_eq!((second.concurrency, second.is_idempotent), (3, false));
    assert_eq!(ok(w.store().endpoints().await).len(), 2);
}

pub(super) async fn a_new_secret_signs_beside_the_one_before(w: &World) {
    put(w, spec("coupons", Some("whsec_one")), "whsec_x").await;
    let rotated = put(w, spec("coupons", Some("whsec_two")), "whsec_x").await;
    assert_eq!(rotated.secrets, ["whsec_two", "whsec_one"]);
    let again = put(w, spec("coupons", Some("whsec_two")), "whsec_x").await;
    assert_eq!(again.secrets, ["whsec_two", "whsec_one"]);
}

pub(super) async fn an_endpoint_is_enabled_and_disabled(w: &World) {
    let lane = put(w, spec("coupons", None), "whsec_new").await.lane;
    for is_enabled in [false, true] {
        assert!(ok(w
            .store()
            .enable_endpoint(lane, is_enabled, actor(), w.now())
            .await));
        assert_eq!(kept(w, lane).await.is_enabled, is_enabled);
    }
    assert!(!ok(w
        .store()
        .enable_endpoint(lane + 1, false, actor(), w.now())
        .await));
}

pub(super) async fn a_wrong_endpoint_is_not_kept(w: &World) {
    let wrong = EndpointSpec {
        timeout: "90s".to_owned(),
        ..spec("coupons", None)
    };
    assert!(
        w.store()
            .put_endpoint(wrong, "whsec_new".to_owned(), actor(), w.now())
            .await
            .is_err()
    );
    assert!(ok(w.store().endpoints().await).is_empty());
}
