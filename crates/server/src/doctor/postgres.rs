//! The database on PostgreSQL: whether it can be reached, what it promises of an answered
//! draw, whether our limits are in force, and what would keep it from going on.

use super::{about, not_checked, secrets};
use crate::api::Finding;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;
use tombola_core::limits::CLOCK_OFF_MAX;
use tombola_store::postgres::{
    HeldSnapshot, LostSetting, Obstacle, ObstacleAt, OpenTransaction, ServerFact, ServerFacts,
    ServerRows, ServerTimeout, VERSION_MIN,
};
use tombola_store::processes::SILENT_MAX;

const REACHABLE: &str = "database.reachable";
const VERSION: &str = "database.version";
const SCHEMA: &str = "database.schema";
const PRIMARY: &str = "database.primary";
const DURABILITY: &str = "database.durability";
const CLOCK: &str = "database.clock";
const CONNECTIONS: &str = "database.connections";
const POOLER: &str = "database.pooler";
const TIMEOUTS: &str = "database.timeouts";
const TLS: &str = "database.tls";
const TRANSACTIONS: &str = "database.transactions";
const SNAPSHOT: &str = "database.snapshot";
const AUTOVACUUM: &str = "database.autovacuum";
const PARTITIONS: &str = "database.partitions";

/// Every check that needs the server, by name.
pub(super) const NAMES: [&str; 14] = [
    REACHABLE,
    VERSION,
    SCHEMA,
    PRIMARY,
    DURABILITY,
    CLOCK,
    CONNECTIONS,
    POOLER,
    TIMEOUTS,
    TLS,
    TRANSACTIONS,
    SNAPSHOT,
    AUTOVACUUM,
    PARTITIONS,
];

/// The mend of a pooler that shares connections by transaction.
const SESSION_MODE: &str = "let the pooler keep a connection for a session (PgBouncer: pool_mode = session), or \
                            name the server itself in database.url";
/// A machine that is further off its database's server than this is told of.
const CLOCK_OFF_SEEN: Duration = Duration::from_millis(500);
/// A transaction that is open for longer is told of.
const TRANSACTION_MAX: Duration = Duration::from_mins(5);
/// A state that is older than that many transactions is told of.
const SNAPSHOT_MAX: i64 = 1_000_000;

/// The server's facts, and the marks of the secrets of this directory.
pub(super) fn check(
    fact: &ServerFact,
    marks: Result<&BTreeMap<i32, [u8; 16]>, &str>,
) -> Vec<Finding> {
    let server = &fact.server;
    let mut found = vec![
        Finding::ok(REACHABLE, "it answers"),
        version(server),
        schema(server),
        primary(server),
    ];
    found.extend(durability(server));
    found.extend([
        clock(server.clock_ahead),
        connections(server, fact.rows.as_ref().ok()),
        pooler(server),
    ]);
    found.extend(timeouts(&server.timeouts));
    found.push(tls(server));
    found.extend(transactions(&server.transactions));
    found.extend([
        snapshot(server.oldest_snapshot.as_ref()),
        autovacuum(server),
        partitions(server),
        match (marks, &fact.rows) {
            (Ok(ours), Ok(rows)) => secrets::used(ours, &rows.secrets),
            (Err(why), _) => Finding::not_checked(secrets::USED, why),
            (_, Err(why)) => Finding::not_checked(secrets::USED, why),
        },
    ]);
    found
}

/// Nothing else can be said of it.
pub(super) fn unreachable(obstacle: &Obstacle) -> Vec<Finding> {
    let mut found = vec![Finding::fault(
        REACHABLE,
        &obstacle.said,
        look_at(obstacle.at),
    )];
    found.extend(unknown("the database cannot be reached"));
    found
}

/// It was reached, and asking it failed.
pub(super) fn unanswered(why: &str) -> Vec<Finding> {
    let mend = "look into the server's log of that instant, then ask again";
    let mut found = vec![Finding::fault(REACHABLE, why, mend)];
    found.extend(unknown("the database did not answer"));
    found
}

fn unknown(why: &str) -> Vec<Finding> {
    let rest = NAMES.iter().filter(|name| **name != REACHABLE);
    let mut found: Vec<_> = rest.map(|name| Finding::not_checked(name, why)).collect();
    found.extend(not_checked(&[secrets::USED], why));
    found
}

