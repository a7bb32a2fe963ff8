//! How a list finds its rows: it walks ids downwards, along an index where a filter
//! has one, else over the table from its end. Either way it reads a bounded number
//! of rows for one page; [`Cuts`] says which.

use super::page::{Cut, Cuts, Page, PageQuery, Place};
use crate::sql::Value;
use crate::sql::{self, Connection, OptionalExtension, Row, params_from_iter};
use tombola_core::Timestamp;
use tombola_core::limits::{PAGE_READ_MAX, PAGE_SEEK_MAX, PAGE_SORT_MAX, PAGE_SPANS_MAX, SPAN_IDS};

/// What one page reads at most. Tests have a smaller one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Rows next to each other.
    pub(super) rows: i64,
    /// Rows to which an index leads.
    pub(super) seeks: i64,
    /// Spans that are looked into for a user.
    pub(super) spans: i64,
    /// Rows that are put in order.
    pub(super) sorted: i64,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            rows: PAGE_READ_MAX,
            seeks: PAGE_SEEK_MAX,
            spans: PAGE_SPANS_MAX,
            sorted: PAGE_SORT_MAX,
        }
    }
}

/// Conditions joined by `AND`, each with one value or none, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    /// A condition with one `?`, if there is a value for it.
    pub(super) fn value<T: Into<Value>>(&mut self, condition: &str, value: Option<T>) {
        if let Some(value) = value {
            self.always(condition);
            self.values.push(value.into());
        }
    }

    /// A condition without a value.
    pub(super) fn always(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    /// `since` belongs to the period, `until` does not.
    pub(super) fn period(&mut self, column: &str, (since, until): Period) {
        self.value(&format!("{column} >= ?"), since.map(|at| at.0));
        self.value(&format!("{column} < ?"), until.map(|at| at.0));
    }
}

/// One page of a list: `sql` has the values of a cut (from, below), then `values`,
/// then the number of rows, and gives rows by falling id.
pub(super) fn page_of<T>(
    conn: &Connection,
    (sql, values): (&str, &[Value]),
    (page, cuts): (PageQuery, Cuts),
    row: fn(&Row<'_>) -> sql::Result<T>,
    place: impl Fn(&T) -> i64,
) -> sql::Result<Page<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    page.fill(
        cuts,
        |cut, rows| {
            let bounds = [cut.from, cut.below].map(Value::from);
            let values = bounds.iter().chain(values).cloned().chain([rows.into()]);
            statement
                .query_map(params_from_iter(values), row)?
                .collect()
        },
        place,
    )
}

/// From an instant, and up to before another.
pub(super) type Period = (Option<Timestamp>, Option<Timestamp>);

/// An index that gives ids in order.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// The table under the alias of the list, with the index.
    pub(super) table: &'static str,
    /// The id's column.
    pub(super) id: &'static str,
    /// The columns before it, fixed.
    pub(super) fixed: Conditions,
}

impl Index {
    /// The next entries of the index, as many as a page may follow.
    pub(super) fn cuts(&self, conn: &Connection, below: i64, reach: Reach) -> sql::Result<Cuts> {
        let (table, id, fixed) = (self.table, self.id, &self.fixed.sql);
        let sql = format!(
            "SELECT {id} FROM {table} WHERE {id} < ?{fixed} ORDER BY {id} DESC LIMIT 1 OFFSET ?"
        );
        let values = std::iter::once(Value::from(below))
            .chain(self.fixed.values.iter().cloned())
            .chain([Value::from(reach.seeks)]);
        let beyond: Option<i64> = conn
            .prepare_cached(&sql)?
            .query_row(params_from_iter(values), |row| row.get(0))
            .optional()?;
        Ok(match beyond {
            Some(beyond) => Cuts::one(beyond + 1, below, true),
            None => Cuts::one(i64::MIN, below, false),
        })
    }
}

/// What the spans that are read have to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within<'a> {
    pub(super) campaign: Option<&'a str>,
    pub(super) period: Period,
}

