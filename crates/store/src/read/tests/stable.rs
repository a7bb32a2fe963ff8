//! Aim: while rows come, change and are cleaned up between two pages, no row that
//! was there all the time is missed or shown twice.

use super::super::fixture::{
    COINS, Fixture, HELLO, HOOK, NOTHING, NOW, On, PHONE, on_each_database,
};
use super::super::page::{Page, PageQuery, Place};
use super::super::walk::Reach;
use super::super::{
    AwardFilter, DeadLetterFilter, DrawFilter, LogFilter, awards, dead_letters, draws, log,
};
use super::{each, refuse};
use crate::sql::{self, Connection};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;
use std::time::Duration;
use tombola_core::award::{Position, State};
use tombola_core::ports::{Action, AwardPath as _, Catalog as _, KeptMessage};
use tombola_core::reason::KeptReason;
use tombola_core::{AwardId, Timestamp};

/// What happens between two pages. A number picks one of the awards.
#[derive(Debug, Clone)]
enum Happening {
    Draw(&'static str, u64),
    Deliver(usize),
    Refuse(usize),
    Hold(usize),
    Cancel(usize),
    Requeue(usize),
    Keep,
    Cleanup,
}

fn happening() -> impl Strategy<Value = Happening> {
    let user = select(&["ann", "bob"][..]);
    let place = select(&[HELLO, COINS, HOOK, PHONE, NOTHING][..]);
    prop_oneof![
        4 => (user, place).prop_map(|(user, place)| Happening::Draw(user, place)),
        2 => any::<usize>().prop_map(Happening::Deliver),
        2 => any::<usize>().prop_map(Happening::Refuse),
        2 => any::<usize>().prop_map(Happening::Hold),
        1 => any::<usize>().prop_map(Happening::Cancel),
        2 => any::<usize>().prop_map(Happening::Requeue),
        1 => Just(Happening::Keep),
        1 => Just(Happening::Cleanup),
    ]
}

/// The house in which it happens.
struct House {
    it: Fixture,
    messages: i64,
}

impl House {
    async fn new(on: On) -> Self {
        let it = Fixture::fair_on(on).await;
        for user in ["ann", "bob", "cid"] {
            it.draw(user, &[HELLO, HOOK, NOTHING, COINS, HELLO, NOTHING])
                .await;
        }
        let mut house = Self { it, messages: 0 };
        for nth in [1, 4, 7, 9] {
            house.happens(&Happening::Refuse(nth)).await;
            house.happens(&Happening::Keep).await;
        }
        house.happens(&Happening::Hold(2)).await;
        house
    }

    fn ids(&self, sql: &str) -> BTreeSet<String> {
        self.it.by_shell(|conn| {
            let mut statement = conn.prepare_cached(sql).unwrap();
            let ids = statement.query_map([], |row| row.get(0)).unwrap();
            ids.map(Result::unwrap).collect()
        })
    }

    fn award(&self, nth: usize) -> AwardId {
        let awards = self.it.number("SELECT count(*) FROM delivery");
        let offset = i64::try_from(nth).unwrap_or(i64::MAX) % awards;
        AwardId(self.it.number(&format!(
            "SELECT award_id FROM delivery ORDER BY award_id LIMIT 1 OFFSET {offset}"
        )))
    }

    async fn act(&self, nth: usize, action: Action) {
        // Whether its state allows it is not the matter here.
        self.it.act(self.award(nth), action).await;
    }

    async fn happens(&mut self, happening: &Happening) {
        let at = |number: i64| NOW.plus(Duration::from_secs(number.unsigned_abs()));
        match happening {
            Happening::Draw(user, place) => drop(self.it.draw(user, &[*place]).await),
            Happening::Deliver(nth) => drop(self.it.deliver(self.award(*nth)).await),
            Happening::Refuse(nth) => refuse(&self.it, self.award(*nth)).await,
            Happening::Hold(nth) => self.act(*nth, Action::Hold).await,
            Happening::Cancel(nth) => {
                let return_stock = false;
                self.act(*nth, Action::Cancel { return_stock }).await;
            }
            Happening::Requeue(nth) => {
                let (not_delivered, due_at) = (true, NOW);
                self.act(
                    *nth,
                    Action::Requeue {
                        not_delivered,
                        due_at,
                    },
                )
                .await;
            }
            Happening::Keep => {
                self.messages += 1;
                self.keep(self.messages, at(self.messages)).await;
            }
            // Every message but the two newest.
            Happening::Cleanup => {
                self.it.store.cleanup(at(self.messages - 1)).await.unwrap();
            }
        }
    }

