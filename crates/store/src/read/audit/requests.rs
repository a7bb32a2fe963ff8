//! Every draw belongs to one request, or to one order of another system, and a request's draws are its own client's
//! and campaign's. A request with many draws keeps the ids of the others as bytes,
//! so ids are matched here and not in SQL: two sorted lists, 16 bytes a draw.

use super::Check;
use crate::sql::{self, Connection};
use std::cmp::Ordering;
use std::collections::HashMap;

/// In `meta`, with a campaign's id behind it: the campaign's draws up to this instant
/// have no request row any more, since cleanup removes those of closed campaigns.
pub(crate) const REQUESTS_REMOVED: &str = "requests_removed/";

/// What must be equal of a request and its draws, by number.
#[derive(Default)]
struct Scopes(HashMap<i64, HashMap<String, u32>>);

impl Scopes {
    fn number(&mut self, campaign: i64, client: &str) -> u32 {
        let next =
            u32::try_from(self.0.values().map(HashMap::len).sum::<usize>()).unwrap_or(u32::MAX);
        let clients = self.0.entry(campaign).or_default();
        match clients.get(client) {
            Some(number) => *number,
            None => *clients.entry(client.to_owned()).or_insert(next),
        }
    }
}

pub(super) fn check(conn: &Connection) -> sql::Result<Check> {
    let mut check = Check::new("I11_request_keys");
    let mut scopes = Scopes::default();
    let mut told = told(conn, &mut scopes, &mut check)?;
    told.sort_unstable();
    let removed = removed(conn)?;
    let mut statement =
        conn.prepare_large("SELECT id, campaign_id, client, drawn_at FROM draw ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut next = 0;
    while let Some(row) = rows.next()? {
        let (id, campaign): (i64, i64) = (row.get(0)?, row.get(1)?);
        next = skip_missing(&told, next, id, &mut check);
        let Some(&(first, scope)) = told.get(next).filter(|(told, _)| *told == id) else {
            // The request keys of a closed campaign are removed after a retention.
            if removed
                .get(&campaign)
                .is_none_or(|until| row.get::<_, i64>(3).is_ok_and(|at| at > *until))
            {
                check.found(|| format!("draw {id} belongs to no request"));
            }
            continue;
        };
        if scope != scopes.number(campaign, row.text(2)?) {
            check.found(|| {
                format!("draw {first} is of another client or campaign than its request")
            });
        }
        next += 1;
        while told.get(next).is_some_and(|(told, _)| *told == id) {
            check.found(|| format!("draw {id} belongs to two requests"));
            next += 1;
        }
    }
    skip_missing(&told, next, i64::MAX, &mut check);
    Ok(check)
}

/// Every draw that a request names, with the request's scope.
fn told(conn: &Connection, scopes: &mut Scopes, check: &mut Check) -> sql::Result<Vec<(i64, u32)>> {
    let mut told = Vec::new();
    let mut statement =
        conn.prepare_large("SELECT campaign_id, client, first_draw, more_draws FROM request")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let scope = scopes.number(row.get(0)?, row.text(1)?);
        let first: i64 = row.get(2)?;
        told.push((first, scope));
        let more: Option<Vec<u8>> = row.get(3)?;
        let (ids, rest) = more.as_deref().unwrap_or_default().as_chunks::<8>();
        told.extend(ids.iter().map(|id| (i64::from_le_bytes(*id), scope)));
        if !rest.is_empty() {
            check.found(|| format!("the request of draw {first} names half a draw"));
        }
    }
    let mut statement = conn.prepare_large(
        "SELECT d.campaign_id, a.source, a.award_id FROM adopted a LEFT JOIN draw d ON d.id = a.award_id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let campaign: Option<i64> = row.get(0)?;
        let scope = scopes.number(campaign.unwrap_or_default(), row.text(1)?);
        told.push((row.get(2)?, scope));
    }
    Ok(told)
}

/// By campaign, the instant up to which its request keys are gone.
fn removed(conn: &Connection) -> sql::Result<HashMap<i64, i64>> {
    conn.prepare_cached(
        "SELECT CAST(substr(name, length(?1) + 1) AS INTEGER), CAST(value AS INTEGER) FROM meta
         WHERE substr(name, 1, length(?1)) = ?1",
    )?
    .query_map([REQUESTS_REMOVED], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// Passes what requests name below `id`: there is no such draw.
fn skip_missing(told: &[(i64, u32)], mut next: usize, id: i64, check: &mut Check) -> usize {
    while let Some((missing, _)) = told
        .get(next)
        .filter(|(told, _)| told.cmp(&id) == Ordering::Less)
    {
        check.found(|| format!("a request names draw {missing}, which is not there"));
        next += 1;
    }
    next
}
