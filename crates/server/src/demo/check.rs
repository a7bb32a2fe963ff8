//! Counts what was lost and what was paid twice, from what the callers and the
//! receiver wrote down: each answer must be given again byte for byte under its
//! key, each win must be delivered, each code must have one winner, and the
//! receiver must have paid each of its awards once and no others.

use super::callers::{History, Pace, until_answered};
use super::receiver::Receiver;
use super::wire::{Call, Wire, patient};
use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

const AT_ONCE: usize = 32;
const PAGE: usize = 500;

/// What was found amiss, and the awards as they ended.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) lost: u64,
    pub(crate) double: u64,
    pub(crate) problems: Vec<String>,
    /// By state, for each award that was won.
    pub(crate) states: BTreeMap<String, u64>,
    /// Won and delivered, by prize.
    pub(crate) prizes: BTreeMap<String, (u64, u64)>,
    pub(crate) wins: u64,
}

impl Found {
    fn lose(&mut self, problem: String) {
        self.lost += 1;
        self.problem(problem);
    }

    fn doubled(&mut self, problem: String) {
        self.double += 1;
        self.problem(problem);
    }

    fn problem(&mut self, problem: String) {
        // The first few tell the story; thousands would hide it.
        if self.problems.len() < 20 {
            self.problems.push(problem);
        }
    }
}

/// Looks for what was lost or doubled.
pub(crate) async fn check(
    wire: &Arc<dyn Wire>,
    campaign: &str,
    history: &History,
    receiver: &Receiver,
) -> Result<Found> {
    let mut found = Found::default();
    replay_all(wire, campaign, history, &mut found).await?;
    let awards = all_awards(wire, campaign).await?;
    let mut known = HashSet::new();
    let mut codes = Vec::new();
    for drawn in &history.drawn {
        let draw = drawn.draw()?;
        let Some(id) = draw["award"]["id"].as_i64() else {
            continue;
        };
        found.wins += 1;
        if !known.insert(id) {
            found.doubled(format!("award {id} was given to two request keys"));
        }
        let prize = draw["prize"].as_str().unwrap_or_default().to_owned();
        let state = awards
            .get(&id)
            .map_or("missing", |award| award.state.as_str());
        *found.states.entry(state.to_owned()).or_default() += 1;
        let line = found.prizes.entry(prize).or_default();
        line.0 += 1;
        line.1 += u64::from(state == "delivered");
        if state != "delivered" && state != "cancelled" {
            found.lose(format!("award {id} of `{}` ended {state}", drawn.ask.key));
        }
        if draw["award"]["kind"] == "code" {
            codes.push((
                id,
                draw["award"]["claim_token"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ));
        }
    }
    for id in awards.keys().filter(|id| !known.contains(id)) {
        found.doubled(format!("award {id} was won by no answered request"));
    }
    check_receiver(receiver, &awards, &mut found);
    check_codes(wire, codes, &mut found).await?;
    if history.unequal > 0 {
        found.doubled(format!(
            "{} requests made twice got two answers",
            history.unequal
        ));
    }
    Ok(found)
}

/// Every key is used once more: the same bytes must come.
async fn replay_all(
    wire: &Arc<dyn Wire>,
    campaign: &str,
    history: &History,
    found: &mut Found,
) -> Result<()> {
    let path = format!("/v1/campaigns/{campaign}/draws");
    let pace = Pace::default();
    let unequal: Vec<&str> = stream::iter(history.drawn.iter().map(|drawn| {
        let (path, pace) = (&path, &pace);
        async move {
            let answer = until_answered(&**wire, path, &drawn.ask, pace).await?;
            let is_equal = answer.is_created() && answer.body == drawn.body;
            Ok::<_, anyhow::Error>((!is_equal).then_some(drawn.ask.key.as_str()))
        }
    }))
    .buffer_unordered(AT_ONCE)
    .try_filter_map(|unequal| async move { Ok(unequal) })
    .try_collect()
    .await?;
    for key in unequal {
        found.lose(format!("the answer to `{key}` is not what it was"));
    }
    Ok(())
}

struct Award {
    state: String,
    kind: String,
}

async fn all_awards(wire: &Arc<dyn Wire>, campaign: &str) -> Result<HashMap<i64, Award>> {
    let mut awards = HashMap::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/awards?campaign={campaign}&limit={PAGE}{after}");
        let page = patient(wire, Call::get(&path)).await?;
        for award in page["items"]
            .as_array()
            .context("the list of awards is not a list")?
        {
            awards.insert(
                award["id"].as_i64().context("an award has no id")?,
                Award {
                    state: award["state"].as_str().unwrap_or_default().to_owned(),
                    kind: award["kind"].as_str().unwrap_or_default().to_owned(),
                },
            );
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(awards),
        }
    }
}

fn check_receiver(receiver: &Receiver, awards: &HashMap<i64, Award>, found: &mut Found) {
    let paid: HashSet<i64> = receiver.read(|ledger| ledger.paid().collect());
    for (id, award) in awards.iter().filter(|(_, award)| award.kind == "webhook") {
        if award.state == "delivered" && !paid.contains(id) {
            found.lose(format!(
                "award {id} counts as delivered; the receiver never paid it"
            ));
        }
    }
    for id in paid
        .iter()
        .filter(|id| awards.get(id).is_none_or(|award| award.kind != "webhook"))
    {
        found.doubled(format!(
            "the receiver paid award {id}, which is none of its own"
        ));
    }
    let (double, bad) = receiver.read(|ledger| (ledger.double(), ledger.bad_signatures()));
    for _ in 0..double {
        found.doubled("the receiver paid an award under two delivery keys".to_owned());
    }
    if bad > 0 {
        found.problem(format!(
            "{bad} calls came with a signature that does not verify"
        ));
    }
}

/// Every winner of a code looks at it, with the claim token of the draw.
async fn check_codes(
    wire: &Arc<dyn Wire>,
    codes: Vec<(i64, String)>,
    found: &mut Found,
) -> Result<()> {
    let seen: Vec<(i64, Option<String>)> =
        stream::iter(codes.into_iter().map(|(id, token)| async move {
            let path = format!("/v1/awards/{id}");
            let award = patient(wire, Call::get(&path).as_winner(&token)).await?;
            Ok::<_, anyhow::Error>((id, award["content"].as_str().map(ToOwned::to_owned)))
        }))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut owners = HashMap::new();
    for (id, code) in seen {
        match code {
            None => found.lose(format!("the winner of award {id} is shown no code")),
            Some(code) => {
                if let Some(other) = owners.insert(code, id) {
                    found.doubled(format!("awards {other} and {id} have the same code"));
                }
            }
        }
    }
    Ok(())
}
