//! Lines without a desk: what is ready, what is taken, what is turned away.

use super::super::{DrawAsk, Places};
use super::*;
use tokio::sync::oneshot;

pub(in super::super) fn standing(campaign: &str, key: &str, since: u64) -> Standing {
    let places = Places {
        taken: Arc::default(),
        max: 1,
    };
    Standing {
        ask: DrawAsk {
            campaign: Arc::from(campaign),
            client: Arc::from("shop"),
            user: Arc::from("u1"),
            key: Arc::from(key),
            fingerprint: [0; 16],
            count: 1,
            traceparent: None,
            claim_key_version: 1,
        },
        answer: oneshot::channel().0,
        since: Duration::from_secs(since),
        _place: places.take().unwrap(),
    }
}

fn keys(batch: &[Standing]) -> Vec<&str> {
    batch.iter().map(|one| &*one.ask.key).collect()
}

#[test]
fn line_is_ready_exactly_when_somebody_stands_and_no_batch_is_in_flight() {
    let mut lines = Lines::new(10, 10);
    assert!(lines.next_ready().is_none());
    lines.push(standing("a", "1", 0)).ok().unwrap();
    let (campaign, batch) = lines.take_batch(1000).unwrap();
    assert_eq!(keys(&batch), ["1"]);
    lines.push(standing("a", "2", 0)).ok().unwrap();
    assert!(lines.next_ready().is_none());
    lines.free(&campaign);
    assert_eq!(
        lines.next_ready().map(|(campaign, _)| &**campaign),
        Some("a")
    );
    lines.take_batch(1000).unwrap();
    lines.free(&campaign);
    assert!(lines.next_ready().is_none() && lines.is_empty());
}

#[test]
fn lines_take_turns() {
    let mut lines = Lines::new(10, 10);
    for key in ["1", "2", "3"] {
        for campaign in ["a", "b"] {
            lines.push(standing(campaign, key, 0)).ok().unwrap();
        }
    }
    let mut order = Vec::new();
    while let Some((campaign, batch)) = lines.take_batch(1) {
        order.push(format!("{campaign}{}", keys(&batch)[0]));
        lines.free(&campaign);
    }
    assert_eq!(order, ["a1", "b1", "a2", "b2", "a3", "b3"]);
}

#[test]
fn line_left_empty_by_expiry_is_neither_ready_nor_kept() {
    let mut lines = Lines::new(1, 10);
    lines.push(standing("a", "1", 5)).ok().unwrap();
    assert!(lines.take_expired(Duration::from_secs(5)).is_empty());
    assert_eq!(keys(&lines.take_expired(Duration::from_secs(6))), ["1"]);
    assert!(lines.next_ready().is_none());
    lines.push(standing("b", "1", 5)).ok().unwrap();
    assert!(lines.next_ready().is_some());
}

#[test]
fn copies_of_one_key_are_left_for_later_up_to_a_bound_and_in_order() {
    let mut lines = Lines::new(10, 1000);
    for n in 0..500 {
        let key = if n == 400 { "other" } else { "same" };
        lines.push(standing("a", key, n)).ok().unwrap();
    }
    let (campaign, batch) = lines.take_batch(100).unwrap();
    assert_eq!(keys(&batch), ["same"]);
    lines.free(&campaign);
    let left: Vec<u64> = lines
        .take_all()
        .iter()
        .map(|one| one.since.as_secs())
        .collect();
    assert_eq!(left, (1..500).collect::<Vec<_>>());
}
