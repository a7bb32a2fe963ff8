//! Each fact that is amiss is found by its own check, and by no other.

use super::*;
use crate::api::CheckState;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_store::processes::ProcessFact;

const OURS: [u8; 16] = [7; 16];

fn good() -> ServerFacts {
    ServerFacts {
        version: "15.4".to_owned(),
        version_number: 150_004,
        is_in_recovery: false,
        synchronous_commit: "on".to_owned(),
        synchronous_standby_names: String::new(),
        standbys: 0,
        has_fsync: true,
        has_full_page_writes: true,
        now: 1_771_000_000_000_000,
        clock_ahead: 1200,
        connections_max: 100,
        connections_reserved: 3,
        connections_limit: None,
        connections_used: 21,
        connections_elsewhere: 0,
        connections_ours: 20,
        settings_lost: Vec::new(),
        is_pooled: false,
        timeouts: Vec::new(),
        tls_version: Some("TLSv1.3".to_owned()),
        is_near: false,
        schema_present: 2,
        schema_newest: 2,
        schema_needs: 2,
        transactions: Vec::new(),
        oldest_snapshot: None,
        has_autovacuum: true,
        months_missing: Vec::new(),
    }
}

fn found(server: ServerFacts) -> Vec<Finding> {
    let rows = Ok(ServerRows {
        secrets: [(1, OURS)].into(),
        processes: Vec::new(),
    });
    check(&ServerFact { server, rows }, Ok(&[(1, OURS)].into()))
}

fn amiss(found: &[Finding]) -> Vec<(&str, CheckState)> {
    let not_ok = found.iter().filter(|it| it.state != CheckState::Ok);
    not_ok.map(|it| (it.name.as_str(), it.state)).collect()
}

/// What one change of the good facts is found by.
#[track_caller]
fn finds(change: impl FnOnce(&mut ServerFacts), name: &str, state: CheckState) -> Finding {
    let mut server = good();
    change(&mut server);
    let found = found(server);
    assert_eq!(amiss(&found), [(name, state)], "{found:?}");
    let mut found = found.into_iter().filter(|it| it.state != CheckState::Ok);
    let finding = found.next().unwrap();
    assert!(finding.mend.is_some(), "{finding:?}");
    finding
}

#[test]
fn good_server_is_ok_under_every_name() {
    let found = found(good());
    assert_eq!(amiss(&found), []);
    let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
    let (last, server) = names.split_last().unwrap();
    assert_eq!(server, NAMES);
    assert_eq!(*last, secrets::USED);
}

#[test]
fn each_fact_that_is_amiss_is_found_by_its_own_check() {
    let (warning, fault) = (CheckState::Warning, CheckState::Fault);
    finds(|it| it.version_number = 130_012, VERSION, fault);
    finds(|it| it.is_in_recovery = true, PRIMARY, fault);
    finds(|it| it.has_fsync = false, DURABILITY, fault);
    finds(|it| it.has_full_page_writes = false, DURABILITY, warning);
    finds(|it| it.clock_ahead = 600_000, CLOCK, warning);
    finds(|it| it.clock_ahead = -600_000, CLOCK, warning);
    finds(|it| it.clock_ahead = -2_000_001, CLOCK, fault);
    finds(|it| it.tls_version = None, TLS, warning);
    finds(|it| it.has_autovacuum = false, AUTOVACUUM, warning);
    let month = vec!["2026-02".to_owned()];
    finds(|it| it.months_missing = month, PARTITIONS, warning);
    let near = ServerFacts {
        tls_version: None,
        is_near: true,
        ..good()
    };
    assert_eq!(amiss(&found(near)), []);
}

#[test]
fn schema_that_is_behind_asks_for_migrate_up_and_one_that_we_do_not_know_for_the_newer_program() {
    let with = |present| ServerFacts {
        schema_present: present,
        ..good()
    };
    let behind = schema(&with(1));
    assert_eq!(behind.state, CheckState::Fault);
    assert!(behind.mend.unwrap().contains("`tombola migrate up`"));
    let ahead = schema(&with(3));
    assert_eq!(ahead.state, CheckState::Ok, "nothing that we have to know");
    let ahead = schema(&ServerFacts {
        schema_needs: 3,
        ..with(3)
    });
    assert_eq!(ahead.state, CheckState::Fault);
    assert_eq!(ahead.mend.unwrap(), "use the newer program");
    let rows = Err("other".to_owned());
    let server = with(1);
    let found = check(&ServerFact { server, rows }, Ok(&BTreeMap::new()));
    let not_checked = CheckState::NotChecked;
    assert_eq!(
        amiss(&found),
        [
            (SCHEMA, CheckState::Fault),
            (PARTITIONS, not_checked),
            (secrets::USED, not_checked)
        ]
    );
}

