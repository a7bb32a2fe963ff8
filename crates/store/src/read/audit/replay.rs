//! Draws drawn again: the version's rules, the roll and the prizes that could not
//! be given lead to the prize that is stored. What another system has drawn consumed no
//! roll of ours.

use super::rules::Versions;
use super::{AuditDepth, Check};
use crate::sql::{self, Connection};
use std::collections::HashMap;
use tombola_core::campaign::Rules;
use tombola_core::campaign::odds::{Availability, Roll, choose};

/// Draws of a sample, about.
const SAMPLE: i64 = 10_000;

pub(super) fn check(
    conn: &Connection,
    versions: &Versions,
    depth: AuditDepth,
) -> sql::Result<Check> {
    let mut check = Check::new("R_replay");
    let slugs: HashMap<i64, String> = conn
        .prepare_large("SELECT id, slug FROM prize")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<sql::Result<_>>()?;
    let every = match depth {
        AuditDepth::Full => 1,
        AuditDepth::Sampled => {
            let draws: i64 = conn.query_row("SELECT count(*) FROM draw", [], |row| row.get(0))?;
            (draws / SAMPLE).max(1)
        }
    };
    let mut statement = conn.prepare_large(&format!(
        "SELECT id, campaign_id, version, prize_id, roll, unavailable FROM draw WHERE id % {every} = 0
         AND NOT EXISTS (SELECT 1 FROM adopted WHERE award_id = draw.id)"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let stored: Option<i64> = row.get(3)?;
        let stored = stored.map(|id| {
            slugs
                .get(&id)
                .map_or("a prize that is gone", String::as_str)
        });
        let (roll, unavailable) = (row.get(4)?, row.get::<_, Option<Vec<u8>>>(5)?);
        let drawn = versions
            .get(row.get(1)?, row.get(2)?)
            .ok_or("its version is not there")
            .and_then(|rules| again(rules, roll, unavailable.as_deref()));
        match drawn {
            Ok(drawn) if drawn == stored => {}
            Ok(drawn) => {
                let id: i64 = row.get(0)?;
                check.found(|| format!("draw {id}: stored {stored:?}, drawn again {drawn:?}"));
            }
            Err(why) => {
                let id: i64 = row.get(0)?;
                check.found(|| format!("draw {id}: {why}"));
            }
        }
    }
    Ok(check)
}

/// The slug that these rules give.
fn again<'a>(
    rules: &'a Rules,
    roll: i64,
    unavailable: Option<&[u8]>,
) -> Result<Option<&'a str>, &'static str> {
    let availability = Availability::from_bytes(unavailable.unwrap_or_default())
        .ok_or("its prizes that could not be given are not of its version")?;
    let index = choose(rules, &availability, Roll::from_bits_i64(roll));
    Ok(index.map(|index| rules.prizes[index].slug.as_str()))
}