fn look_at(place: ObstacleAt) -> &'static str {
    match place {
        ObstacleAt::Host => {
            "look at the host in database.url: whether its name has an address here, and whether a \
             firewall lies on the way"
        }
        ObstacleAt::Port => {
            "nobody listens there: look at host and port in database.url, then whether PostgreSQL runs \
             and its listen_addresses let this machine in"
        }
        ObstacleAt::Standby => {
            "no server of database.url takes writes: promote the standby if its primary is gone \
             (`pg_ctl promote`), else name the primary there"
        }
        ObstacleAt::Tls => {
            "look at sslmode and sslrootcert in database.url: the certificate has to be for that host, \
             and signed by who is trusted"
        }
        ObstacleAt::Role => {
            "look at the role in database.url, then at pg_hba.conf of the server: it says who may come \
             from where"
        }
        ObstacleAt::Password => {
            "look at the password in database.url, or in the file that database.url_file names"
        }
        ObstacleAt::Database => {
            "look at the database's name at the end of database.url, or make it: `createdb NAME`"
        }
        ObstacleAt::Connections => {
            "the url is right: raise max_connections of the server, or lower database.connections_max of \
             each process"
        }
        ObstacleAt::Time => "the url is right: the server starts, stops or recovers; look again",
        ObstacleAt::Pooler => SESSION_MODE,
        ObstacleAt::Unknown => "look at each part of database.url",
    }
}

fn version(server: &ServerFacts) -> Finding {
    let what = format!("PostgreSQL {}", server.version);
    if server.version_number < VERSION_MIN {
        let oldest = VERSION_MIN / 10_000;
        let mend = format!("use version {oldest} or newer: nothing is served from an older one");
        Finding::fault(VERSION, what, mend)
    } else {
        Finding::ok(VERSION, what)
    }
}

fn schema(server: &ServerFacts) -> Finding {
    let (present, newest) = (server.schema_present, server.schema_newest);
    let what = format!("schema {present} of {newest}");
    match present.cmp(&newest) {
        Ordering::Greater if server.schema_fits() => Finding::ok(
            SCHEMA,
            format!("{what}: a newer program migrated it, and this one may work on it"),
        ),
        Ordering::Greater => Finding::fault(
            SCHEMA,
            format!(
                "{what}: a newer program migrated it, and {} is needed",
                server.schema_needs
            ),
            "use the newer program",
        ),
        Ordering::Less => Finding::fault(
            SCHEMA,
            what,
            "take a backup, then `tombola migrate up`; `tombola migrate plan` says what it applies",
        ),
        Ordering::Equal => Finding::ok(SCHEMA, what),
    }
}

fn primary(server: &ServerFacts) -> Finding {
    if server.is_in_recovery {
        Finding::fault(
            PRIMARY,
            "the server is a standby, which takes no writes",
            "promote it if its primary is gone (`pg_ctl promote`), else name the primary in database.url: of \
             several hosts there the one is found that takes writes",
        )
    } else {
        Finding::ok(PRIMARY, "the server takes writes")
    }
}

/// Which of our promises the settings give.
fn durability(server: &ServerFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if server.synchronous_commit == "off" {
        found.push(Finding::fault(
            DURABILITY,
            "synchronous_commit is off: a draw that was answered can be lost when the server crashes",
            "`ALTER DATABASE … SET synchronous_commit = on`, and see that neither the role nor \
             postgresql.conf sets it off; then start every process anew",
        ));
    }
    if !server.has_fsync {
        found.push(Finding::fault(
            DURABILITY,
            "fsync is off: a crash of the machine can destroy the whole database",
            "set fsync = on in postgresql.conf and reload it",
        ));
    }
    if !server.has_full_page_writes {
        found.push(Finding::warning(
            DURABILITY,
            "full_page_writes is off: a page that is torn in a crash cannot be mended",
            "set full_page_writes = on, unless the file system itself never tears a page",
        ));
    }
    if found.is_empty() {
        found.push(of_standbys(server));
    }
    found
}