    async fn keep(&self, offset: i64, now: Timestamp) {
        let position = Position {
            epoch: 1,
            partition: 0,
            offset,
        };
        let message = KeptMessage {
            position,
            key: None,
            value: None,
            headers: Vec::new(),
            reason: KeptReason::Empty,
        };
        self.it
            .store
            .keep_messages(vec![message], now)
            .await
            .unwrap();
    }
}

/// A list that somebody reads page by page.
struct Reader {
    /// Which rows are in it, in plain words.
    all: &'static str,
    read: fn(&Connection, PageQuery, Reach) -> sql::Result<Page<String>>,
    after: Option<Place>,
    is_over: bool,
    shown: Vec<String>,
    all_the_time: Option<BTreeSet<String>>,
}

type Read = fn(&Connection, PageQuery, Reach) -> sql::Result<Page<String>>;

fn ids<T>(page: &Page<T>, id: fn(&T) -> String) -> Page<String> {
    Page {
        items: page.items.iter().map(id).collect(),
        next: page.next,
    }
}

fn in_state(state: State) -> AwardFilter {
    AwardFilter {
        state: Some(state),
        ..AwardFilter::default()
    }
}

fn awards_of(
    conn: &Connection,
    filter: &AwardFilter,
    page: PageQuery,
    reach: Reach,
) -> sql::Result<Page<String>> {
    awards::list(conn, filter, page, reach).map(|page| ids(&page, |it| it.id.to_string()))
}

const LISTS: &[(&str, Read)] = &[
    (
        "SELECT CAST(award_id AS TEXT) FROM delivery",
        |conn, page, reach| awards_of(conn, &AwardFilter::default(), page, reach),
    ),
    (
        "SELECT CAST(award_id AS TEXT) FROM delivery JOIN draw ON id = award_id WHERE user = 'ann'",
        |conn, page, reach| {
            let user = Some("ann".to_owned());
            awards_of(
                conn,
                &AwardFilter {
                    user,
                    ..AwardFilter::default()
                },
                page,
                reach,
            )
        },
    ),
    (
        "SELECT CAST(award_id AS TEXT) FROM delivery WHERE state = 'pending'",
        |conn, page, reach| awards_of(conn, &in_state(State::Pending), page, reach),
    ),
    (
        "SELECT CAST(award_id AS TEXT) FROM delivery WHERE state = 'held'",
        |conn, page, reach| awards_of(conn, &in_state(State::Held), page, reach),
    ),
    (
        "SELECT CAST(award_id AS TEXT) FROM delivery WHERE state = 'dead'",
        |conn, page, reach| awards_of(conn, &in_state(State::Dead), page, reach),
    ),
    ("SELECT CAST(id AS TEXT) FROM draw", |conn, page, reach| {
        let page = draws::list(conn, &DrawFilter::default(), page, reach)?;
        Ok(ids(&page, |it| it.id.to_string()))
    }),
    (
        "SELECT CAST(award_id AS TEXT) FROM delivery WHERE state = 'dead' UNION ALL SELECT 'm' || id FROM kept_message",
        |conn, page, reach| {
            let page = dead_letters::list(conn, &DeadLetterFilter::default(), page, reach)?;
            Ok(ids(&page, |it| it.id.clone()))
        },
    ),
    (
        "SELECT CAST(id AS TEXT) FROM operator_log",
        |conn, page, reach| {
            let page = log::list(conn, &LogFilter::default(), page, reach)?;
            Ok(ids(&page, |it| it.id.to_string()))
        },
    ),
];

impl Reader {
    fn new((all, read): &(&'static str, Read)) -> Self {
        Self {
            all,
            read: *read,
            after: None,
            is_over: false,
            shown: Vec::new(),
            all_the_time: None,
        }
    }

    /// Looks at what there is, and reads the next page.
    fn go_on(&mut self, house: &House, limit: usize, reach: Reach) {
        if self.is_over {
            return;
        }
        let now = house.ids(self.all);
        self.all_the_time = Some(match self.all_the_time.take() {
            Some(before) => before.intersection(&now).cloned().collect(),
            None => now,
        });
        let asked = PageQuery {
            after: self.after,
            limit: Some(limit),
        };
        let read = self.read;
        let page = house.it.by_shell(|conn| read(conn, asked, reach).unwrap());
        self.shown.extend(page.items);
        self.after = page.next;
        self.is_over = page.next.is_none();
    }

    fn check(&self) {
        let once: BTreeSet<String> = self.shown.iter().cloned().collect();
        assert_eq!(once.len(), self.shown.len(), "{}: shown twice", self.all);
        let all_the_time = self.all_the_time.clone().unwrap_or_default();
        let missed: Vec<&String> = all_the_time.difference(&once).collect();
        assert!(missed.is_empty(), "{}: missed {missed:?}", self.all);
    }
}

async fn read_meanwhile(on: On, meanwhile: Vec<Vec<Happening>>, limit: usize, sorted: i64) {
    let mut house = House::new(on).await;
    let reach = Reach {
        sorted,
        ..Reach::default()
    };
    let mut readers: Vec<Reader> = LISTS.iter().map(Reader::new).collect();
    let mut meanwhile = meanwhile.into_iter();
    while readers.iter().any(|it| !it.is_over) {
        for it in &mut readers {
            it.go_on(&house, limit, reach);
        }
        for happening in meanwhile.next().unwrap_or_default() {
            house.happens(&happening).await;
        }
    }
    readers.iter().for_each(Reader::check);
}

on_each_database! {
    no_row_that_was_there_all_the_time_is_missed_or_shown_twice;
}

fn no_row_that_was_there_all_the_time_is_missed_or_shown_twice(on: On) {
    let happenings = vec(vec(happening(), 0..6), 12);
    let asked = (happenings, 1..5_usize, select(&[0, 1000_i64][..]));
    each(on, asked, async |(meanwhile, limit, sorted)| {
        read_meanwhile(on, meanwhile, limit, sorted).await;
        Ok(())
    });
}