#[test]
fn durability_says_which_promise_the_settings_give() {
    let says = |commit: &str, standbys: &str| {
        let mut found = durability(&ServerFacts {
            synchronous_commit: commit.to_owned(),
            synchronous_standby_names: standbys.to_owned(),
            standbys: i64::from(!standbys.is_empty() && commit != "local"),
            ..good()
        });
        assert_eq!(found.len(), 1);
        let it = found.remove(0);
        (it.state, it.what)
    };
    assert_eq!(
        says("on", ""),
        (
            CheckState::Ok,
            "synchronous_commit on: a draw that was answered survives a crash of the server; not the loss \
             of its disk: there is no synchronous standby"
                .to_owned()
        )
    );
    let (state, what) = says("off", "b");
    assert_eq!(state, CheckState::Fault);
    assert!(what.contains("can be lost"), "{what}");
    for (commit, says_so) in [
        ("local", "it does not wait for the synchronous standbys"),
        ("remote_write", "unless the standby's machine fails too"),
        ("on", "and the loss of its disk: b had it on disk as well"),
        ("remote_apply", "b had it on disk as well"),
    ] {
        let (state, what) = says(commit, "b");
        assert_eq!(state, CheckState::Ok);
        assert!(what.contains(says_so), "{commit}: {what}");
    }
    let followed = |names: &str, commit: &str, standbys| {
        of_standbys(&ServerFacts {
            synchronous_commit: commit.to_owned(),
            synchronous_standby_names: names.to_owned(),
            standbys,
            ..good()
        })
    };
    for (names, commit) in [("", "on"), ("b", "local")] {
        let unwaited = followed(names, commit, 2);
        assert_eq!(unwaited.state, CheckState::Warning);
        let says_so = "nor a fail-over: no commit waits for the standbys that follow (2)";
        assert!(unwaited.what.ends_with(says_so), "{unwaited:?}");
    }
    let waiting = followed("b", "on", 0);
    assert_eq!(waiting.state, CheckState::Fault);
    assert!(waiting.what.contains("every commit waits"), "{waiting:?}");
    let careless = ServerFacts {
        synchronous_commit: "off".to_owned(),
        has_fsync: false,
        ..good()
    };
    assert_eq!(durability(&careless).len(), 2, "each has a mend of its own");
}

#[test]
fn connections_of_all_pools_are_weighed_against_those_that_there_are() {
    let process = ProcessFact {
        roles: "api".to_owned(),
        version: "1".to_owned(),
        host: "a".to_owned(),
        pid: 1,
        connections: 20,
        clock_off: Duration::ZERO,
        started_at: Timestamp(0),
        silent: Duration::ZERO,
    };
    let rows = |count| ServerRows {
        processes: vec![process.clone(); count],
        ..ServerRows::default()
    };
    let state = |server: &ServerFacts, count| connections(server, Some(&rows(count))).state;
    assert_eq!(state(&good(), 4), CheckState::Ok);
    let five = connections(&good(), Some(&rows(5)));
    assert_eq!(five.state, CheckState::Warning);
    assert_eq!(
        five.what,
        "21 of 97 connections are taken; 5 processes may have 100, and there is room for 97"
    );
    let mut dead = rows(5);
    dead.processes[0].silent = SILENT_MAX + Duration::from_micros(1);
    assert_eq!(connections(&good(), Some(&dead)).state, CheckState::Ok);
    let with = |change: fn(&mut ServerFacts)| {
        let mut server = good();
        change(&mut server);
        server
    };
    let shared = with(|it| it.connections_elsewhere = 30);
    assert_eq!(state(&shared, 4), CheckState::Warning);
    let bounded = with(|it| it.connections_limit = Some(10));
    assert_eq!(state(&bounded, 0), CheckState::Warning);
    let mend = |server: &ServerFacts| connections(server, None).mend.unwrap();
    assert!(mend(&bounded).starts_with("raise the connection limit of the role"));
    let small = with(|it| it.connections_max = 20);
    assert!(mend(&small).starts_with("raise max_connections"));
    let pooled = with(|it| it.is_pooled = true);
    assert_eq!(state(&pooled, 5), CheckState::Ok);
    let full = with(|it| it.connections_used = 97);
    assert_eq!(state(&full, 1), CheckState::Fault);
}

