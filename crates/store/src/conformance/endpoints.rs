//! Endpoints: a lane is given once, a secret is kept, and what took its place signs
//! beside it until it ends.

use super::world::{World, actor, days, ok};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::limits::{ENDPOINT_SECRETS_MAX, SECRET_OVERLAP};
use tombola_core::ports::{NewSecret, PutEndpoint, SecretRotated};

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
    let put = w
        .store()
        .put_endpoint(spec, new_secret.to_owned(), actor(), w.now());
    match ok(put.await) {
        PutEndpoint::Put(endpoint) => endpoint,
        full @ PutEndpoint::SecretsFull { .. } => panic!("{full:?}"),
    }
}

async fn rotate(w: &World, secret: &str, overlap: Duration) -> SecretRotated {
    let secret = NewSecret {
        text: secret.to_owned(),
        hash: [7; 32],
        overlap,
    };
    ok(w.store()
        .rotate_secret("coupons", secret, actor(), w.now())
        .await)
}

fn rotated(older_end_at: &[Timestamp]) -> SecretRotated {
    SecretRotated::Rotated {
        hash: [7; 32],
        older_end_at: older_end_at.to_vec(),
    }
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
    assert_eq!(endpoint.secrets_at(w.now()), ["whsec_new"]);
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
    assert_eq!(second.secrets_at(w.now()), ["whsec_one"]);
    assert_eq!((second.concurrency, second.is_idempotent), (3, false));
    assert_eq!(ok(w.store().endpoints().await).len(), 2);
}

pub(super) async fn a_new_secret_signs_beside_the_one_before(w: &World) {
    put(w, spec("coupons", Some("whsec_one")), "whsec_x").await;
    let rotated = put(w, spec("coupons", Some("whsec_two")), "whsec_x").await;
    assert_eq!(rotated.secrets_at(w.now()), ["whsec_two", "whsec_one"]);
    let again = put(w, spec("coupons", Some("whsec_two")), "whsec_x").await;
    assert_eq!(again.secrets_at(w.now()), ["whsec_two", "whsec_one"]);
    let over = w.now().plus(SECRET_OVERLAP);
    assert_eq!(again.secrets_at(over), ["whsec_two"]);
}

pub(super) async fn a_rotated_secret_signs_until_the_end_that_was_told(w: &World) {
    let lane = put(w, spec("coupons", None), "whsec_one").await.lane;
    let first_end = w.now().plus(days(2));
    assert_eq!(rotate(w, "whsec_two", days(2)).await, rotated(&[first_end]));
    w.advance(days(1));
    let second_end = w.now().plus(days(2));
    assert_eq!(
        rotate(w, "whsec_three", days(2)).await,
        rotated(&[second_end, first_end])
    );
    let endpoint = kept(w, lane).await;
    let all = ["whsec_three", "whsec_two", "whsec_one"];
    assert_eq!(endpoint.secrets_at(w.now()), all);
    assert_eq!(endpoint.secrets_at(first_end), all[..2]);
    assert_eq!(endpoint.secrets_at(second_end), all[..1]);
}

pub(super) async fn a_rotation_without_an_overlap_ends_every_older_secret_now(w: &World) {
    let lane = put(w, spec("coupons", None), "whsec_one").await.lane;
    rotate(w, "whsec_two", days(1)).await;
    assert_eq!(rotate(w, "whsec_three", Duration::ZERO).await, rotated(&[]));
    let endpoint = kept(w, lane).await;
    assert_eq!(endpoint.secrets.len(), 1, "the others are deleted");
    assert_eq!(endpoint.secrets_at(w.now()), ["whsec_three"]);
}

pub(super) async fn a_secret_beyond_the_bound_is_refused_and_changes_nothing(w: &World) {
    let lane = put(w, spec("coupons", None), "whsec_0").await.lane;
    for n in 1..ENDPOINT_SECRETS_MAX {
        rotate(w, &format!("whsec_{n}"), days(1)).await;
    }
    let (before, ends_at) = (kept(w, lane).await, w.now().plus(days(1)));
    let lines = w.bench().operator_lines().await;
    assert_eq!(
        rotate(w, "whsec_more", days(1)).await,
        SecretRotated::SecretsFull { ends_at }
    );
    let more = spec("coupons", Some("whsec_more"));
    let refused = w
        .store()
        .put_endpoint(more, String::new(), actor(), w.now());
    assert_eq!(ok(refused.await), PutEndpoint::SecretsFull { ends_at });
    assert!(kept(w, lane).await == before);
    assert_eq!(w.bench().operator_lines().await, lines);
    w.advance(days(1));
    rotate(w, "whsec_more", days(1)).await;
    let secrets = kept(w, lane).await.secrets;
    assert_eq!(secrets.len(), 2, "those that ended made room");
}

pub(super) async fn a_secret_that_has_ended_is_deleted(w: &World) {
    let lane = put(w, spec("coupons", None), "whsec_one").await.lane;
    rotate(w, "whsec_two", days(1)).await;
    assert_eq!(ok(w.store().end_secrets(w.now()).await), 0);
    assert_eq!(kept(w, lane).await.secrets.len(), 2);
    w.advance(days(1));
    assert_eq!(ok(w.store().end_secrets(w.now()).await), 1);
    assert_eq!(kept(w, lane).await.secrets.len(), 1);
    assert_eq!(ok(w.store().end_secrets(w.now()).await), 0);
}

pub(super) async fn a_secret_is_rotated_for_an_endpoint_that_is_there(w: &World) {
    put(w, spec("others", None), "whsec_one").await;
    let lines = w.bench().operator_lines().await;
    assert_eq!(
        rotate(w, "whsec_two", days(1)).await,
        SecretRotated::NotFound
    );
    assert_eq!(w.bench().operator_lines().await, lines);
    put(w, spec("coupons", None), "whsec_one").await;
    let lines = w.bench().operator_lines().await;
    rotate(w, "whsec_two", days(1)).await;
    assert_eq!(w.bench().operator_lines().await, lines + 1);
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