/// What standbys make of the promise that the server keeps by itself.
fn of_standbys(server: &ServerFacts) -> Finding {
    let promise = promise(server);
    let is_waited_for =
        !server.synchronous_standby_names.is_empty() && server.synchronous_commit != "local";
    match (is_waited_for, server.standbys) {
        (true, 0) => Finding::fault(
            DURABILITY,
            format!("{promise}; but no standby follows now, and every commit waits for one"),
            "start the standby, or see why it does not follow; without one, and without the promise, empty \
             synchronous_standby_names and reload it",
        ),
        (false, 1..) => Finding::warning(
            DURABILITY,
            format!(
                "{promise}; nor a fail-over: no commit waits for the standbys that follow ({})",
                server.standbys
            ),
            "set synchronous_standby_names, such as 'ANY 1 (*)', with at least two standbys, so that one may \
             be away; docs/guides/fail-over.md says what is lost else",
        ),
        (true | false, _) => Finding::ok(DURABILITY, promise),
    }
}

fn promise(server: &ServerFacts) -> String {
    let commit = &server.synchronous_commit;
    let standbys = &server.synchronous_standby_names;
    let kept = match (standbys.is_empty(), commit.as_str()) {
        (true, _) => "not the loss of its disk: there is no synchronous standby".to_owned(),
        (false, "local") => {
            "not the loss of its disk: it does not wait for the synchronous standbys".to_owned()
        }
        (false, "remote_write") => format!(
            "and the loss of its disk, unless the standby's machine fails too: {standbys} had it in \
             memory"
        ),
        (false, _) => {
            format!("and the loss of its disk: {standbys} had it on disk as well")
        }
    };
    format!(
        "synchronous_commit {commit}: a draw that was answered survives a crash of the server; {kept}"
    )
}

fn clock(ahead: i64) -> Finding {
    let off = Duration::from_micros(ahead.unsigned_abs());
    let side = if ahead > 0 { "behind" } else { "ahead of" };
    let what = format!(
        "this machine is {} ms {side} the database's server",
        off.as_millis()
    );
    let mend =
        "look at the time service of both machines; processes follow the server's time, slowly";
    if off > CLOCK_OFF_MAX {
        Finding::fault(CLOCK, what, mend)
    } else if off > CLOCK_OFF_SEEN {
        Finding::warning(CLOCK, what, mend)
    } else {
        Finding::ok(CLOCK, what)
    }
}

fn connections(server: &ServerFacts, rows: Option<&ServerRows>) -> Finding {
    let for_all = server.connections_max - server.connections_reserved;
    let room = server.connections_limit.unwrap_or(for_all).min(for_all);
    let used = server.connections_used;
    let taken = format!("{used} of {for_all} connections are taken");
    let what_to_raise = if room < for_all {
        "the connection limit of the role or of the database"
    } else {
        "max_connections of the server"
    };
    let mend = format!(
        "raise {what_to_raise}, or lower database.connections_max and database.read_connections_max of each \
         process"
    );
    if used >= for_all {
        return Finding::fault(CONNECTIONS, taken, mend);
    }
    let processes = rows.map_or(&[][..], |rows| rows.processes.as_slice());
    let alive: Vec<u64> = processes
        .iter()
        .filter(|it| it.silent <= SILENT_MAX)
        .map(|it| it.connections)
        .collect();
    let of_processes: u64 = alive.iter().sum();
    let wanted = i64::try_from(of_processes)
        .unwrap_or(i64::MAX)
        .max(server.connections_ours);
    let what = format!(
        "{taken}; {} may have {wanted}",
        match alive.len() {
            0 | 1 => "one process".to_owned(),
            many => format!("{many} processes"),
        }
    );
    // Behind a pooler theirs are not the server's.
    let is_short = wanted.saturating_add(server.connections_elsewhere) > room;
    if is_short && !server.is_pooled {
        let what = format!("{what}, and there is room for {room}");
        Finding::warning(CONNECTIONS, what, mend)
    } else {
        Finding::ok(CONNECTIONS, what)
    }
}

/// A pooler that gives a session's connection to others between two transactions.
fn pooler(server: &ServerFacts) -> Finding {
    let lost: Vec<String> = server.settings_lost.iter().map(said_lost).collect();
    if !lost.is_empty() {
        let what = format!(
            "our limits are not in force ({}): a pooler shares connections by transaction or statement",
            lost.join(", ")
        );
        Finding::fault(POOLER, what, SESSION_MODE)
    } else if server.is_pooled {
        let what = "a pooler shares connections by transaction: our limits and prepared statements are now \
                    those of one of our connections, now those of another";
        Finding::fault(POOLER, what, SESSION_MODE)
    } else {
        Finding::ok(POOLER, "our limits are in force")
    }
}