#[test]
fn limits_that_a_pooler_lost_are_named_with_its_setting() {
    let lost = LostSetting {
        name: "lock_timeout".to_owned(),
        expected: "5000".to_owned(),
        found: "0".to_owned(),
    };
    let finding = finds(
        |it| it.settings_lost = vec![lost],
        POOLER,
        CheckState::Fault,
    );
    assert!(
        finding.what.contains("lock_timeout is 0, was set to 5000"),
        "{finding:?}"
    );
    assert!(finding.mend.unwrap().contains("pool_mode = session"));
    finds(|it| it.is_pooled = true, POOLER, CheckState::Fault);
}

#[test]
fn timeouts_that_the_server_has_for_us_are_named_with_the_statement_that_ends_them() {
    for name in ["idle_session_timeout", "transaction_timeout"] {
        let timeout = ServerTimeout {
            name: name.to_owned(),
            ms: 60_000,
            source: "user".to_owned(),
        };
        let finding = finds(
            |it| it.timeouts = vec![timeout],
            TIMEOUTS,
            CheckState::Warning,
        );
        assert!(finding.what.starts_with(&format!("{name} is 60000 ms")));
        let mend = finding.mend.unwrap();
        assert!(mend.contains(&format!("SET {name} = 0")), "{mend}");
    }
}

#[test]
fn who_keeps_the_server_from_tidying_up_is_named_with_the_call_that_ends_it() {
    let open = |open_ms| OpenTransaction {
        pid: 77,
        application: "psql".to_owned(),
        role: "ann".to_owned(),
        state: "idle in transaction".to_owned(),
        open_ms,
    };
    let long = vec![open(12 * 60_000), open(300_000)];
    let finding = finds(
        |it| it.transactions = long,
        TRANSACTIONS,
        CheckState::Warning,
    );
    assert_eq!(
        finding.what,
        "\"psql\" of role ann has a transaction open since 12 minutes (idle in transaction)"
    );
    assert!(finding.mend.unwrap().contains("pg_terminate_backend(77)"));
    let held = |kind: &str, transactions| HeldSnapshot {
        kind: kind.to_owned(),
        name: "77".to_owned(),
        application: "psql".to_owned(),
        transactions,
    };
    for (kind, mend) in [
        ("session", "pg_terminate_backend(77)"),
        ("prepared", "ROLLBACK PREPARED '77'"),
        ("slot", "pg_drop_replication_slot('77')"),
    ] {
        let old = Some(held(kind, SNAPSHOT_MAX + 1));
        let finding = finds(|it| it.oldest_snapshot = old, SNAPSHOT, CheckState::Warning);
        assert!(finding.mend.unwrap().contains(mend), "{kind}");
    }
    let young = held("session", SNAPSHOT_MAX);
    assert_eq!(snapshot(Some(&young)).state, CheckState::Ok);
}

#[test]
fn secret_that_the_database_was_not_used_with_is_found_there_too() {
    let rows = Ok(ServerRows {
        secrets: [(1, OURS)].into(),
        processes: Vec::new(),
    });
    let server = good();
    let fact = ServerFact { server, rows };
    let another = check(&fact, Ok(&[(1, [8; 16])].into()));
    assert_eq!(amiss(&another), [(secrets::USED, CheckState::Fault)]);
    let none = check(&fact, Err("secret.key cannot be read"));
    assert_eq!(amiss(&none), [(secrets::USED, CheckState::NotChecked)]);
}

#[test]
fn server_that_is_out_of_reach_is_one_fault_that_names_the_part_of_the_url() {
    for (at, part) in [
        (ObstacleAt::Host, "the host in database.url"),
        (ObstacleAt::Port, "host and port in database.url"),
        (ObstacleAt::Tls, "sslmode and sslrootcert"),
        (ObstacleAt::Role, "the role in database.url"),
        (ObstacleAt::Password, "the password in database.url"),
        (ObstacleAt::Database, "the database's name"),
        (ObstacleAt::Connections, "max_connections"),
        (ObstacleAt::Time, "look again"),
        (ObstacleAt::Pooler, "pool_mode = session"),
        (ObstacleAt::Unknown, "each part of database.url"),
    ] {
        let said = "no".to_owned();
        let found = unreachable(&Obstacle { at, said });
        let faults: Vec<_> = found
            .iter()
            .filter(|it| it.state == CheckState::Fault)
            .collect();
        assert_eq!(faults.len(), 1);
        let mend = faults[0].mend.as_deref().unwrap();
        assert!(mend.contains(part), "{at:?}: {mend}");
        let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names[..NAMES.len()], NAMES);
    }
}
