//! One lane: permits, and the dates of those that have none.

use super::*;
use crate::fakes::endpoint;
use tombola_core::limits;

const SECOND: Duration = Duration::from_secs(1);

fn lane(concurrency: u32, interval: Option<Duration>) -> Lane {
    Lane::new(Endpoint {
        concurrency,
        interval,
        ..endpoint(1)
    })
}

#[test]
fn permits_are_as_many_as_the_endpoints_concurrency() {
    let mut lane = lane(2, None);
    let first = lane.take(SECOND, Duration::ZERO).unwrap();
    lane.take(SECOND, Duration::ZERO).unwrap();
    assert_eq!(lane.take(SECOND, Duration::ZERO), Err(Wait::ForACall));
    lane.give(first, Some((true, SECOND)), SECOND);
    assert!(lane.take(SECOND, Duration::ZERO).is_ok());
}

#[test]
fn turns_of_a_paced_lane_are_spaced_and_none_is_given_farther_ahead_than_allowed() {
    let mut lane = lane(100, Some(SECOND / 10));
    let ahead = Duration::from_millis(250);
    let turns: Vec<u128> = std::iter::from_fn(|| lane.take(SECOND, ahead).ok())
        .map(|turn| turn.at.as_millis())
        .collect();
    assert_eq!(turns, [1000, 1100, 1200]);
    assert_eq!(
        lane.take(SECOND, ahead),
        Err(Wait::Until(Duration::from_millis(1050)))
    );
}

#[test]
fn refused_permit_takes_neither_a_turn_nor_the_probe() {
    let mut lane = lane(1, Some(SECOND));
    lane.take(SECOND, Duration::ZERO).unwrap();
    for _ in 0..5 {
        assert!(lane.take(SECOND, Duration::ZERO).is_err());
    }
    lane.give(
        Turn {
            at: SECOND,
            is_probe: false,
        },
        None,
        SECOND,
    );
    assert_eq!(
        lane.take(2 * SECOND, Duration::ZERO).map(|turn| turn.at),
        Ok(2 * SECOND)
    );
}

#[test]
fn half_open_lane_gives_one_permit_and_its_word_decides() {
    let mut lane = lane(100, None);
    for _ in 0..limits::BREAKER_FAILURES_IN_ROW {
        let turn = lane.take(SECOND, Duration::ZERO).unwrap();
        lane.give(turn, Some((false, SECOND)), SECOND);
    }
    let opens = SECOND + limits::BREAKER_OPEN_FIRST;
    assert_eq!(
        lane.take(2 * SECOND, Duration::ZERO),
        Err(Wait::Until(opens))
    );
    let probe = lane.take(opens, Duration::ZERO).unwrap();
    assert!(probe.is_probe);
    assert!(matches!(
        lane.take(opens, Duration::ZERO),
        Err(Wait::Until(_))
    ));
    lane.give(probe, None, opens);
    let probe = lane.take(opens, Duration::ZERO).unwrap();
    lane.give(probe, Some((true, SECOND)), opens);
    assert!((0..50).all(|_| {
        lane.take(opens, Duration::ZERO)
            .is_ok_and(|turn| !turn.is_probe)
    }));
}

#[test]
fn kth_copy_without_a_permit_is_set_aside_for_k_calls_of_the_measured_rate() {
    let mut lane = lane(4, None);
    for _ in 0..200 {
        let turn = lane.take(SECOND, Duration::ZERO).unwrap();
        lane.give(turn, Some((true, Duration::from_millis(440))), SECOND);
    }
    // 440 ms in 4 at a time are 110 ms each; a tenth sooner, so as not to idle.
    let waits: Vec<u128> = (0..3).map(|_| lane.set_aside(SECOND).as_millis()).collect();
    assert!((99..=101).contains(&waits[0]), "{waits:?}");
    assert!((298..=302).contains(&waits[2]), "{waits:?}");
    assert!((98..=101).contains(&(lane.set_aside(4 * SECOND)).as_millis()));
}

#[test]
fn lane_with_a_rate_sets_aside_by_its_rate_and_one_that_is_broken_after_its_breaker() {
    let mut paced = lane(100, Some(SECOND));
    assert_eq!(
        [paced.set_aside(SECOND), paced.set_aside(SECOND)],
        [SECOND, 2 * SECOND]
    );
    let mut broken = lane(100, Some(SECOND));
    for n in 1..=limits::BREAKER_FAILURES_IN_ROW {
        let turn = broken.take(SECOND * n, Duration::ZERO).unwrap();
        broken.give(turn, Some((false, Duration::ZERO)), SECOND * n);
    }
    assert_eq!(
        broken.set_aside(10 * SECOND),
        limits::BREAKER_OPEN_FIRST + SECOND
    );
    assert_eq!(broken.again_in(12 * SECOND), limits::BREAKER_OPEN_FIRST);
}

#[test]
fn endpoint_that_is_enabled_again_begins_with_a_closed_breaker_and_others_keep_theirs() {
    let mut lane = lane(100, None);
    for _ in 0..limits::BREAKER_FAILURES_IN_ROW {
        let turn = lane.take(SECOND, Duration::ZERO).unwrap();
        lane.give(turn, Some((false, SECOND)), SECOND);
    }
    lane.update(Endpoint {
        concurrency: 7,
        ..endpoint(1)
    });
    assert_eq!(lane.breaker_state(SECOND), BreakerState::Open);
    lane.disable();
    lane.update(Endpoint {
        concurrency: 7,
        ..endpoint(1)
    });
    assert_eq!(lane.breaker_state(SECOND), BreakerState::Closed);
}

#[test]
fn call_that_hangs_says_more_of_the_lane_than_the_mean_of_those_that_ended() {
    let mut lane = lane(2, None);
    lane.take(SECOND, Duration::ZERO).unwrap();
    let waits: Vec<Duration> = (2..4).map(|n| lane.set_aside(SECOND * n)).collect();
    assert!(waits[0] > SECOND * 4 / 10, "{waits:?}");
    assert!(waits[1] > SECOND * 8 / 10, "{waits:?}");
}

#[test]
fn nobody_is_set_aside_for_longer_than_the_longest_grace() {
    let mut lane = lane(1, Some(SECOND));
    let waits: Vec<Duration> = (0..1300).map(|_| lane.set_aside(SECOND)).collect();
    assert_eq!((waits[599], waits[600]), (limits::GRACE_MAX, SECOND));
    assert!(waits.iter().all(|wait| *wait <= limits::GRACE_MAX));
}
