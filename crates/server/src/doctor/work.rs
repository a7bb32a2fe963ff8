//! What of the rows needs a person: keys, campaigns, deliveries.

use super::{about, counts};
use crate::api::Finding;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::limits::DOCTOR_NAMED_MAX;
use tombola_core::ports::{PauseScope, Role};
use tombola_store::read::{Need, PrizeNeed, WorkFact};

const KEYS: &str = "keys";
const EXPIRY: &str = "keys.expiry";
const ENDPOINTS: &str = "campaigns.endpoints";
const CODES: &str = "campaigns.codes";
const PAUSED: &str = "deliveries.paused";
const OLDEST: &str = "deliveries.oldest";
const DEAD: &str = "deliveries.dead_letters";
const HOLDS: &str = "deliveries.holds";

/// Every check of the rows, by name.
pub(super) const NAMES: [&str; 8] = [KEYS, EXPIRY, ENDPOINTS, CODES, PAUSED, OLDEST, DEAD, HOLDS];

/// Keys that end within this are told of.
const EXPIRY_SOON: Duration = Duration::from_hours(14 * 24);
/// An award that is on its way longer than this is told of.
const OLDEST_MAX: Duration = Duration::from_hours(1);

pub(super) fn check(fact: &WorkFact, now: Timestamp) -> Vec<Finding> {
    let mut found = vec![keys(fact)];
    found.extend(expiry(fact, now));
    found.extend(needs(fact));
    found.extend(paused(fact, now));
    found.extend([oldest(fact, now), dead(fact), holds(fact)]);
    found
}

/// The findings, or the one that says that nothing is amiss.
fn or_ok(mut found: Vec<Finding>, name: &str, what: &str) -> Vec<Finding> {
    if found.is_empty() {
        return vec![Finding::ok(name, what)];
    }
    let more = found.len().saturating_sub(DOCTOR_NAMED_MAX);
    found.truncate(DOCTOR_NAMED_MAX);
    if let (Some(last), true) = (found.last_mut(), more > 0) {
        last.what = format!("{}; and {more} more", last.what);
    }
    found
}

fn keys(fact: &WorkFact) -> Finding {
    let is_admin = |role| role == Role::Admin;
    if fact.keys.iter().any(|key| is_admin(key.role)) {
        Finding::ok(KEYS, format!("{} keys are good", fact.keys.len()))
    } else {
        Finding::warning(
            KEYS,
            "no admin key is good: only commands of this machine may do everything",
            "`tombola key create --role admin` if one is needed; a first start makes it by itself",
        )
    }
}

fn expiry(fact: &WorkFact, now: Timestamp) -> Vec<Finding> {
    let ends = fact
        .keys
        .iter()
        .filter_map(|key| Some((key, key.expires_at?)))
        .filter(|(_, end)| *end <= now.plus(EXPIRY_SOON));
    let found = ends.map(|(key, end)| {
        Finding::warning(
            EXPIRY,
            format!(
                "key {} of {}, role {}, ends in {}",
                key.id,
                key.client,
                key.role,
                about(end.since(now))
            ),
            format!(
                "`tombola key create --role {} --client {}` makes its successor",
                key.role, key.client
            ),
        )
    });
    or_ok(found.collect(), EXPIRY, "no key ends within 14 days")
}

fn needs(fact: &WorkFact) -> Vec<Finding> {
    let (codes, endpoints): (Vec<_>, Vec<_>) = fact
        .needs
        .iter()
        .partition(|it| matches!(it.need, Need::Codes { .. }));
    let found = |needs: Vec<&PrizeNeed>| needs.into_iter().map(need).collect();
    let mut all = or_ok(
        found(endpoints),
        ENDPOINTS,
        "every endpoint of a started campaign is there and enabled",
    );
    all.extend(or_ok(
        found(codes),
        CODES,
        "every prize of a started campaign has as many codes as units",
    ));
    all
}

