//! The people of the demo: the operator who releases and ships, the winner who
//! gives an address with the claim token of the draw, and the outside service that
//! confirms what it delivered by itself. They use the same calls as anybody.

use super::callers::History;
use super::wire::{Answer, Call, Wire, patient};
use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls of all people at the same time.
const AT_ONCE: usize = 16;
/// Awards looked at in one round.
const PAGE: usize = 500;
/// How long people wait before they look again when nothing was to do.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Claim tokens that the winners kept, by award.
pub(crate) fn claim_tokens(history: &History) -> Result<HashMap<i64, String>> {
    let mut tokens = HashMap::new();
    for drawn in &history.drawn {
        let draw = drawn.draw()?;
        if let (Some(id), Some(token)) = (
            draw["award"]["id"].as_i64(),
            draw["award"]["claim_token"].as_str(),
        ) {
            tokens.insert(id, token.to_owned());
        }
    }
    Ok(tokens)
}

/// Acts until nothing of the campaign is unfinished. `tell` hears how many awards
/// are left.
pub(crate) async fn deliver_all(
    wire: &Arc<dyn Wire>,
    campaign: &str,
    (tokens, patience): (&HashMap<i64, String>, Duration),
    tell: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the demo waits in real time")]
    let begun = Instant::now();
    loop {
        let held = awards(wire, campaign, "held").await?;
        let acted = stream::iter(held.iter().map(|award| act(wire, award, tokens)))
            .buffer_unordered(AT_ONCE)
            .try_fold(
                0_usize,
                |sum, acted| async move { Ok(sum + usize::from(acted)) },
            )
            .await?;
        let left = unfinished(wire, campaign).await?;
        tell(left);
        if left == 0 {
            return Ok(());
        }
        anyhow::ensure!(
            begun.elapsed() < patience,
            "{left} awards were not delivered within {} s; look at `tombola award list`",
            patience.as_secs()
        );
        if acted == 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

async fn awards(wire: &Arc<dyn Wire>, campaign: &str, state: &str) -> Result<Vec<Value>> {
    let path = format!("/v1/awards?campaign={campaign}&state={state}&limit={PAGE}");
    let mut page = patient(wire, Call::get(&path)).await?;
    let awards = page["items"]
        .as_array_mut()
        .context("the list of awards is not a list")?;
    Ok(std::mem::take(awards))
}

/// Awards that are on their way or wait for somebody, counted in one read: an
/// award that moves from state to state is not overlooked.
async fn unfinished(wire: &Arc<dyn Wire>, campaign: &str) -> Result<u64> {
    let path = format!("/v1/campaigns/{campaign}");
    let shown = patient(wire, Call::get(&path)).await?;
    let prizes = shown["prizes"]
        .as_array()
        .context("the campaign shows no prizes")?;
    prizes
        .iter()
        .map(|prize| {
            prize["unfinished"]
                .as_u64()
                .context("a prize does not say what is unfinished")
        })
        .sum()
}

/// Does what one held award waits for; whether there was something to do.
async fn act(wire: &Arc<dyn Wire>, award: &Value, tokens: &HashMap<i64, String>) -> Result<bool> {
    let id = award["id"].as_i64().context("an award has no id")?;
    match award["hold_reason"].as_str().unwrap_or_default() {
        "manual" => {
            say(
                wire,
                id,
                "release",
                &json!({ "reason": "demo: released by its operator" }),
                None,
            )
            .await
        }
        "address" => {
            let token = tokens.get(&id).context("a winner has no claim token")?;
            say(wire, id, "address", &address(id), Some(token)).await
        }
        "shipment" => {
            let shipment = json!({ "carrier": "Demo Post", "tracking": format!("DP{id:010}") });
            let arrived = json!({ "receipt": "signed for", "reason": "demo: the carrier says so" });
            Ok(say(wire, id, "shipment", &shipment, None).await?
                && say(wire, id, "confirm", &arrived, None).await?)
        }
        "external" => {
            let seat =
                json!({ "receipt": format!("seat-{id}"), "reason": "demo: the service delivered" });
            say(wire, id, "confirm", &seat, None).await
        }
        _ => Ok(false),
    }
}

/// One act. One without an answer, or one that came too late (409), is made again
/// in the next round if the award still waits.
async fn say(
    wire: &Arc<dyn Wire>,
    id: i64,
    act: &str,
    body: &Value,
    token: Option<&str>,
) -> Result<bool> {
    let (path, key, body) = (
        format!("/v1/awards/{id}/{act}"),
        format!("demo-{act}-{id}"),
        body.to_string(),
    );
    let call = Call {
        claim_token: token,
        ..Call::post(&path, &key, body.as_bytes())
    };
    match wire.call(call).await {
        Ok(Answer { status, .. }) if status == 409 || status >= 500 => Ok(false),
        Ok(answer) => answer.json().map(|_| true),
        Err(_) => Ok(false),
    }
}

fn address(id: i64) -> Value {
    json!({
        "name": format!("Winner {id}"),
        "lines": ["1 Lantern Street"],
        "city": "Suzhou",
        "country": "CN",
    })
}