impl Within<'_> {
    /// The spans of draw ids that can hold it, at most so many, and whether there are
    /// more.
    fn newest(
        self,
        conn: &Connection,
        below: i64,
        spans_max: i64,
    ) -> sql::Result<(Vec<i64>, bool)> {
        let mut fits = Conditions::default();
        fits.value(
            "campaign_id = (SELECT id FROM campaign WHERE slug = ?)",
            self.campaign.map(str::to_owned),
        );
        let (since, until) = self.period;
        fits.value("to_at > ?", since.map(|at| at.0));
        fits.value("from_at < ?", until.map(|at| at.0));
        let sql = format!(
            "SELECT DISTINCT span FROM draw_span WHERE span <= ?{} ORDER BY span DESC LIMIT ?",
            fits.sql
        );
        let values = std::iter::once(Value::from(below.saturating_sub(1).div_euclid(SPAN_IDS)))
            .chain(fits.values)
            .chain([Value::from(spans_max + 1)]);
        let mut found: Vec<i64> = conn
            .prepare_cached(&sql)?
            .query_map(params_from_iter(values), |row| row.get(0))?
            .collect::<sql::Result<_>>()?;
        let has_more = i64::try_from(found.len()).unwrap_or(i64::MAX) > spans_max;
        if has_more {
            found.pop();
        }
        Ok((found, has_more))
    }
}

fn cut_of(span: i64, below: i64) -> Cut {
    let from = span * SPAN_IDS;
    Cut {
        from,
        below: below.min(from.saturating_add(SPAN_IDS)),
    }
}

/// As many spans as a page may read. Neighbours are joined.
pub(super) fn spans(
    conn: &Connection,
    within: Within<'_>,
    below: i64,
    reach: Reach,
) -> sql::Result<Cuts> {
    let (found, has_more) = within.newest(conn, below, (reach.rows / SPAN_IDS).max(1))?;
    let mut cuts: Vec<Cut> = Vec::new();
    for cut in found.into_iter().map(|span| cut_of(span, below)) {
        match cuts.last_mut() {
            Some(last) if last.from == cut.from + SPAN_IDS => last.from = cut.from,
            Some(_) | None => cuts.push(cut),
        }
    }
    let rest = cuts.last().filter(|_| has_more);
    let rest = rest.map(|last| Place(last.from));
    Ok(Cuts { cuts, rest })
}

/// The spans in which a user won: a page looks into so many spans for them, and goes
/// no further than the span with which it may read no more rows.
pub(super) fn spans_of_user(
    conn: &Connection,
    user: &str,
    within: Within<'_>,
    below: i64,
    reach: Reach,
) -> sql::Result<Cuts> {
    let (found, mut has_more) = within.newest(conn, below, reach.spans)?;
    let mut won = conn.prepare_cached(&format!(
        "SELECT count(*) FROM draw INDEXED BY draw_user
         WHERE id / {SPAN_IDS} = ?1 AND user = ?2 AND prize_id IS NOT NULL"
    ))?;
    let (mut cuts, mut rows, mut left) = (Vec::new(), 0, found.as_slice());
    let mut end = i64::MIN;
    while let [span, others @ ..] = left {
        let count: i64 = won.query_row((span, user), |row| row.get(0))?;
        if count > 0 {
            cuts.push(cut_of(*span, below));
        }
        (rows, end, left) = (rows + count, span * SPAN_IDS, others);
        if rows >= reach.seeks {
            has_more |= !left.is_empty();
            break;
        }
    }
    let rest = has_more.then_some(Place(end));
    Ok(Cuts { cuts, rest })
}

/// What a user won in one cut, which lies in one span.
pub(super) fn of_user() -> Conditions {
    let mut fits = Conditions::default();
    fits.always(&format!("d.id / {SPAN_IDS} = ?1 / {SPAN_IDS}"));
    fits.always("d.prize_id IS NOT NULL");
    fits
}

/// The next ids within `cut`, of a table whose ids are given one after the other.
pub(super) fn dense(conn: &Connection, table: &str, cut: Cut, reach: Reach) -> sql::Result<Cuts> {
    let top: Option<i64> = conn
        .prepare_cached(&format!(
            "SELECT max(id) FROM {table} WHERE id >= ?1 AND id < ?2"
        ))?
        .query_row([cut.from, cut.below], |row| row.get(0))?;
    let from = top.map_or(cut.from, |top| top.saturating_sub(reach.rows - 1));
    let from = from.max(cut.from);
    let has_more = conn
        .prepare_cached(&format!(
            "SELECT EXISTS (SELECT 1 FROM {table} WHERE id >= ?1 AND id < ?2)"
        ))?
        .query_row([cut.from, from], |row| row.get(0))?;
    Ok(Cuts::one(from, cut.below, has_more))
}
