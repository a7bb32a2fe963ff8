//! `bench import`: a million codes through the port, in steps as the server takes
//! them from a file, and the same rows by a raw bulk insert in one transaction.

use crate::desk::{actor, start_campaign};
use crate::report;
use anyhow::{Result, bail, ensure};
use rusqlite::params;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};
use tombola_core::campaign::parse_toml;
use tombola_core::limits;
use tombola_core::ports::{Catalog, Clock, CodesAdded, ImportBegun};
use tombola_engine::SystemClock;
use tombola_store::{SealKeys, Store, StoreOptions};

const CODES: u64 = 1_000_000;
const FLOOR: Duration = Duration::from_secs(20);
const MEMORY_MB_MAX: u64 = 150;

const CAMPAIGN: &str = r#"
[campaign]
slug = "bench"
name = "Bench"
[[prize]]
slug = "coffee"
name = "Coffee"
kind = "code"
odds = "1%"
"#;

/// `import [--dir DIR]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let dir = match (args.next().as_deref(), args.next()) {
        (None, _) => "target".to_owned(),
        (Some("--dir"), Some(dir)) => dir,
        (Some(other), _) => bail!("`{other}` is not known; use --dir DIR"),
    };
    std::fs::create_dir_all(&dir)?;
    let home = tempfile::tempdir_in(&dir)?;
    let took = tokio::runtime::Runtime::new()?.block_on(port(home.path()))?;
    let memory = report::memory_peak_mb();
    let raw = raw(home.path())?;
    println!(
        "{CODES} codes through the port: {:.1} s; raw bulk insert: {:.1} s",
        took.as_secs_f64(),
        raw.as_secs_f64()
    );
    println!("memory: at most {} MB", memory.unwrap_or_default());
    let extra = json!({
        "codes": CODES, "seconds": took.as_secs_f64(), "raw_seconds": raw.as_secs_f64(), "memory_peak_mb": memory,
    });
    report::keep("import", &[], &extra)?;
    ensure!(
        took < FLOOR,
        "a million codes took longer than {} s",
        FLOOR.as_secs()
    );
    ensure!(
        memory.unwrap_or_default() < MEMORY_MB_MAX,
        "the import took {memory:?} MB"
    );
    Ok(())
}

fn code(number: u64) -> String {
    format!("{:016X}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

async fn port(dir: &Path) -> Result<Duration> {
    let secret = std::collections::BTreeMap::from([(1, [7; 32])]);
    let options = StoreOptions {
        seal_keys: Some(SealKeys::new("the benchmark", secret)),
        ..StoreOptions::default()
    };
    let store = Store::open(&dir.join("tombola.db"), options)?;
    let digest = store.code_digest()?;
    let now = SystemClock::new().now();
    let file =
        parse_toml("bench.toml", CAMPAIGN).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    start_campaign(&store, file, false, now).await?;
    let ImportBegun::Begun(import) = store.begin_import("bench", "coffee", actor(), now).await?
    else {
        bail!("the import did not begin");
    };
    let begun = Instant::now();
    for from in (0..CODES).step_by(50 * limits::STEP_ROWS_MAX) {
        let until = from + 50 * u64::try_from(limits::STEP_ROWS_MAX)?;
        let mut codes: Vec<String> = (from..until.min(CODES)).map(code).collect();
        codes.sort_by_cached_key(|code| digest.of(code));
        for step in codes.chunks(limits::STEP_ROWS_MAX) {
            match store.add_codes(import, step.to_vec(), false).await? {
                CodesAdded::Added { .. } => {}
                other @ CodesAdded::Duplicate { .. } => bail!("a step was answered {other:?}"),
            }
        }
    }
    let count = store.finish_import(import, 0, actor(), now).await?.codes;
    ensure!(count == CODES, "{count} codes are there");
    Ok(begun.elapsed())
}

fn raw(dir: &Path) -> Result<Duration> {
    use sha2::Digest as _;
    let mut db = crate::raw::open(dir)?;
    let begun = Instant::now();
    let tx = db.transaction()?;
    {
        let mut insert = tx.prepare(
            "INSERT INTO code (import_id, campaign_id, digest, key_version, sealed) VALUES (1, 1, ?1, 0, ?2)",
        )?;
        for number in 0..CODES {
            let code = code(number);
            let digest = sha2::Sha256::digest(code.as_bytes());
            insert.execute(params![&digest[..16], code.as_bytes()])?;
        }
    }
    tx.commit()?;
    Ok(begun.elapsed())
}
