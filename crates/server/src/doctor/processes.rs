//! Who serves a database that many may serve: whether each role is played by somebody
//! who is alive, under one version, and by the database's time.

use super::about;
use crate::api::Finding;
use crate::app::ServeRole;
use std::collections::BTreeSet;
use tombola_core::limits::{CLOCK_OFF_MAX, DOCTOR_NAMED_MAX};
use tombola_store::processes::{ProcessFact, SILENT_MAX};

const ALIVE: &str = "processes";
const VERSIONS: &str = "processes.versions";
const CLOCKS: &str = "processes.clocks";

/// Every check of the processes, by name.
pub(super) const NAMES: [&str; 3] = [ALIVE, VERSIONS, CLOCKS];

/// `has_work` says whether awards are on their way: then somebody has to be there.
pub(super) fn check(processes: &[ProcessFact], has_work: bool) -> Vec<Finding> {
    let is_alive = |it: &&ProcessFact| it.silent <= SILENT_MAX;
    let alive: Vec<&ProcessFact> = processes.iter().filter(is_alive).collect();
    let mut found = roles(&alive, has_work);
    found.push(versions(&alive));
    found.extend(clocks(&alive));
    found
}

fn roles(alive: &[&ProcessFact], has_work: bool) -> Vec<Finding> {
    if alive.is_empty() {
        let mend = "`tombola serve`";
        return vec![if has_work {
            let what = "nobody serves, and awards are on their way";
            Finding::fault(ALIVE, what, mend)
        } else {
            Finding::warning(ALIVE, "nobody serves", mend)
        }];
    }
    let missing: Vec<Finding> = [
        (ServeRole::Api, "nobody draws"),
        (ServeRole::Worker, "nothing is delivered"),
        (ServeRole::Rescue, "what is overdue is not put back"),
    ]
    .into_iter()
    .filter(|(role, _)| !alive.iter().any(|it| plays(it, *role)))
    .map(|(role, what)| {
        let seconds = SILENT_MAX.as_secs();
        let name = role.name();
        Finding::fault(
            ALIVE,
            format!("no process with the role {name} told of itself within {seconds} s: {what}"),
            format!("`tombola serve --roles {name}`, or give a process that role as well"),
        )
    })
    .collect();
    if missing.is_empty() {
        return vec![Finding::ok(ALIVE, list(alive))];
    }
    missing
}

fn plays(it: &ProcessFact, role: ServeRole) -> bool {
    it.roles.split(',').any(|name| name == role.name())
}

fn list(alive: &[&ProcessFact]) -> String {
    let named = alive.iter().take(DOCTOR_NAMED_MAX);
    let mut all: Vec<String> = named
        .map(|it| format!("{} ({})", name(it), it.roles))
        .collect();
    if alive.len() > DOCTOR_NAMED_MAX {
        all.push(format!("and {} more", alive.len() - DOCTOR_NAMED_MAX));
    }
    format!("alive: {}", all.join(", "))
}

/// `host/pid`
fn name(it: &ProcessFact) -> String {
    format!("{}/{}", it.host, it.pid)
}

fn versions(alive: &[&ProcessFact]) -> Finding {
    let all: BTreeSet<&str> = alive.iter().map(|it| it.version.as_str()).collect();
    let all: Vec<&str> = all.into_iter().collect();
    match all.as_slice() {
        [] => Finding::not_checked(VERSIONS, "nobody serves"),
        [one] => Finding::ok(VERSIONS, format!("all are {one}")),
        many => {
            let oldest = alive.iter().find(|it| it.version == many[0]);
            let place = oldest.map(|it| name(it)).unwrap_or_default();
            Finding::warning(
                VERSIONS,
                format!(
                    "versions {} serve side by side; {place} is {}",
                    many.join(", "),
                    many[0]
                ),
                "an upgrade is under way: stop the old ones when the new ones are well",
            )
        }
    }
}

fn clocks(alive: &[&ProcessFact]) -> Vec<Finding> {
    let off: Vec<Finding> = alive
        .iter()
        .filter(|it| it.clock_off > CLOCK_OFF_MAX)
        .take(DOCTOR_NAMED_MAX)
        .map(|it| {
            let what = format!(
                "{} is {} off the database's time, and not ready",
                name(it),
                about(it.clock_off)
            );
            let mend = "look at the time service of that machine; the process follows slowly, or start it \
                        anew";
            Finding::fault(CLOCKS, what, mend)
        })
        .collect();
    if !off.is_empty() {
        return off;
    }
    if alive.is_empty() {
        return vec![Finding::not_checked(CLOCKS, "nobody serves")];
    }
    vec![Finding::ok(CLOCKS, "all follow the database's time")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;
    use std::time::Duration;
    use tombola_core::Timestamp;

    fn process(roles: &str) -> ProcessFact {
        ProcessFact {
            roles: roles.to_owned(),
            version: "1.2.3".to_owned(),
            host: "a".to_owned(),
            pid: 7,
            connections: 20,
            clock_off: Duration::from_millis(1),
            started_at: Timestamp(0),
            silent: Duration::from_secs(5),
        }
    }

    fn amiss(processes: &[ProcessFact]) -> Vec<(String, CheckState)> {
        let found = check(processes, true).into_iter();
        found
            .filter(|it| it.state != CheckState::Ok)
            .map(|it| (it.name, it.state))
            .collect()
    }

    fn is(name: &str, state: CheckState) -> Vec<(String, CheckState)> {
        vec![(name.to_owned(), state)]
    }

    #[test]
    fn roles_may_be_played_by_one_process_or_by_many() {
        assert_eq!(amiss(&[process("api,worker,rescue,console")]), []);
        let split = [process("api"), process("worker"), process("rescue,console")];
        assert_eq!(amiss(&split), []);
        let names: Vec<_> = check(&split, false).into_iter().map(|it| it.name).collect();
        assert_eq!(names, NAMES);
        let list = &check(&split, false)[0].what;
        assert_eq!(list, "alive: a/7 (api), a/7 (worker), a/7 (rescue,console)");
    }

    #[test]
    fn role_that_nobody_alive_plays_is_a_fault_that_names_the_command() {
        let mut rescuer = process("rescue");
        rescuer.silent = SILENT_MAX + Duration::from_micros(1);
        let found = check(&[process("api,worker"), rescuer], false);
        assert_eq!(found[0].state, CheckState::Fault);
        let mend = found[0].mend.as_deref().unwrap();
        assert!(mend.contains("`tombola serve --roles rescue`"), "{mend}");
        let alone = check(&[process("console")], false);
        let faults = alone.iter().filter(|it| it.state == CheckState::Fault);
        assert_eq!(faults.count(), 3);
    }

    #[test]
    fn nobody_at_all_is_a_fault_only_while_awards_are_on_their_way() {
        assert_eq!(check(&[], false)[0].state, CheckState::Warning);
        assert_eq!(check(&[], true)[0].state, CheckState::Fault);
        assert_eq!(check(&[], true)[0].mend.as_deref(), Some("`tombola serve`"));
    }

    #[test]
    fn two_versions_side_by_side_and_a_clock_that_is_off_are_told() {
        let all = process("api,worker,rescue");
        let newer = ProcessFact {
            version: "1.3.0".to_owned(),
            ..all.clone()
        };
        let mixed = [all.clone(), newer];
        assert_eq!(amiss(&mixed), is(VERSIONS, CheckState::Warning));
        let off = ProcessFact {
            clock_off: CLOCK_OFF_MAX + Duration::from_micros(1),
            ..all
        };
        assert_eq!(amiss(&[off]), is(CLOCKS, CheckState::Fault));
    }
}