/// Those that we set for ourselves are looked at by [`pooler`].
fn timeouts(found: &[ServerTimeout]) -> Vec<Finding> {
    if found.is_empty() {
        let what = "the server has none but those that we set";
        return vec![Finding::ok(TIMEOUTS, what)];
    }
    found
        .iter()
        .map(|ServerTimeout { name, ms, source }| {
            let what = match name.as_str() {
                "idle_session_timeout" => {
                    "connections that rest are ended, and the first draws after a rest wait for new ones"
                }
                _ => "a migration, a full audit or a transfer that takes longer is broken off",
            };
            Finding::warning(
                TIMEOUTS,
                format!("{name} is {ms} ms (set by: {source}): {what}"),
                format!("`ALTER ROLE … SET {name} = 0` for the role in database.url, then start every process anew"),
            )
        })
        .collect()
}

fn said_lost(it: &LostSetting) -> String {
    format!("{} is {}, was set to {}", it.name, it.found, it.expected)
}

fn tls(server: &ServerFacts) -> Finding {
    match &server.tls_version {
        Some(version) => Finding::ok(TLS, version),
        None if server.is_near => Finding::ok(TLS, "plain, to this machine"),
        None => Finding::warning(
            TLS,
            "plain, to another machine: who listens on the way reads names, codes and addresses",
            "have the server speak TLS (ssl = on), and take sslmode=disable or prefer out of database.url",
        ),
    }
}

fn transactions(open: &[OpenTransaction]) -> Vec<Finding> {
    let found: Vec<Finding> = open
        .iter()
        .map(|it| (it, Duration::from_millis(it.open_ms.unsigned_abs())))
        .filter(|(_, span)| *span > TRANSACTION_MAX)
        .map(|(it, span)| {
            let what = format!(
                "{:?} of role {} has a transaction open since {} ({})",
                it.application,
                it.role,
                about(span),
                it.state
            );
            let mend = format!(
                "what was changed since is not tidied away: end it there, or `SELECT pg_terminate_backend({})`",
                it.pid
            );
            Finding::warning(TRANSACTIONS, what, mend)
        })
        .collect();
    if found.is_empty() {
        let what = "no transaction is open for longer than 5 minutes";
        return vec![Finding::ok(TRANSACTIONS, what)];
    }
    found
}

fn snapshot(held: Option<&HeldSnapshot>) -> Finding {
    let Some(held) = held.filter(|it| it.transactions > SNAPSHOT_MAX) else {
        return Finding::ok(SNAPSHOT, "nobody keeps an old state");
    };
    let name = &held.name;
    let (who, mend) = match held.kind.as_str() {
        "prepared" => (
            format!("the prepared transaction {name:?}"),
            format!("`COMMIT PREPARED '{name}'` or `ROLLBACK PREPARED '{name}'`"),
        ),
        "slot" => (
            format!("the replication slot {name:?}"),
            format!("bring its reader back, or `SELECT pg_drop_replication_slot('{name}')`"),
        ),
        _ => (
            format!("{:?}, process {name} of the server,", held.application),
            format!("end it there, or `SELECT pg_terminate_backend({name})`"),
        ),
    };
    let what = format!(
        "{who} keeps the state of {} transactions ago: what was changed since is not tidied away",
        held.transactions
    );
    Finding::warning(SNAPSHOT, what, mend)
}

fn autovacuum(server: &ServerFacts) -> Finding {
    if server.has_autovacuum {
        Finding::ok(AUTOVACUUM, "tables are tidied by themselves")
    } else {
        Finding::warning(
            AUTOVACUUM,
            "autovacuum is off: tables only grow, draws become slow, and in the end the server takes no \
             writes",
            "set autovacuum = on and track_counts = on in postgresql.conf and reload it",
        )
    }
}

fn partitions(server: &ServerFacts) -> Finding {
    if !server.schema_fits() {
        return Finding::not_checked(PARTITIONS, "the schema is not that of this program");
    }
    if server.months_missing.is_empty() {
        return Finding::ok(PARTITIONS, "this month and the next are there");
    }
    let missing = server.months_missing.join(", ");
    Finding::warning(
        PARTITIONS,
        format!("attempts of {missing} have no partition of their own"),
        "nothing is lost, and cleanup is slow: a process with the role rescue makes it within a minute; \
         look into its log",
    )
}

#[cfg(test)]
mod tests;
