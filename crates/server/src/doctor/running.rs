//! What the running server says of itself and of its database.

use super::{broker, database, not_checked, postgres, processes, secrets, work};
use crate::api::{DoctorDoc, Finding};
use crate::app::App;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::limits::CLOCK_OFF_MAX;
use tombola_core::ports::StoreError;
use tombola_engine::SystemClock;
use tombola_engine::breaker::BreakerState;
use tombola_store::postgres::{PostgresOptions, ServerFact, obstacle};
use tombola_store::read::{DatabaseFact, WorkFact};

const CLOCK: &str = "clock";
const BREAKERS: &str = "deliveries.breakers";

/// The checks that only a running server can make, by name.
pub(super) const NAMES: [&str; 3] = [CLOCK, broker::TOPIC, BREAKERS];

/// Every check of the server, on its own database.
pub(crate) async fn served(app: &App) -> DoctorDoc {
    let review = app.config().delivery.hold_review.0;
    let work = app.store().work_fact(app.now(), review).await;
    let work = work.map_err(|error| error.to_string());
    let work = work.as_ref().map_err(String::as_str);
    let ours = app.claims().secrets().seal_keys().marks();
    let mut found = match app.store().database_fact(SystemClock::wall).await {
        Ok(DatabaseFact::File(file)) => {
            let mut found = database::check(&file);
            found.push(secrets::used(&ours, &file.secrets));
            found.extend(of_work(work, app.now()));
            found
        }
        Ok(DatabaseFact::Server(fact)) => {
            let mut found = postgres::check(&fact, Ok(&ours));
            found.extend(rows(&fact, work));
            found
        }
        Err(error) => {
            if let Ok(Some(options)) = app.config().database.postgres() {
                out_of_reach(&options, &error).await
            } else {
                let mut found = vec![database::unreadable(&error)];
                found.extend(of_work(work, app.now()));
                found
            }
        }
    };
    match app.store().endpoint_list(app.now()).await {
        Ok(endpoints) => found.extend(breakers(app.breakers(&endpoints))),
        Err(error) => found.extend(not_checked(&[BREAKERS], &error.to_string())),
    }
    found.push(clock(app.clock_off(), app.store().is_shared()));
    found.extend(broker::of_server(app).await);
    DoctorDoc::of(found)
}

fn of_work(work: Result<&WorkFact, &str>, now: Timestamp) -> Vec<Finding> {
    match work {
        Ok(work) => work::check(work, now),
        Err(why) => not_checked(&work::NAMES, why),
    }
}

/// What rows on PostgreSQL tell: what needs a person, and who serves. The time is its
/// server's.
pub(super) fn rows(fact: &ServerFact, work: Result<&WorkFact, &str>) -> Vec<Finding> {
    let mut found = of_work(work, Timestamp(fact.server.now));
    let has_work = work.is_ok_and(|work| work.oldest_undelivered.is_some());
    match &fact.rows {
        Ok(rows) => found.extend(processes::check(&rows.processes, has_work)),
        Err(why) => found.extend(not_checked(&processes::NAMES, why)),
    }
    found
}

/// PostgreSQL could not be asked: which part of the url to look at, if it is that.
pub(super) async fn out_of_reach(options: &PostgresOptions, error: &StoreError) -> Vec<Finding> {
    let mut found = match obstacle(options).await {
        Some(obstacle) => postgres::unreachable(&obstacle),
        None => postgres::unanswered(&error.to_string()),
    };
    let why = "the database could not be asked";
    found.extend(not_checked(&work::NAMES, why));
    found.extend(not_checked(&processes::NAMES, why));
    found
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

/// Where the database is shared its server's time is everybody's, else this machine's.
fn clock(off: Duration, is_shared: bool) -> Finding {
    let whose = if is_shared { "database" } else { "machine" };
    let what = format!("{} ms off the {whose}'s time", off.as_millis());
    if off > CLOCK_OFF_MAX {
        let mend = "a machine's time has stepped: look at its time service; the server follows slowly, \
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
        for is_shared in [false, true] {
            assert_eq!(clock(CLOCK_OFF_MAX, is_shared).state, CheckState::Ok);
            let more = CLOCK_OFF_MAX + Duration::from_micros(1);
            assert_eq!(clock(more, is_shared).state, CheckState::Fault);
        }
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
