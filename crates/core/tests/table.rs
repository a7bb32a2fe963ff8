//! Aim: the award's table is the one that was decided and model-checked. `step` is
//! asked about the whole product of rows and events (also of rows that cannot
//! come about), and compared with the table as the architecture words it, line by
//! line; then with what must hold whatever the lines say.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a claim names the events it is about"
)]

#[path = "table/asks.rs"]
mod asks;
#[path = "table/cases.rs"]
mod cases;
#[path = "table/lines.rs"]
mod lines;

use cases::{Case, each_case};
use lines::{LINES, Outcome};
use std::collections::BTreeMap;
use tombola_core::award::{Change, Event, Gate, Mark, MqState, Refusal, State, Step};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;

#[test]
fn every_row_and_event_is_named_by_one_line_and_does_what_it_says() {
    let mut used: BTreeMap<&str, u64> = BTreeMap::new();
    each_case(|case| {
        let mut lines = LINES.iter().filter(|line| (line.when)(case));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no line names {case:?}"));
        if let Some(second) = lines.next() {
            panic!("{:?} and {:?} both name {case:?}", line.says, second.says);
        }
        let expected = (line.then)(case);
        assert_eq!(
            Outcome::of(&case.step()),
            expected,
            "{:?}: {case:?}",
            line.says
        );
        *used.entry(line.says).or_default() += 1;
    });
    for line in LINES {
        assert!(used.contains_key(line.says), "no case for {:?}", line.says);
    }
}

