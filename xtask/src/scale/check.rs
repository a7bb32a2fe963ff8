//! Counts what was lost and what happened twice, from what the callers and the receiver wrote down
//! against what the rows and the API say: each answered draw is there as it was answered and no
//! other is; each win was delivered; the receiver paid each of its awards once; balances, codes,
//! limits and stock are exact.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::callers::History;
use super::plan::{CAMPAIGN, POINTS, Sizes};
use super::receiver::Ledger;
use super::town::{Town, joined};
use super::wire::{Call, Wire};

/// Readers of balances and codes.
const READERS: usize = 8;
/// The first few tell the story; thousands would hide it.
const PROBLEMS_MAX: usize = 40;

/// What was found amiss.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) lost: u64,
    pub(super) double: u64,
    /// Delivered, by prize.
    pub(super) delivered: BTreeMap<String, u64>,
    pub(super) problems: Vec<String>,
}

impl Found {
    pub(super) fn is_clean(&self) -> bool {
        self.lost == 0 && self.double == 0 && self.problems.is_empty()
    }

    fn lose(&mut self, problem: String) {
        self.lost += 1;
        self.problem(problem);
    }

    fn doubled(&mut self, problem: String) {
        self.double += 1;
        self.problem(problem);
    }

    pub(super) fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

/// Everything, once nothing is unfinished or patience has ended.
pub(super) fn check(
    town: &Town,
    sizes: Sizes,
    history: &History,
    ledger: &Ledger,
) -> Result<Found> {
    let mut found = Found::default();
    for key in &history.unequal {
        found.doubled(format!("`{key}` was answered differently when used again"));
    }
    let draws = town.list(&["draw", "list", CAMPAIGN])?;
    check_draws(&draws, history, &mut found)?;
    let awards = town.list(&["award", "list", "--campaign", CAMPAIGN])?;
    check_awards(&awards, history, &mut found)?;
    check_ledger(ledger, history, &mut found);
    check_limits(sizes, history, &mut found);
    let shown = town.call(Call::get(&format!("/v1/campaigns/{CAMPAIGN}")))?;
    check_stock(&shown.json(), history, &mut found);
    check_balances(town, history, &mut found)?;
    check_codes(town, history, &mut found)?;
    Ok(found)
}

/// The topic as the cluster tells it, with all brokers back; the messages on it.
pub(super) fn topic(topic: &Value, found: &mut Found) -> u64 {
    let partitions = topic["partitions"].as_array().into_iter().flatten();
    let mut messages = 0;
    for partition in partitions {
        messages += partition["high_watermark"].as_u64().unwrap_or_default();
        let replicas = partition["replicas"].as_array().map_or(0, Vec::len);
        if replicas != 3 || partition["leader"].is_null() {
            found.problem(format!("a partition is not what it was made: {partition}"));
        }
    }
    if topic["settings"]["min.insync.replicas"] != 2 {
        found.problem(format!("the topic is not what it was made: {topic}"));
    }
    messages
}

fn check_draws(draws: &[Value], history: &History, found: &mut Found) -> Result<()> {
    let mut rows = HashMap::new();
    for draw in draws {
        let id = draw["id"].as_i64().context("a draw without an id")?;
        rows.insert(id, (draw["user"].as_str(), draw["prize"].as_str()));
    }
    let mut answered = HashSet::new();
    for draw in &history.draws {
        let Some((user, prize)) = rows.get(&draw.id) else {
            found.lose(format!("draw {} was answered and is gone", draw.id));
            continue;
        };
        if *user != Some(draw.user.as_str()) || *prize != draw.prize.as_deref() {
            found.lose(format!(
                "draw {} is not what was answered: {user:?} {prize:?}",
                draw.id
            ));
        }
        if !answered.insert(draw.id) {
            found.doubled(format!("draw {} was given to two request keys", draw.id));
        }
    }
    for id in rows.keys().filter(|id| !answered.contains(id)) {
        found.doubled(format!("draw {id} was answered to nobody"));
    }
    Ok(())
}

fn check_awards(awards: &[Value], history: &History, found: &mut Found) -> Result<()> {
    let mut rows = HashMap::new();
    for award in awards {
        rows.insert(
            award["id"].as_i64().context("an award without an id")?,
            award,
        );
    }
    let mut won = HashSet::new();
    for (draw, prize) in history.wins() {
        won.insert(draw.id);
        let state = rows
            .get(&draw.id)
            .and_then(|award| award["state"].as_str())
            .unwrap_or("gone");
        if state == "delivered" {
            *found.delivered.entry(prize.to_owned()).or_default() += 1;
        } else {
            let row = rows.get(&draw.id).map(ToString::to_string);
            found.lose(format!(
                "award {} of {prize} ended {state}: {}",
                draw.id,
                row.unwrap_or_default()
            ));
        }
    }
    for id in rows.keys().filter(|id| !won.contains(id)) {
        found.doubled(format!("award {id} was won by nobody"));
    }
    Ok(())
}

fn check_ledger(ledger: &Ledger, history: &History, found: &mut Found) {
    let coupons: HashSet<_> = history
        .wins()
        .filter(|(_, prize)| *prize == "coupon")
        .map(|(draw, _)| draw.id)
        .collect();
    for id in &coupons {
        if !ledger.paid.contains_key(id) {
            found.lose(format!("the receiver never paid award {id}"));
        }
    }
    for (id, keys) in &ledger.paid {
        if keys.len() > 1 {
            found.doubled(format!("the receiver paid award {id} under {keys:?}"));
        }
        if !coupons.contains(id) {
            found.doubled(format!(
                "the receiver paid award {id}, which is none of its own"
            ));
        }
    }
}

/// Nobody drew more than the limit, and whoever was refused had drawn nearly as much.
fn check_limits(sizes: Sizes, history: &History, found: &mut Found) {
    let mut drawn: HashMap<&str, u64> = HashMap::new();
    for draw in &history.draws {
        *drawn.entry(&draw.user).or_default() += 1;
    }
    for (user, count) in &drawn {
        if *count > sizes.limit {
            found.doubled(format!(
                "{user} drew {count} times, the limit is {}",
                sizes.limit
            ));
        }
    }
    for (user, count) in &history.refused {
        let has = drawn.get(user.as_str()).copied().unwrap_or_default();
        if has + count <= sizes.limit {
            found.problem(format!("{user} was refused {count} draws and had {has}"));
        }
    }
}

fn check_stock(shown: &Value, history: &History, found: &mut Found) {
    let won = history.won();
    for prize in shown["prizes"].as_array().into_iter().flatten() {
        let name = prize["prize"].as_str().unwrap_or_default();
        let (Some(stock), Some(left)) = (prize["stock"].as_u64(), prize["left"].as_u64()) else {
            continue;
        };
        let won = won.get(name).copied().unwrap_or_default();
        if won > stock {
            found.doubled(format!("{won} of {stock} {name} were won"));
        }
        if won + left != stock {
            found.problem(format!(
                "{name}: {won} were won of {stock}, and {left} are left"
            ));
        }
    }
}

fn check_balances(town: &Town, history: &History, found: &mut Found) -> Result<()> {
    let mut due: BTreeMap<String, i64> = BTreeMap::new();
    for draw in &history.draws {
        let points = if draw.prize.as_deref() == Some("thanks") {
            POINTS
        } else {
            0
        };
        *due.entry(draw.user.clone()).or_default() += points;
    }
    let users: Vec<_> = due.into_iter().collect();
    let read = |(user, due): &(String, i64)| {
        let path = format!("/v1/users/{user}/points?limit=1");
        (path, "balance", (user.clone(), *due))
    };
    for ((user, due), balance) in read_all(town, &users, read)? {
        let balance = balance.as_i64().unwrap_or_default();
        if balance < due {
            found.lose(format!("{user} has {balance} points and won {due}"));
        } else if balance > due {
            found.doubled(format!("{user} has {balance} points and won {due}"));
        }
    }
    Ok(())
}

fn check_codes(town: &Town, history: &History, found: &mut Found) -> Result<()> {
    let awards: Vec<_> = history
        .wins()
        .filter(|(_, prize)| *prize == "voucher")
        .map(|(draw, _)| draw.id)
        .collect();
    let read = |id: &i64| (format!("/v1/awards/{id}"), "content", *id);
    let mut owners = HashMap::new();
    for (id, code) in read_all(town, &awards, read)? {
        match code.as_str().map(str::to_owned) {
            None => found.lose(format!("the winner of award {id} is shown no code")),
            Some(code) => {
                if let Some(other) = owners.insert(code, id) {
                    found.doubled(format!("awards {other} and {id} have one code"));
                }
            }
        }
    }
    Ok(())
}

/// One member of the answer to each call, which some readers make side by side.
fn read_all<T: Sync, K: Send>(
    town: &Town,
    of: &[T],
    call: impl Fn(&T) -> (String, &'static str, K) + Sync,
) -> Result<Vec<(K, Value)>> {
    let part = of.len().div_ceil(READERS).max(1);
    std::thread::scope(|scope| {
        let readers: Vec<_> = of
            .chunks(part)
            .enumerate()
            .map(|(number, part)| {
                let call = &call;
                scope.spawn(move || {
                    let mut wire = Wire::connect(&town.api(number))?;
                    let read = |it: &T| {
                        let (path, member, key) = call(it);
                        let answer = wire.call(Call::get(&path))?;
                        let value = answer.json()[member].take();
                        Ok::<_, anyhow::Error>((key, value))
                    };
                    part.iter().map(read).collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let mut whole = Vec::new();
        for reader in readers {
            whole.extend(joined(reader.join())?);
        }
        Ok(whole)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::callers::Draw;
    use super::*;

    fn draw(id: i64, user: &str, prize: Option<&str>) -> Draw {
        Draw {
            id,
            user: user.to_owned(),
            prize: prize.map(str::to_owned),
        }
    }

    fn history() -> History {
        History {
            draws: vec![
                draw(1, "a", Some("coupon")),
                draw(2, "a", None),
                draw(3, "b", Some("phone")),
            ],
            ..History::default()
        }
    }

    fn rows() -> Vec<Value> {
        vec![
            json!({ "id": 1, "user": "a", "prize": "coupon", "state": "delivered" }),
            json!({ "id": 2, "user": "a", "prize": null }),
            json!({ "id": 3, "user": "b", "prize": "phone", "state": "delivered" }),
        ]
    }

    fn awards() -> Vec<Value> {
        let rows = rows().into_iter();
        rows.filter(|row| !row["prize"].is_null()).collect()
    }

    fn counts(of: impl FnOnce(&mut Found)) -> (u64, u64) {
        let mut found = Found::default();
        of(&mut found);
        (found.lost, found.double)
    }

    #[test]
    fn rows_that_agree_with_the_callers_are_clean() {
        let draws = |found: &mut Found| check_draws(&rows(), &history(), found).unwrap();
        assert_eq!(counts(draws), (0, 0));
        let awards = |found: &mut Found| check_awards(&awards(), &history(), found).unwrap();
        assert_eq!(counts(awards), (0, 0));
    }

    #[test]
    fn draw_that_is_gone_or_differs_is_lost_and_one_more_is_double() {
        let gone = |found: &mut Found| check_draws(&rows()[1..], &history(), found).unwrap();
        assert_eq!(counts(gone), (1, 0));
        let mut other = rows();
        other[1]["prize"] = json!("phone");
        let differs = |found: &mut Found| check_draws(&other, &history(), found).unwrap();
        assert_eq!(counts(differs), (1, 0));
        let mut more = rows();
        more.push(json!({ "id": 4, "user": "a", "prize": null }));
        let more = |found: &mut Found| check_draws(&more, &history(), found).unwrap();
        assert_eq!(counts(more), (0, 1));
    }

    #[test]
    fn award_that_was_not_delivered_is_lost_and_one_that_nobody_won_is_double() {
        let mut dead = awards();
        dead[0]["state"] = json!("dead");
        let dead = |found: &mut Found| check_awards(&dead, &history(), found).unwrap();
        assert_eq!(counts(dead), (1, 0));
        let mut more = awards();
        more.push(json!({ "id": 4, "state": "delivered" }));
        let more = |found: &mut Found| check_awards(&more, &history(), found).unwrap();
        assert_eq!(counts(more), (0, 1));
    }

    #[test]
    fn receiver_pays_each_of_its_awards_once_and_no_other() {
        let ledger = |awards: &[(i64, &[&str])]| {
            let mut ledger = Ledger::default();
            for (award, keys) in awards {
                let keys = keys.iter().map(|key| (*key).to_owned()).collect();
                ledger.paid.insert(*award, keys);
            }
            counts(|found| check_ledger(&ledger, &history(), found))
        };
        assert_eq!(ledger(&[(1, &["k"])]), (0, 0));
        assert_eq!(ledger(&[]), (1, 0));
        assert_eq!(ledger(&[(1, &["k", "l"])]), (0, 1));
        assert_eq!(ledger(&[(1, &["k"]), (3, &["m"])]), (0, 1));
    }

    #[test]
    fn topic_that_lost_its_copies_is_amiss() {
        let amiss = |replicas: Value| {
            let partition = json!({ "high_watermark": 7, "leader": 1, "replicas": replicas });
            let settings = json!({ "min.insync.replicas": 2 });
            let described = json!({ "partitions": [partition], "settings": settings });
            let mut found = Found::default();
            assert_eq!(topic(&described, &mut found), 7);
            found.problems.len()
        };
        assert_eq!(amiss(json!([1, 2, 3])), 0);
        assert_eq!(amiss(json!([1])), 1);
    }

    #[test]
    fn limit_and_stock_are_exact() {
        let mut sizes = Sizes::of(1_000);
        sizes.limit = 2;
        assert_eq!(
            counts(|found| check_limits(sizes, &history(), found)),
            (0, 0)
        );
        sizes.limit = 1;
        assert_eq!(
            counts(|found| check_limits(sizes, &history(), found)),
            (0, 1)
        );
        let early = History {
            refused: vec![("b".to_owned(), 1)],
            ..history()
        };
        sizes.limit = 2;
        let mut found = Found::default();
        check_limits(sizes, &early, &mut found);
        assert_eq!(found.problems.len(), 1, "b had one draw left");

        let stock = |stock, left| {
            let shown = json!({ "prizes": [{ "prize": "phone", "stock": stock, "left": left }] });
            let mut found = Found::default();
            check_stock(&shown, &history(), &mut found);
            found.is_clean()
        };
        assert!(stock(5, 4));
        assert!(!stock(5, 5));
        assert!(!stock(0, 0));
    }
}