fn need(it: &PrizeNeed) -> Finding {
    let (campaign, prize) = (&it.campaign, &it.prize);
    match &it.need {
        Need::EndpointGone(name) => Finding::fault(
            ENDPOINTS,
            format!("{campaign}/{prize}: there is no endpoint {name}"),
            "`tombola endpoint put FILE` brings it back",
        ),
        Need::EndpointDisabled(name) => Finding::fault(
            ENDPOINTS,
            format!("{campaign}/{prize}: endpoint {name} is disabled, its awards are held"),
            format!("`tombola endpoint enable {name}` when it is well again"),
        ),
        Need::Codes { free, left } => {
            let units = left.map_or_else(
                || "unlimited units".to_owned(),
                |left| format!("{left} units"),
            );
            let what =
                format!("{campaign}/{prize}: {free} codes are free for {units} that can be won");
            let mend = format!("`tombola code import {campaign} {prize} FILE.csv`");
            if *free == 0 {
                Finding::fault(CODES, what, mend)
            } else {
                Finding::warning(CODES, what, mend)
            }
        }
    }
}

fn paused(fact: &WorkFact, now: Timestamp) -> Vec<Finding> {
    let found = fact.pauses.iter().map(|it| {
        Finding::warning(
            PAUSED,
            format!(
                "{} are paused since {}",
                said(&it.scope),
                about(now.since(it.at))
            ),
            format!(
                "`tombola delivery resume{} --reason …` when they may go on",
                flags(&it.scope)
            ),
        )
    });
    or_ok(found.collect(), PAUSED, "no deliveries are paused")
}

