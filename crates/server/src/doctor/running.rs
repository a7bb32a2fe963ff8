//! What the running server says of itself and of its database.

use super::{broker, database, not_checked, secrets, work};
use crate::api::{DoctorDoc, Finding};
use crate::app::App;
use std::time::Duration;
use tombola_core::limits::CLOCK_OFF_MAX;
use tombola_engine::breaker::BreakerState;

const CLOCK: &str = "clock";
const BREAKERS: &str = "deliveries.breakers";

/// The checks that only a running server can make, by name.
pub(super) const NAMES: [&str; 3] = [CLOCK, broker::TOPIC, BREAKERS];

/// Every check of the server, on its own database.
pub(crate) async fn served(app: &App) -> DoctorDoc {
    let mut found = match app.store().database_fact().await {
        Ok(file) => {
            let mut found = database::check(&file);
            let ours = app.claims().secrets().seal_keys().marks();
            found.push(secrets::used(&ours, &file.secrets));
            found
        }
        Err(error) => vec![database::unreadable(&error)],
    };
    let review = app.config().delivery.hold_review.0;
    match app.store().work_fact(app.now(), review).await {
        Ok(rows) => found.extend(work::check(&rows, app.now())),
        Err(error) => found.extend(not_checked(&work::NAMES, &error.to_string())),
    }
    match app.store().endpoint_list(app.now()).await {
        Ok(endpoints) => found.extend(breakers(app.breakers(&endpoints))),
        Err(error) => found.extend(not_checked(&[BREAKERS], &error.to_string())),
    }
    found.push(clock(app.clock_off()));
    found.extend(broker::of_server(app).await);
    DoctorDoc::of(found)
}

fn breakers(states: Vec<(String, BreakerState)>) -> Vec<Finding> {
    let found: Vec<Finding> = states
        .into_iter()
        .filter_map(|(endpoint, state)| breaker(&endpoint, state))
        .collect();
    if found.is_empty() {
        vec![Finding::ok(BREAKERS, "every endpoint is called")]
    } else {
        found
    }
}

fn breaker(endpoint: &str, state: BreakerState) -> Option<Finding> {
    let what = match state {
        BreakerState::Closed => return None,
        BreakerState::Open => format!("endpoint {endpoint} fails and is not called for a while"),
        BreakerState::HalfOpen => format!("endpoint {endpoint} failed and is being tried"),
    };
    let mend = format!(
        "look at the endpoint; its awards wait and go on by themselves, \
         `tombola endpoint disable {endpoint}` holds them"
    );
    Some(Finding::warning(BREAKERS, what, mend))
}

fn clock(off: Duration) -> Finding {
    let what = format!("{} ms off the machine's time", off.as_millis());
    if off > CLOCK_OFF_MAX {
        let mend = "the machine's time has stepped: look at its time service; the server follows slowly, \
                    or start it anew";
        Finding::fault(CLOCK, what, mend)
    } else {
        Finding::ok(CLOCK, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;

    #[test]
    fn clock_that_is_off_by_more_than_two_seconds_is_a_fault() {
        assert_eq!(clock(CLOCK_OFF_MAX).state, CheckState::Ok);
        let more = CLOCK_OFF_MAX + Duration::from_micros(1);
        assert_eq!(clock(more).state, CheckState::Fault);
    }

    #[test]
    fn breaker_is_named_unless_it_is_closed() {
        assert_eq!(breaker("rides", BreakerState::Closed), None);
        for state in [BreakerState::Open, BreakerState::HalfOpen] {
            let found = breaker("rides", state).unwrap();
            assert_eq!(found.state, CheckState::Warning);
            assert!(found.what.contains("rides"));
        }
    }
}
