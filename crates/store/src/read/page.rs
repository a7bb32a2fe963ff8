//! Pages of a list, newest first. A list is cut by key, never by an offset: a page
//! begins below the place at which the one before ended, so rows that come, change
//! or go meanwhile move no other row across the cut.
//!
//! What a page may read is bounded, whatever is asked: where few rows fit, a page is
//! short or empty and still names the place at which the next one goes on.

use tombola_core::limits::{PAGE_DEFAULT, PAGE_MAX};

/// A place in a list, in the list's own order: its rows come by falling place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub i64);

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Give this as `after` for the next page; `None` on the last one.
    pub next: Option<Place>,
}

impl<T> Page<T> {
    /// The same page of other items.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(each).collect(),
            next: self.next,
        }
    }
}

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageQuery {
    /// Where the page before ended.
    pub after: Option<Place>,
    /// Rows at most, `limits::PAGE_DEFAULT` unless said; never above `limits::PAGE_MAX`.
    pub limit: Option<usize>,
}

impl PageQuery {
    /// Rows on the page at most.
    pub(super) fn limit(self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }

    /// The place that all its rows lie below; above all places for the first page.
    pub(super) fn below(self) -> i64 {
        self.after.map_or(i64::MAX, |place| place.0)
    }

    /// A page of a list that is read whole, because it is never long.
    pub fn cut<T>(self, mut items: Vec<T>, place: impl Fn(&T) -> i64) -> Page<T> {
        items.retain(|it| place(it) < self.below());
        items.sort_by_key(|it| std::cmp::Reverse(place(it)));
        let has_more = items.len() > self.limit();
        items.truncate(self.limit());
        let last = items.last().filter(|_| has_more);
        let next = last.map(|it| Place(place(it)));
        Page { items, next }
    }

    /// Fills the page from `cuts`. `read` gives the rows of a cut by falling place,
    /// at most so many; `place` says where a row lies.
    pub(super) fn fill<T, E>(
        self,
        cuts: Cuts,
        mut read: impl FnMut(Cut, i64) -> Result<Vec<T>, E>,
        place: impl Fn(&T) -> i64,
    ) -> Result<Page<T>, E> {
        let mut items = Vec::new();
        for cut in cuts.cuts {
            // One row more than shown tells whether there are more.
            let room = self.limit() + 1 - items.len();
            items.extend(read(cut, i64::try_from(room).unwrap_or(i64::MAX))?);
            if items.len() > self.limit() {
                items.truncate(self.limit());
                let next = items.last().map(|last| Place(place(last)));
                return Ok(Page { items, next });
            }
        }
        Ok(Page {
            items,
            next: cuts.rest,
        })
    }
}

/// Places `from` a bound up to below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) from: i64,
    pub(super) below: i64,
}

/// What one page may read, by falling place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cuts {
    pub(super) cuts: Vec<Cut>,
    /// Where the next page goes on if they do not fill this one.
    pub(super) rest: Option<Place>,
}

impl Cuts {
    /// One cut; the next page goes on below it if there is anything.
    pub(super) fn one(from: i64, below: i64, has_more: bool) -> Self {
        Self {
            cuts: vec![Cut { from, below }],
            rest: has_more.then_some(Place(from)),
        }
    }
}