/// Every change that the table makes.
fn each_change(check: impl Fn(&Case<'_>, &Change)) {
    each_case(|case| {
        if let Step::Changed(change) = case.step() {
            check(case, &change);
        }
    });
}

#[test]
fn due_at_is_null_exactly_in_the_final_states() {
    each_change(|case, change| {
        assert_eq!(
            change.row.due_at.is_none(),
            change.row.state.is_final(),
            "{case:?}"
        );
    });
}

#[test]
fn reasons_stand_exactly_where_they_belong() {
    each_change(|case, Change { row, .. }| {
        assert_eq!(
            row.hold_reason.is_some(),
            row.state == State::Held,
            "{case:?}"
        );
        assert_eq!(row.held_at.is_some(), row.state == State::Held, "{case:?}");
        assert_eq!(
            row.dead_reason.is_some(),
            row.state == State::Dead,
            "{case:?}"
        );
    });
}

#[test]
fn the_lease_never_falls_and_grows_with_every_claim_and_change_of_state() {
    each_change(|case, change| {
        let (before, after) = (case.row.lease, change.row.lease);
        let is_mark = matches!(case.event, Event::Mark { .. });
        if change.row.state != case.row.state || !is_mark {
            assert_eq!(after, before + 1, "{case:?}");
        } else {
            assert_eq!(after, before, "a mark does not grow it: {case:?}");
        }
    });
}

#[test]
fn what_was_sent_stays_sent() {
    each_change(|case, change| {
        let is_fall = case.row.mq_state == MqState::Sent && change.row.mq_state != MqState::Sent;
        assert!(!is_fall, "{case:?}");
    });
}

#[test]
fn nothing_clears_a_doubt() {
    each_change(|case, change| {
        assert!(change.row.in_doubt || !case.row.in_doubt, "{case:?}");
    });
}

#[test]
fn what_is_over_is_never_left() {
    each_change(|case, _| {
        assert!(
            !matches!(case.row.state, State::Delivered | State::Cancelled),
            "{case:?}"
        );
    });
}

#[test]
fn only_a_person_moves_a_dead_letter() {
    each_change(|case, _| {
        let by_a_person = matches!(
            case.event,
            Event::Requeue { .. } | Event::Cancel { .. } | Event::Confirm
        );
        assert!(case.row.state != State::Dead || by_a_person, "{case:?}");
    });
}

#[test]
fn a_person_never_changes_what_a_worker_has_in_hand() {
    each_case(|case| {
        if case.row.state != State::Delivering || !case.is_by_a_person() {
            return;
        }
        let lease_ends = case.row.due_at.unwrap();
        let expected = match case.event {
            Event::End { .. } => Refusal::WrongState {
                state: State::Delivering,
            },
            _ => Refusal::Delivering { lease_ends },
        };
        assert_eq!(case.step(), Step::Refused(expected), "{case:?}");
    });
}

#[test]
fn what_carries_another_lease_never_changes_a_row() {
    each_case(|case| {
        let lease = match case.event {
            Event::Mark { lease, .. }
            | Event::Fail { lease, .. }
            | Event::Decide { lease, .. }
            | Event::GiveBack { lease } => *lease,
            _ => return,
        };
        if lease != case.row.lease {
            assert_eq!(case.step(), Step::Late, "{case:?}");
        }
    });
}

#[test]
fn a_call_that_may_have_had_its_effect_is_repeated_only_at_idempotent_endpoints() {
    each_change(|case, change| {
        let is_unknown = matches!(
            case.event,
            Event::Decide {
                decision: Decision::Unknown,
                ..
            }
        );
        let is_lost = matches!(case.event, Event::Rescue { .. })
            && case.row.state == State::Delivering
            && case.row.is_outside();
        if !is_unknown && !is_lost {
            return;
        }
        assert!(change.row.in_doubt, "{case:?}");
        if !case.terms.is_idempotent {
            assert_eq!(change.row.state, State::Dead, "{case:?}");
        }
    });
}

#[test]
fn a_doubt_is_put_back_only_by_the_word_or_at_idempotent_endpoints() {
    each_change(|case, _| {
        if let Event::Requeue {
            not_delivered: false,
            ..
        } = case.event
        {
            let is_safe = case.row.is_outside() && case.terms.is_idempotent;
            assert!(!case.row.in_doubt || is_safe, "{case:?}");
        }
    });
}

#[test]
fn every_way_into_pending_puts_an_external_award_in_doubt_and_forgets_the_position() {
    each_change(|case, change| {
        let is_mark = matches!(case.event, Event::Mark { .. });
        if change.row.state != State::Pending || is_mark {
            return;
        }
        assert!(
            change.row.in_doubt || change.row.kind != Kind::External,
            "{case:?}"
        );
        assert_eq!(change.row.position, None, "{case:?}");
    });
}

#[test]
fn stock_in_doubt_never_goes_back_but_by_the_explicit_entry() {
    each_change(|case, change| {
        let is_entry = matches!(case.event, Event::Cancel { return_stock: true });
        if change.stock_back && !is_entry {
            assert!(!case.row.in_doubt && case.terms.return_stock, "{case:?}");
        }
        if change.stock_back {
            assert_eq!(change.row.state, State::Cancelled, "{case:?}");
        }
    });
}

#[test]
fn attempts_are_counted_at_the_claim_and_given_back_where_no_call_was_made() {
    each_change(|case, change| {
        let (before, after) = (case.row.attempts, change.row.attempts);
        let is_claim = change.row.state == State::Delivering;
        let given_back = match case.event {
            Event::GiveBack { .. } => true,
            Event::Decide { decision, .. } => {
                matches!(decision, Decision::Defer | Decision::Hold(_))
            }
            _ => false,
        };
        let expected = match case.event {
            _ if is_claim => before + 1,
            Event::Fail { .. } => before + 1,
            Event::Requeue { .. } => 0,
            _ if given_back => before - 1,
            _ => before,
        };
        assert_eq!(after, expected, "{case:?}");
    });
}

#[test]
fn nothing_that_is_published_again_is_published_in_vain() {
    each_change(|case, change| {
        if change.publish {
            assert!(
                matches!(change.row.state, State::Pending | State::Held),
                "{case:?}"
            );
            assert_eq!(change.row.publishes, case.row.publishes + 1, "{case:?}");
            assert!(change.row.due_at > Some(case.now), "{case:?}");
        }
    });
}

#[test]
fn a_doubt_comes_only_from_where_an_effect_may_come_from() {
    each_change(|case, change| {
        if case.row.in_doubt || !change.row.in_doubt {
            return;
        }
        let is_unknown = matches!(
            case.event,
            Event::Decide {
                decision: Decision::Unknown,
                ..
            }
        );
        let is_lost = case.row.state == State::Delivering && case.row.is_outside();
        let is_read_by_others =
            change.row.state == State::Pending && change.row.kind == Kind::External;
        let is_shipped = *case.event == Event::Ship;
        assert!(
            is_unknown || is_lost || is_read_by_others || is_shipped,
            "{case:?}"
        );
    });
}

#[test]
fn only_marks_and_copies_say_where_the_message_lies() {
    each_change(|case, Change { row, .. }| {
        let said = match case.event {
            Event::Mark {
                mark: Mark::Taken(position),
                ..
            }
            | Event::Copy {
                position,
                gate: Gate::Permit | Gate::NoPermit { .. },
            } => Some(*position),
            _ if row.state == State::Pending && row.lease != case.row.lease => None,
            _ => case.row.position,
        };
        assert_eq!(row.position, said, "{case:?}");
        let is_told = said.is_some() && said != case.row.position;
        assert!(!is_told || row.mq_state == MqState::Sent, "{case:?}");
    });
}

#[test]
fn publishes_are_counted_by_rescue_and_begin_anew_with_each_copy_and_requeue() {
    each_change(|case, Change { row, publish, .. }| {
        let expected = match case.event {
            Event::Copy {
                gate: Gate::Permit | Gate::NoPermit { .. },
                ..
            }
            | Event::Requeue { .. } => 0,
            Event::Rescue { .. } if *publish => case.row.publishes + 1,
            _ => case.row.publishes,
        };
        assert_eq!(row.publishes, expected, "{case:?}");
    });
}

#[test]
fn whose_row_it_is_never_changes() {
    each_change(|case, Change { row, .. }| {
        let whose = |row: &tombola_core::award::Row| (row.award, row.kind, row.lane);
        assert_eq!(whose(row), whose(case.row), "{case:?}");
    });
}

#[test]
fn rescue_leaves_a_row_that_only_waits_whatever_its_terms_and_its_hold() {
    use tombola_core::award::{Sight, Terms};
    each_case(|case| {
        let Event::Rescue { sight } = case.event else {
            return;
        };
        let sight = Sight {
            has_hold_ended: true,
            ..*sight
        };
        let known = Case {
            event: &Event::Rescue { sight },
            terms: &Terms::default(),
            ..*case
        };
        if known.step() == Step::Same {
            assert_eq!(case.step(), Step::Same, "{case:?}");
        }
    });
}

#[test]
fn every_unfinished_row_moves_on_or_waits_for_a_person_once_it_is_due() {
    use tombola_core::award::Sight;
    each_case(|case| {
        let Event::Rescue {
            sight:
                Sight {
                    is_lagging: false,
                    is_breaker_open: false,
                    ..
                },
        } = case.event
        else {
            return;
        };
        if case.row.due_at.is_some_and(|due| due <= case.now) {
            let Step::Changed(change) = case.step() else {
                panic!("stuck: {case:?}")
            };
            let is_told = change.publish || change.alert || change.row.state.is_final();
            assert!(is_told, "{case:?}");
        }
    });
}
