//! What was drawn and given of a campaign, counted batch by batch: each writes a row of its
//! own behind the last one (the schema says why). Read and written behind the campaign's
//! lock.

use super::super::error::{get, inconsistent};
use super::super::session::{Params, Work};
use std::collections::BTreeMap;
use tokio_postgres::Row;
use tombola_core::ports::StoreResult;
use tombola_core::time::CivilDay;

/// Rows that stand until those before the newest are removed, all at once: to remove each
/// at once would be a statement more for each batch.
const STAND: i64 = 32;

/// The newest row; all zero where nothing was drawn yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    n: i64,
    pub(super) draws: i64,
    wins: i64,
    pub(super) day: CivilDay,
    /// By prize.
    given: BTreeMap<i64, Given>,
}

/// Units of a prize.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) spent: i64,
    /// On the day of the row.
    pub(super) on_day: i64,
}

impl Tally {
    pub(super) fn read(row: Option<&Row>) -> StoreResult<Self> {
        let Some(row) = row else {
            return Ok(Self::default());
        };
        let (prizes, spent, on_day): (Vec<i64>, Vec<i64>, Vec<i64>) =
            (get(row, 4)?, get(row, 5)?, get(row, 6)?);
        if prizes.len() != spent.len() || prizes.len() != on_day.len() {
            return Err(inconsistent("a tally whose columns are not of one length"));
        }
        let units = spent.into_iter().zip(on_day);
        let units = units.map(|(spent, on_day)| Given { spent, on_day });
        Ok(Self {
            n: get(row, 0)?,
            draws: get(row, 1)?,
            wins: get(row, 2)?,
            day: CivilDay(get(row, 3)?),
            given: prizes.into_iter().zip(units).collect(),
        })
    }

    /// Of one prize, and on that day.
    pub(super) fn given(&self, prize: i64, day: CivilDay) -> Given {
        let given = self.given.get(&prize).copied().unwrap_or_default();
        if self.day >= day {
            return given;
        }
        Given { on_day: 0, ..given }
    }

    /// The row behind this one, after a batch of that day. Days do not go back.
    pub(super) fn after(&self, day: CivilDay, drawn: i64, won: &BTreeMap<i64, i64>) -> Self {
        let mut next = Self {
            n: self.n + 1,
            draws: self.draws + drawn,
            wins: self.wins + won.values().sum::<i64>(),
            day: self.day.max(day),
            given: self.given.clone(),
        };
        if next.day > self.day {
            next.given.values_mut().for_each(|it| it.on_day = 0);
        }
        for (prize, units) in won {
            let given = next.given.entry(*prize).or_default();
            given.spent += units;
            given.on_day += units;
        }
        next
    }

    /// Writes it, and removes what it stands for from time to time.
    pub(super) async fn write(&self, work: &Work<'_>, campaign: i64) -> StoreResult<()> {
        let prizes: Vec<i64> = self.given.keys().copied().collect();
        let spent: Vec<i64> = self.given.values().map(|it| it.spent).collect();
        let on_day: Vec<i64> = self.given.values().map(|it| it.on_day).collect();
        let Self {
            n,
            draws,
            wins,
            day,
            ..
        } = self;
        let row: Params<'_> = &[&campaign, n, draws, wins, &day.0, &prizes, &spent, &on_day];
        let insert = work.execute(&work.sql.insert_tally, row);
        if n % STAND != 0 {
            return insert.await;
        }
        let first = n - STAND;
        let before: Params<'_> = &[&campaign, &first, n];
        let remove = work.execute(&work.sql.remove_tallies, before);
        tokio::try_join!(biased; insert, remove).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_added_to_the_row_before_it() {
        let first = Tally::default().after(CivilDay(5), 3, &BTreeMap::from([(7, 2)]));
        let second = first.after(CivilDay(5), 1, &BTreeMap::from([(7, 1), (8, 1)]));
        assert_eq!((second.n, second.draws, second.wins), (2, 4, 4));
        let of = |spent, on_day| Given { spent, on_day };
        assert_eq!(second.given(7, CivilDay(5)), of(3, 3));
        assert_eq!(second.given(8, CivilDay(5)), of(1, 1));
        assert_eq!(second.given(9, CivilDay(5)), of(0, 0));
    }

    #[test]
    fn a_new_day_begins_at_zero_and_an_old_one_does_not_come_again() {
        let before = Tally::default().after(CivilDay(5), 1, &BTreeMap::from([(7, 1)]));
        assert_eq!(before.given(7, CivilDay(6)).on_day, 0);
        let after = before.after(CivilDay(6), 1, &BTreeMap::from([(8, 1)]));
        assert_eq!(
            after.given(7, CivilDay(6)),
            Given {
                spent: 1,
                on_day: 0
            }
        );
        let late = after.after(CivilDay(5), 1, &BTreeMap::from([(8, 1)]));
        assert_eq!(late.given(8, CivilDay(6)).on_day, 2);
        assert_eq!(late.day, CivilDay(6));
    }
}