fn said(scope: &PauseScope) -> String {
    let parts: Vec<String> = [
        scope.campaign.as_ref().map(|it| format!("campaign {it}")),
        scope.prize.as_ref().map(|it| format!("prize {it}")),
        scope.endpoint.as_ref().map(|it| format!("endpoint {it}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        "all deliveries".to_owned()
    } else {
        format!("deliveries of {}", parts.join(", "))
    }
}

fn flags(scope: &PauseScope) -> String {
    [
        ("campaign", &scope.campaign),
        ("prize", &scope.prize),
        ("endpoint", &scope.endpoint),
    ]
    .into_iter()
    .filter_map(|(flag, value)| Some(format!(" --{flag} {}", value.as_ref()?)))
    .collect()
}

fn oldest(fact: &WorkFact, now: Timestamp) -> Finding {
    match fact.oldest_undelivered.map(|at| now.since(at)) {
        None => Finding::ok(OLDEST, "nothing is on its way"),
        Some(age) if age <= OLDEST_MAX => Finding::ok(
            OLDEST,
            format!("the oldest award on its way was won {} ago", about(age)),
        ),
        Some(age) => Finding::warning(
            OLDEST,
            format!("an award is on its way since {}", about(age)),
            "`tombola award list --state retryable`, and `--state pending`, show those; \
             `tombola award show ID` says what it waits for",
        ),
    }
}

fn dead(fact: &WorkFact) -> Finding {
    if fact.dead.is_empty() {
        return Finding::ok(DEAD, "there are no dead letters");
    }
    let by_reason = counts(fact.dead.iter().map(|(reason, count)| (reason, *count)));
    let mend = "`tombola dead-letter list`, then requeue or cancel them";
    Finding::warning(DEAD, format!("awards were given up on: {by_reason}"), mend)
}

fn holds(fact: &WorkFact) -> Finding {
    if fact.held_long.is_empty() {
        return Finding::ok(HOLDS, "no hold has waited longer than a review");
    }
    let by_reason = counts(
        fact.held_long
            .iter()
            .map(|(reason, count)| (reason, *count)),
    );
    Finding::warning(
        HOLDS,
        format!("held longer than a review: {by_reason}"),
        "`tombola award list --state held`, then do what each waits for",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;
    use tombola_core::reason::DeadReason;
    use tombola_store::read::{KeyFact, PauseFact};

    const NOW: Timestamp = Timestamp(1_771_000_000_000_000);

    fn key(role: Role, ends_in: Option<Duration>) -> KeyFact {
        KeyFact {
            id: 7,
            client: "app".to_owned(),
            role,
            expires_at: ends_in.map(|span| NOW.plus(span)),
        }
    }

    fn good() -> WorkFact {
        WorkFact {
            keys: vec![key(Role::Admin, None)],
            ..WorkFact::default()
        }
    }

    fn amiss(fact: &WorkFact) -> Vec<(String, CheckState)> {
        let found = check(fact, NOW).into_iter();
        found
            .filter(|it| it.state != CheckState::Ok)
            .map(|it| (it.name, it.state))
            .collect()
    }

    fn is(name: &str, state: CheckState) -> Vec<(String, CheckState)> {
        vec![(name.to_owned(), state)]
    }

    #[test]
    fn rows_that_need_nobody_are_ok_under_every_name() {
        let names: Vec<_> = check(&good(), NOW).into_iter().map(|it| it.name).collect();
        assert_eq!(names, NAMES);
        assert_eq!(amiss(&good()), []);
    }

    #[test]
    fn each_thing_that_needs_a_person_is_found_by_its_own_check() {
        let warning = CheckState::Warning;
        let no_admin = WorkFact {
            keys: vec![key(Role::Client, None)],
            ..good()
        };
        assert_eq!(amiss(&no_admin), is(KEYS, warning));
        let ends = |span| WorkFact {
            keys: vec![key(Role::Admin, Some(span))],
            ..good()
        };
        assert_eq!(
            amiss(&ends(Duration::from_hours(13 * 24))),
            is(EXPIRY, warning)
        );
        assert_eq!(amiss(&ends(Duration::from_hours(15 * 24))), []);
        let dead = WorkFact {
            dead: [(DeadReason::Exhausted, 3)].into(),
            ..good()
        };
        assert_eq!(amiss(&dead), is(DEAD, warning));
        let old = |age| WorkFact {
            oldest_undelivered: Some(NOW.minus(age)),
            ..good()
        };
        assert_eq!(amiss(&old(Duration::from_hours(2))), is(OLDEST, warning));
        assert_eq!(amiss(&old(Duration::from_mins(2))), []);
    }

    #[test]
    fn codes_that_run_out_are_a_warning_and_none_at_all_a_fault() {
        let short = |free| WorkFact {
            needs: vec![PrizeNeed {
                campaign: "fair".to_owned(),
                prize: "coffee".to_owned(),
                need: Need::Codes {
                    free,
                    left: Some(3),
                },
            }],
            ..good()
        };
        assert_eq!(amiss(&short(2)), is(CODES, CheckState::Warning));
        assert_eq!(amiss(&short(0)), is(CODES, CheckState::Fault));
    }

    #[test]
    fn pause_is_named_with_the_command_that_ends_exactly_it() {
        let pause = |campaign: Option<&str>, endpoint: Option<&str>| PauseFact {
            scope: PauseScope {
                campaign: campaign.map(str::to_owned),
                prize: None,
                endpoint: endpoint.map(str::to_owned),
            },
            at: NOW.minus(Duration::from_hours(5)),
        };
        let fact = WorkFact {
            pauses: vec![pause(None, None), pause(Some("fair"), Some("rides"))],
            ..good()
        };
        let mends: Vec<_> = paused(&fact, NOW)
            .into_iter()
            .filter_map(|it| it.mend)
            .collect();
        assert!(
            mends[0].starts_with("`tombola delivery resume --reason …`"),
            "{mends:?}"
        );
        assert!(
            mends[1].contains("resume --campaign fair --endpoint rides --reason …`"),
            "{mends:?}"
        );
    }

    #[test]
    fn many_things_of_one_kind_are_named_up_to_a_bound_and_counted() {
        let fact = WorkFact {
            keys: vec![key(Role::Admin, Some(Duration::from_hours(1))); 25],
            ..good()
        };
        let found = expiry(&fact, NOW);
        assert_eq!(found.len(), DOCTOR_NAMED_MAX);
        assert!(found[DOCTOR_NAMED_MAX - 1].what.ends_with("and 15 more"));
    }
}
