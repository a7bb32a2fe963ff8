//! Adopting: an award that another system has drawn is taken in, once for each of that
//! system's orders. Nothing is chosen here, so nothing of what bounds a draw applies: the
//! system that drew has counted its stock and its limits itself. What adopts therefore
//! has none: a prize with a stock or a cap, and a campaign with limits, adopt nothing.

use crate::award::first_row;
use crate::campaign::odds::Roll;
use crate::campaign::{CampaignState, Limits, Rules};
use crate::draw::{DrawRequest, NewDraw, Ticket};
use crate::reason::KeptReason;
use crate::retry::Schedule;
use crate::time::Timestamp;
use std::sync::Arc;

/// What a message of another draw system says was won there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// Which system it was: scope of its orders.
    pub source: Arc<str>,
    /// Its `orderId`, which may be beyond 2^53.
    pub order: i64,
    /// The campaign of the prize.
    pub campaign: Arc<str>,
    /// The slug of the prize that its `awardId` stands for here.
    pub prize: Arc<str>,
    /// Its `awardType`, where it says one.
    pub award_type: Option<i32>,
    /// Who won.
    pub user: Arc<str>,
    /// The id and the tails of the award here; its roll is not used.
    pub ticket: Ticket,
    /// Trace context of the message.
    pub traceparent: Option<Arc<str>>,
    /// Version of the key that signs the claim token.
    pub claim_key_version: i32,
}

impl Adoption {
    /// As the draw that it is here: what is not drawn by a request has none of its key.
    pub fn as_request(&self) -> DrawRequest {
        DrawRequest {
            client: Arc::clone(&self.source),
            user: Arc::clone(&self.user),
            key: self.order.to_string().into(),
            fingerprint: [0; 16],
            tickets: vec![self.ticket],
            traceparent: self.traceparent.clone(),
            claim_key_version: self.claim_key_version,
        }
    }
}

/// What adopts: the rules in force and where their campaign stands.
#[derive(Debug, Clone, Copy)]
pub struct Adopter<'a> {
    /// The rules in force.
    pub rules: &'a Rules,
    /// The stored state. One that is closed takes nothing new; a pause is of draws.
    pub state: CampaignState,
    /// By index of the prize: its lane, or none while its endpoint is missing.
    pub lanes: &'a [Option<i64>],
    /// The instant of the batch.
    pub now: Timestamp,
    /// When awards are looked at again.
    pub schedule: &'a Schedule,
}

impl Adopter<'_> {
    /// The award that comes of it, or why the message is kept instead.
    pub fn adopt(&self, adoption: &Adoption) -> Result<NewDraw, KeptReason> {
        if !matches!(self.state, CampaignState::Started | CampaignState::Paused) {
            return Err(KeptReason::NotAdoptable);
        }
        let (index, prize) = adoptable(self.rules, &adoption.prize)?;
        let lane = self.lanes.get(index).copied().flatten();
        let lane = lane.ok_or(KeptReason::NotAdoptable)?;
        let of_prize = prize
            .award_type
            .unwrap_or_else(|| prize.kind().award_type());
        if adoption.award_type.is_some_and(|said| said != of_prize) {
            return Err(KeptReason::OtherKind);
        }
        let award = adoption.ticket.id.award();
        Ok(NewDraw {
            ticket: Ticket {
                roll: Roll(0), // none was consumed
                ..adoption.ticket
            },
            unavailable: None,
            prize: Some(index),
            award: Some(first_row(award, prize, lane, self.now, self.schedule, true)),
        })
    }
}

/// The prize of that slug, if what was drawn elsewhere may become an award of it.
pub fn adoptable<'a>(
    rules: &'a Rules,
    slug: &str,
) -> Result<(usize, &'a crate::campaign::Prize), KeptReason> {
    let prize = rules.prize(slug);
    prize
        .filter(|(_, prize)| prize.is_unlimited() && rules.limits == Limits::default())
        .ok_or(KeptReason::NotAdoptable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::award::State;
    use crate::campaign::{Kind, parse_toml};
    use crate::ids::DrawId;

    fn rules(limits: &str, lines: &str) -> Rules {
        let text = format!(
            "[campaign]\nslug = \"fair\"\nname = \"Fair\"\n{limits}\n[[prize]]\nslug = \"it\"\nname = \"It\"\nweight = 1\n{lines}"
        );
        parse_toml("t", &text).unwrap().check().unwrap()
    }

    fn adoption(award_type: Option<i32>) -> Adoption {
        Adoption {
            source: "java".into(),
            order: 1_662_799_798_929_063_936,
            campaign: "fair".into(),
            prize: "it".into(),
            award_type,
            user: "u1".into(),
            ticket: Ticket {
                id: DrawId(7),
                roll: Roll(9),
                message_tail: 1,
                delivery_tail: 2,
            },
            traceparent: None,
            claim_key_version: 1,
        }
    }

    fn adopt(
        rules: &Rules,
        state: CampaignState,
        said: Option<i32>,
    ) -> Result<NewDraw, KeptReason> {
        let adopter = Adopter {
            rules,
            state,
            lanes: &[Some(0)],
            now: Timestamp(1_771_000_000_000_000),
            schedule: &Schedule::default(),
        };
        adopter.adopt(&adoption(said))
    }

    const TEXT: &str = "kind = \"text\"\ntext = \"hello\"\n";

    #[test]
    fn what_was_drawn_elsewhere_becomes_an_award_of_its_prize_and_consumes_no_roll() {
        let rules = rules("", TEXT);
        for state in [CampaignState::Started, CampaignState::Paused] {
            let drawn = adopt(&rules, state, Some(1)).unwrap();
            assert_eq!((drawn.prize, drawn.ticket.roll), (Some(0), Roll(0)));
            let row = drawn.award.unwrap();
            assert_eq!((row.kind, row.state), (Kind::Text, State::Pending));
        }
        assert!(adopt(&rules, CampaignState::Started, None).is_ok());
    }

    #[test]
    fn another_kind_than_the_prize_has_is_kept() {
        let plain = rules("", TEXT);
        let other = adopt(&plain, CampaignState::Started, Some(4));
        assert_eq!(other, Err(KeptReason::OtherKind));
        let told = rules("", &format!("{TEXT}award_type = 4\n"));
        assert!(adopt(&told, CampaignState::Started, Some(4)).is_ok());
    }

    #[test]
    fn nothing_is_adopted_where_something_is_counted_or_the_campaign_is_not_begun() {
        let unlimited = rules("", TEXT);
        for state in [
            CampaignState::Draft,
            CampaignState::Submitted,
            CampaignState::Approved,
            CampaignState::Refused,
            CampaignState::Closed,
        ] {
            let refused = adopt(&unlimited, state, None);
            assert_eq!(refused, Err(KeptReason::NotAdoptable), "{state}");
        }
        for (limits, more) in [
            ("", "stock = 5\n"),
            ("", "daily_cap = 5\n"),
            ("", "per_user_wins = 5\n"),
            ("[limits]\nper_user_total = 5\n", ""),
            ("[limits]\ncampaign_total = 5\n", ""),
        ] {
            let rules = rules(limits, &format!("{TEXT}{more}"));
            let refused = adopt(&rules, CampaignState::Started, None);
            assert_eq!(refused, Err(KeptReason::NotAdoptable), "{limits}{more}");
        }
    }
}
