//! The lanes of a process together.

use super::*;
use crate::fakes::{FakeCatalog, TokioClock, endpoint};
use std::sync::atomic::Ordering;
use tombola_core::signing::SigningSecret;

fn lanes(endpoints: Vec<Endpoint>) -> Arc<Lanes> {
    let lanes = Lanes::new(TokioClock::new(), Arc::new(Meters::new()));
    lanes.set(endpoints);
    Arc::new(lanes)
}

fn permit(lanes: &Arc<Lanes>, lane: i64) -> Option<Permit> {
    match lanes.admit(lane, Duration::ZERO) {
        Admission::Permit(permit) => Some(permit),
        Admission::Disabled | Admission::Wait(_) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_all_lanes_together_are_bounded_and_a_dropped_permit_is_given_back() {
    let many = |lane| Endpoint {
        concurrency: 1024,
        ..endpoint(lane)
    };
    let lanes = lanes(vec![many(1), many(2)]);
    let mut permits: Vec<Permit> = (0..1000).map_while(|_| permit(&lanes, 1)).collect();
    while let Some(one) = permit(&lanes, 2) {
        permits.push(one);
    }
    assert_eq!(
        (permits.len(), lanes.calls()),
        (limits::CALLS_IN_FLIGHT_MAX, limits::CALLS_IN_FLIGHT_MAX)
    );
    permits.pop();
    assert!(permit(&lanes, 2).is_some());
    drop(permits);
    assert_eq!(lanes.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn lane_that_is_disabled_or_gone_is_never_called() {
    let lanes = lanes(vec![endpoint(1), endpoint(2)]);
    let in_flight = permit(&lanes, 1).unwrap();
    lanes.disable(2);
    lanes.set(vec![Endpoint {
        is_enabled: false,
        ..endpoint(2)
    }]);
    for lane in [1, 2, 3] {
        assert!(
            matches!(lanes.admit(lane, Duration::ZERO), Admission::Disabled),
            "{lane}"
        );
    }
    in_flight.end(true, Duration::ZERO);
    assert_eq!(lanes.calls(), 0);
    assert!(lanes.knows(1) && !lanes.knows(3));
    lanes.set(vec![endpoint(2)]);
    assert!(permit(&lanes, 2).is_some() && !lanes.knows(1));
}

#[tokio::test(start_paused = true)]
async fn meters_show_the_lanes_as_they_stand() {
    let lanes = lanes(vec![endpoint(1)]);
    let _permit = permit(&lanes, 1).unwrap();
    lanes.show();
    let shown = lanes.meters.lanes();
    let expected = LaneMeter {
        name: "endpoint-1".to_owned(),
        breaker: BreakerState::Closed,
        in_flight: 1,
    };
    assert_eq!(shown.get(&1), Some(&expected));
}

#[tokio::test]
async fn older_reading_that_comes_late_does_not_take_the_place_of_a_newer_one() {
    let lanes = lanes(Vec::new());
    let catalog = FakeCatalog::with(vec![endpoint(1)]);
    catalog.yields.store(10, Ordering::Relaxed);
    let rotated = Endpoint {
        secrets: vec![SigningSecret::newest("whsec_bmV3")],
        ..endpoint(1)
    };
    let change = async {
        *catalog.endpoints.lock().unwrap() = vec![rotated.clone()];
        lanes.reload(&*catalog).await
    };
    let (old, new) = tokio::join!(lanes.reload(&*catalog), change);
    old.and(new).unwrap();
    assert_eq!(**permit(&lanes, 1).unwrap().endpoint(), rotated);
}
