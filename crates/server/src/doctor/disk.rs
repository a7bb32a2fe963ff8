//! The disk below the data directory: what kind of file system, how much room, and
//! how often a second it says that something is durable.

use super::bytes;
use crate::api::Finding;
use crate::directory::free_bytes;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;
use tombola_core::limits::BACKUP_SPACE_LEFT;
use tombola_core::ports::Clock;
use tombola_engine::SystemClock;

const SPACE: &str = "directory.space";
const FILE_SYSTEM: &str = "directory.file_system";
const FSYNC: &str = "directory.fsync";

/// Every check of the disk, by name.
pub(super) const NAMES: [&str; 3] = [SPACE, FILE_SYSTEM, FSYNC];

/// Less room than this is a fault.
const SPACE_MIN: u64 = 64 << 20;
/// How long the disk is measured at most, and how often.
const MEASURED_MAX: Duration = Duration::from_millis(500);
const WRITES_MAX: u32 = 500;
/// Fewer than this a second, and single draws are slow.
const SLOW: u32 = 100;
/// More than this a second no disk does: it only says so.
const TOO_FAST: u32 = 200_000;

pub(super) fn check(folder: &Path, database_bytes: u64) -> Vec<Finding> {
    vec![
        free_bytes(folder).map_or_else(
            |error| Finding::not_checked(SPACE, &error.to_string()),
            |free| space(free, database_bytes),
        ),
        file_system_of(folder),
        fsyncs_per_second(folder).map_or_else(
            |error| Finding::not_checked(FSYNC, &error.to_string()),
            fsync,
        ),
    ]
}

fn space(free: u64, database_bytes: u64) -> Finding {
    let what = format!(
        "{} free beside a database of {}",
        bytes(free),
        bytes(database_bytes)
    );
    if free < SPACE_MIN.max(database_bytes / 20) {
        let mend = "make room now: a full disk stops the draws";
        Finding::fault(SPACE, what, mend)
    } else if free < database_bytes.saturating_add(BACKUP_SPACE_LEFT) {
        let mend = "a backup while the server runs needs as much room as the database: make room, or \
                    take it while nobody serves";
        Finding::warning(SPACE, what, mend)
    } else {
        Finding::ok(SPACE, what)
    }
}

#[cfg(target_os = "linux")]
fn file_system_of(folder: &Path) -> Finding {
    match rustix::fs::statfs(folder) {
        Ok(stat) => file_system(i128::from(stat.f_type)),
        Err(error) => Finding::not_checked(FILE_SYSTEM, &error.to_string()),
    }
}

#[cfg(not(target_os = "linux"))]
fn file_system_of(_: &Path) -> Finding {
    Finding::not_checked(FILE_SYSTEM, "this system does not say")
}

/// By the number that Linux gives each kind.
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "Linux's numbers")
)]
fn file_system(kind: i128) -> Finding {
    let of_network = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB 2"),
        (0x0102_1997, "9P"),
        (0x5346_414f, "AFS"),
        (0x00c3_6400, "Ceph"),
        (0x0bd0_0bd0, "Lustre"),
        (0x4750_4653, "GPFS"),
    ];
    let passing = [
        (0x0102_1994, "tmpfs, which is memory"),
        (0x8584_58f6, "ramfs, which is memory"),
        (0x794c_7630, "overlay, as a container's own files"),
    ];
    let find = |list: &[(i128, &'static str)]| {
        let found = list.iter().find(|(number, _)| *number == kind);
        found.map(|(_, name)| *name)
    };
    if let Some(name) = find(&of_network) {
        return Finding::fault(
            FILE_SYSTEM,
            format!("the data directory is on {name}, over a network"),
            "use a local disk: locks and the shared memory of SQLite's log do not hold there",
        );
    }
    if let Some(name) = find(&passing) {
        return Finding::warning(
            FILE_SYSTEM,
            format!("the data directory is on {name}: it is gone with it"),
            "use a disk, or mount a volume",
        );
    }
    if kind == 0x6573_5546 {
        return Finding::warning(
            FILE_SYSTEM,
            "the data directory is on FUSE, which may be anything",
            "see to it that it is local and keeps what is synced",
        );
    }
    Finding::ok(FILE_SYSTEM, "a local file system")
}

/// One page written and synced, over and over, as the log's last page is.
fn fsyncs_per_second(folder: &Path) -> io::Result<u32> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    let clock = SystemClock::new();
    let page = [0x55; 4096];
    file.write_all_at(&page, 0)?;
    file.sync_all()?;
    let begun = clock.monotonic();
    let mut writes = 0;
    while writes < WRITES_MAX && clock.monotonic().saturating_sub(begun) < MEASURED_MAX {
        file.write_all_at(&page, 0)?;
        file.sync_data()?;
        writes += 1;
    }
    let micros = clock.monotonic().saturating_sub(begun).as_micros().max(1);
    let rate = u128::from(writes) * 1_000_000 / micros;
    Ok(u32::try_from(rate).unwrap_or(u32::MAX))
}

fn fsync(rate: u32) -> Finding {
    let what = format!("{rate} syncs a second");
    if rate < SLOW {
        let mend = "draws wait for the disk: many at once share a sync, single ones are slow; use a \
                    faster disk";
        Finding::warning(FSYNC, what, mend)
    } else if rate > TOO_FAST {
        let mend = "no disk is that fast: something says durable that is not, so a power failure can \
                    lose answered draws";
        Finding::warning(FSYNC, what, mend)
    } else {
        Finding::ok(FSYNC, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;

    #[test]
    fn room_is_weighed_against_the_database() {
        let gib = 1 << 30;
        assert_eq!(space(10 * gib, gib).state, CheckState::Ok);
        assert_eq!(space(gib, gib).state, CheckState::Warning);
        assert_eq!(space(gib, 30 * gib).state, CheckState::Fault);
        assert_eq!(space(1 << 20, 0).state, CheckState::Fault);
    }

    #[test]
    fn network_is_a_fault_and_what_passes_a_warning() {
        assert_eq!(file_system(0x6969).state, CheckState::Fault);
        assert_eq!(file_system(0xff53_4d42).state, CheckState::Fault);
        assert_eq!(file_system(0x0102_1994).state, CheckState::Warning);
        assert_eq!(file_system(0x6573_5546).state, CheckState::Warning);
        assert_eq!(file_system(0xef53).state, CheckState::Ok);
    }

    #[test]
    fn disk_that_is_too_slow_or_too_good_to_be_true_is_told() {
        assert_eq!(fsync(50).state, CheckState::Warning);
        assert_eq!(fsync(7000).state, CheckState::Ok);
        assert_eq!(fsync(1_000_000).state, CheckState::Warning);
    }

    #[test]
    fn measuring_leaves_no_file() {
        let temp = tempfile::tempdir().unwrap();
        assert!(fsyncs_per_second(temp.path()).unwrap() > 0);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
