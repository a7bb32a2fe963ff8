//! The codes that a batch may give: free, of imports that are ready, and such that
//! they open.
//!
//! # Model
//! Codes are taken by `SKIP LOCKED`, so that workers at once take different ones and
//! none waits. A code that is passed over may be given back by a transaction that
//! fails; so a batch that found too few does not conclude that there are none. It lets
//! go of those that it has (else two such batches would wait for each other), locks
//! the prizes, waits for the codes in their order, and then what it finds is true.
//!
//! # What each failure does
//! - An import becomes ready meanwhile: whoever does that locks the prize `FOR UPDATE`,
//!   and so comes before the waiting search, or after the hold is committed.
//! - A code does not open: it is given to nobody and stays free. Others are looked for
//!   in the first few of each import. Where only such codes are found the award fails
//!   by an error of its own row and comes back.

use super::super::error::get;
use super::super::session::{Params, Work};
use crate::seal::{Place, Sealer};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use tokio_postgres::{Row, Statement};
use tombola_core::limits::CODES_TRIED_MAX;
use tombola_core::ports::{StoreError, StoreResult};

/// Codes of one import that are tried beside those that are needed, when the first do
/// not open.
const FEW: i64 = 4;

/// How many codes of which prize.
pub(super) type Needed = BTreeMap<i64, usize>;

/// Codes in hand, by prize.
#[derive(Default)]
pub(super) struct Codes {
    free: HashMap<i64, VecDeque<i64>>,
    /// Why a code of that prize did not open.
    sealed: HashMap<i64, String>,
    /// Codes that were tried.
    tried: HashSet<i64>,
}

impl Codes {
    /// The code behind the first `bound` ones of that prize. `None` if there is none,
    /// and an error if there are some which do not open.
    pub(super) fn next(&self, prize: i64, bound: usize) -> StoreResult<Option<i64>> {
        let code = self.free.get(&prize).and_then(|it| it.get(bound));
        match (code, self.sealed.get(&prize)) {
            (Some(code), _) => Ok(Some(*code)),
            (None, Some(why)) => Err(StoreError::Sealed(why.clone())),
            (None, None) => Ok(None),
        }
    }

    /// The first one is bound for good.
    pub(super) fn spend(&mut self, prize: i64) {
        if let Some(free) = self.free.get_mut(&prize) {
            free.pop_front();
        }
    }

    fn count(&self, prize: i64) -> usize {
        self.free.get(&prize).map_or(0, VecDeque::len)
    }

    /// Tries those of the rows that were not tried yet.
    fn open(&mut self, rows: &[Row], sealer: &Sealer) -> StoreResult<()> {
        for row in rows {
            let (prize, code): (i64, i64) = (get(row, 0)?, get(row, 1)?);
            if !self.tried.insert(code) {
                continue;
            }
            match opens(row, sealer) {
                Ok(()) => self.free.entry(prize).or_default().push_back(code),
                Err(StoreError::Sealed(why)) => {
                    self.sealed.entry(prize).or_insert(why);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn opens(row: &Row, sealer: &Sealer) -> StoreResult<()> {
    let digest: &[u8] = get(row, 3)?;
    let odd = || StoreError::Sealed("the digest of a code is not 16 bytes".to_owned());
    let place = Place::Code {
        campaign: get(row, 2)?,
        digest: digest.try_into().map_err(|_| odd())?,
    };
    sealer.open(place, get(row, 4)?, get(row, 5)?).map(drop)
}

/// Takes as many codes as are needed, as far as there are.
pub(super) async fn take(work: &Work<'_>, sealer: &Sealer, needed: Needed) -> StoreResult<Codes> {
    let mut codes = Codes::default();
    if needed.is_empty() {
        return Ok(codes);
    }
    let ((), mut rows) = tokio::try_join!(
        biased;
        work.run("SAVEPOINT codes"),
        found(work, &work.sql.take_codes, &needed),
    )?;
    if rows.len() < needed.values().sum() {
        rows = search(work, &needed).await?;
    }
    codes.open(&rows, sealer)?;
    let lacking: Needed = needed
        .into_iter()
        .map(|(prize, needed)| (prize, needed.saturating_sub(codes.count(prize))))
        .filter(|(prize, lacking)| *lacking > 0 && codes.sealed.contains_key(prize))
        .collect();
    if !lacking.is_empty() {
        let rows = few_of_each_import(work, &lacking, &codes.tried).await?;
        codes.open(&rows, sealer)?;
    }
    Ok(codes)
}

/// The same codes, waited for where somebody has them in hand.
async fn search(work: &Work<'_>, needed: &Needed) -> StoreResult<Vec<Row>> {
    let prizes: Vec<i64> = needed.keys().copied().collect();
    let of_prizes: Params<'_> = &[&prizes];
    let (.., rows) = tokio::try_join!(
        biased;
        work.run("ROLLBACK TO SAVEPOINT codes; RELEASE SAVEPOINT codes"),
        work.query(&work.sql.share_prizes, of_prizes),
        work.query(&work.sql.lock_coded_prizes, of_prizes),
        found(work, &work.sql.await_codes, needed),
    )?;
    Ok(rows)
}

async fn found(work: &Work<'_>, sql: &Statement, needed: &Needed) -> StoreResult<Vec<Row>> {
    let (prizes, counts) = columns(needed);
    work.query(sql, &[&prizes, &counts]).await
}

async fn few_of_each_import(
    work: &Work<'_>,
    lacking: &Needed,
    tried: &HashSet<i64>,
) -> StoreResult<Vec<Row>> {
    let (prizes, counts) = columns(lacking);
    let tried: Vec<i64> = tried.iter().copied().collect();
    let imports = CODES_TRIED_MAX / FEW;
    let sql = &work.sql.take_few_of_each_import;
    work.query(sql, &[&prizes, &counts, &FEW, &imports, &tried])
        .await
}

fn columns(needed: &Needed) -> (Vec<i64>, Vec<i64>) {
    let count = |count: &usize| i64::try_from(*count).unwrap_or(i64::MAX);
    needed.iter().map(|(prize, it)| (*prize, count(it))).unzip()
}
