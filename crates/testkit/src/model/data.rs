//! What the model holds: the tables of a database as ordered maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tombola_core::award::{Row, Step, Terms};
use tombola_core::campaign::{CampaignFile, CampaignState, Kind, Rules};
use tombola_core::draw::DrawFact;
use tombola_core::endpoint::EndpointSpec;
use tombola_core::message::Message;
use tombola_core::ports::{
    Actor, Address, ApiKey, Handoff, ImportId, KeptMessage, KeptRequest, Operation, PauseScope,
};
use tombola_core::signing::SigningSecret;
use tombola_core::time::CivilDay;
use tombola_core::{AwardId, DrawId, Timestamp};

/// Everything.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) next_id: i64,
    pub(super) campaigns: BTreeMap<Arc<str>, Campaign>,
    pub(super) draws: BTreeMap<DrawId, DrawFact>,
    pub(super) requests: BTreeMap<DrawKey, Request>,
    /// By source and order.
    pub(super) adopted: BTreeMap<(Arc<str>, i64), AwardId>,
    /// By client, operation and key.
    pub(super) kept_requests: BTreeMap<(String, String, String), Kept>,
    pub(super) awards: BTreeMap<AwardId, Award>,
    pub(super) imports: BTreeMap<i64, Import>,
    pub(super) codes: Vec<Code>,
    /// One credit an award.
    pub(super) points: BTreeMap<AwardId, PointsEntry>,
    pub(super) addresses: BTreeMap<AwardId, Address>,
    pub(super) shipments: BTreeMap<AwardId, (String, String)>,
    /// By lane.
    pub(super) endpoints: BTreeMap<i64, EndpointRow>,
    pub(super) pauses: Vec<PauseScope>,
    /// By epoch, partition and offset.
    pub(super) kept: BTreeMap<(i64, i32, i64), KeptMessage>,
    pub(super) keys: Vec<ApiKey>,
    pub(super) blocked: BTreeSet<Arc<str>>,
    pub(super) operations: Vec<Operation>,
    /// Users that are being erased, by the name that takes their place.
    pub(super) erasing: BTreeMap<String, String>,
    pub(super) operator_log: Vec<LogLine>,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            next_id: 1,
            campaigns: BTreeMap::default(),
            draws: BTreeMap::default(),
            requests: BTreeMap::default(),
            adopted: BTreeMap::default(),
            kept_requests: BTreeMap::default(),
            awards: BTreeMap::default(),
            imports: BTreeMap::default(),
            codes: Vec::default(),
            points: BTreeMap::default(),
            addresses: BTreeMap::default(),
            shipments: BTreeMap::default(),
            endpoints: BTreeMap::default(),
            pauses: Vec::default(),
            kept: BTreeMap::default(),
            keys: Vec::default(),
            blocked: BTreeSet::default(),
            operations: Vec::default(),
            erasing: BTreeMap::default(),
            operator_log: Vec::default(),
        }
    }
}

/// Scope of a draw's request key: campaign, client, key.
pub(super) type DrawKey = (Arc<str>, Arc<str>, Arc<str>);

/// What a request key stands for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) fingerprint: [u8; 16],
    pub(super) draws: Vec<DrawId>,
}

/// What is kept of a request that was no draw.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) request: KeptRequest,
    /// JSON of what the port answered.
    pub(super) effect: Option<String>,
    pub(super) at: Timestamp,
}

/// A campaign: the version in force (or the newest, if none ever was) with its
/// state, and beside it a newer version that is being prepared.
#[derive(Debug)]
pub(super) struct Campaign {
    /// Version n is the member n - 1; none is ever edited.
    pub(super) versions: Vec<Version>,
    pub(super) version: i32,
    pub(super) state: CampaignState,
    pub(super) next: Option<(i32, CampaignState)>,
    /// Who submitted the newest version.
    pub(super) submitted_by: Option<String>,
    /// Draws of all users.
    pub(super) draws: u64,
    /// Latest civil day of its draws.
    pub(super) day: CivilDay,
    /// By slug; carried over versions.
    pub(super) prizes: BTreeMap<String, PrizeRow>,
    /// By user.
    pub(super) allowances: BTreeMap<Arc<str>, AllowanceRow>,
    /// By user and slug of the prize.
    pub(super) wins: BTreeMap<(Arc<str>, String), u64>,
}

impl Campaign {
    pub(super) fn rules(&self, version: i32) -> &Version {
        let index = usize::try_from(version - 1).unwrap_or(usize::MAX);
        self.versions
            .get(index)
            .expect("a version that is named somewhere was put in before")
    }

    pub(super) fn newest(&self) -> i32 {
        i32::try_from(self.versions.len()).unwrap_or(i32::MAX)
    }
}

/// One version of a campaign.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) file: CampaignFile,
    pub(super) rules: Arc<Rules>,
}

/// What was given of a prize.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrizeRow {
    pub(super) kind: Kind,
    /// The live figure: what the file says plus what operators changed, and never
    /// less than what was given.
    pub(super) stock: Option<u64>,
    /// What operators added and withdrew.
    pub(super) changed: i64,
    pub(super) spent: u64,
    /// The civil day that `day_spent` speaks of.
    pub(super) day: CivilDay,
    pub(super) day_spent: u64,
}

/// How often a user has drawn.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AllowanceRow {
    pub(super) total: u64,
    /// The civil day that `day_total` speaks of.
    pub(super) day: CivilDay,
    pub(super) day_total: u64,
}

/// An award: its delivery row and the facts of its draw.
#[derive(Debug)]
pub(super) struct Award {
    pub(super) row: Row,
    pub(super) campaign: Arc<str>,
    /// Version of the rules that it was drawn by.
    pub(super) version: i32,
    pub(super) prize: Arc<str>,
    pub(super) user: Arc<str>,
    pub(super) drawn_at: Timestamp,
    pub(super) message_id: String,
    pub(super) delivery_key: String,
    pub(super) traceparent: Option<Arc<str>>,
    pub(super) is_poisoned: bool,
    pub(super) receipt: Option<String>,
    /// When it came into its final state.
    pub(super) ended_at: Option<Timestamp>,
    /// One line for each publish, attempt and act.
    pub(super) log: Vec<String>,
}

/// A pool of codes; visible only while it is ready.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) campaign: Arc<str>,
    pub(super) prize: Arc<str>,
    pub(super) state: ImportState,
    /// It was visible once.
    pub(super) was_ready: bool,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportState {
    /// Codes are being added.
    Running,
    /// Its codes can be given.
    Ready,
    /// It failed or was withdrawn; its free codes go.
    Removed,
}

/// One code; at most one award has it, for ever.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) import: ImportId,
    pub(super) campaign: Arc<str>,
    pub(super) text: String,
    pub(super) award: Option<AwardId>,
    pub(super) is_voided: bool,
    /// Its user was erased: it stays taken and is shown to nobody.
    pub(super) is_erased: bool,
}

impl Code {
    pub(super) const fn is_free(&self) -> bool {
        self.award.is_none() && !self.is_voided
    }
}

#[derive(Debug)]
pub(super) struct PointsEntry {
    pub(super) user: Arc<str>,
    pub(super) points: i64,
    /// Taken back.
    pub(super) is_reversed: bool,
}

/// An endpoint and whether it may be called.
#[derive(Debug)]
pub(super) struct EndpointRow {
    pub(super) spec: EndpointSpec,
    /// The newest first.
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) is_enabled: bool,
}

/// What a person did.
#[derive(Debug)]
pub(super) struct LogLine {
    pub(super) at: Timestamp,
    pub(super) actor: Actor,
    pub(super) what: String,
}

impl Data {
    /// What prize and endpoint say of an award: the prize as it was drawn, the
    /// endpoint as it is now.
    pub(super) fn terms(&self, award: AwardId) -> Option<Terms> {
        let it = self.awards.get(&award)?;
        let rules = &self.campaigns.get(&it.campaign)?.rules(it.version).rules;
        let (_, prize) = rules.prize(&it.prize)?;
        let is_idempotent = self
            .endpoints
            .get(&it.row.lane)
            .is_some_and(|endpoint| endpoint.spec.idempotent);
        Some(Terms::of(prize, is_idempotent))
    }

    /// Writes what the table said of an event: the row, its line in the log, the
    /// unit that goes back, the code that is void with a cancelled award.
    pub(super) fn write(&mut self, award: AwardId, step: &Step, line: &str, now: Timestamp) {
        let Some(it) = self.awards.get_mut(&award) else {
            return;
        };
        match step {
            Step::Changed(change) => {
                it.log.push(line.to_owned());
                it.row = change.row.clone();
                it.ended_at = it.row.state.is_final().then_some(now);
                if change.stock_back {
                    let prize = self
                        .campaigns
                        .get_mut(&it.campaign)
                        .and_then(|campaign| campaign.prizes.get_mut(&*it.prize));
                    if let Some(prize) = prize {
                        prize.spent = prize.spent.saturating_sub(1);
                    }
                }
                if it.row.state == tombola_core::award::State::Cancelled {
                    for code in self
                        .codes
                        .iter_mut()
                        .filter(|code| code.award == Some(award))
                    {
                        code.is_voided = true;
                    }
                }
            }
            Step::Late => it.log.push(format!("late: {line}")),
            Step::Same | Step::Refused(_) => {}
        }
    }

    /// Whether deliveries of this award are paused.
    pub(super) fn is_paused(&self, award: AwardId) -> bool {
        let Some(it) = self.awards.get(&award) else {
            return false;
        };
        let endpoint = self
            .endpoints
            .get(&it.row.lane)
            .map(|endpoint| endpoint.spec.name.as_str());
        self.pauses.iter().any(|pause| {
            pause
                .campaign
                .as_deref()
                .is_none_or(|campaign| campaign == &*it.campaign)
                && pause
                    .prize
                    .as_deref()
                    .is_none_or(|prize| prize == &*it.prize)
                && pause
                    .endpoint
                    .as_deref()
                    .is_none_or(|name| Some(name) == endpoint)
        })
    }

    /// Whether what a hold of that reason waits for is there.
    pub(super) fn has_ended(
        &self,
        award: AwardId,
        reason: tombola_core::reason::HoldReason,
    ) -> bool {
        use tombola_core::reason::HoldReason;
        let Some(it) = self.awards.get(&award) else {
            return false;
        };
        match reason {
            HoldReason::Paused => !self.is_paused(award),
            HoldReason::Address => self.addresses.contains_key(&award),
            HoldReason::NoCode => self.free_code(award).is_some(),
            HoldReason::EndpointDisabled => self
                .endpoints
                .get(&it.row.lane)
                .is_some_and(|endpoint| endpoint.is_enabled),
            HoldReason::Manual
            | HoldReason::Scheduled
            | HoldReason::Shipment
            | HoldReason::External => false,
        }
    }

    /// The first code that this award could be given: of its own prize, of an
    /// import that is finished.
    pub(super) fn free_code(&self, award: AwardId) -> Option<usize> {
        let it = self.awards.get(&award)?;
        self.codes.iter().position(|code| {
            code.is_free()
                && self.imports.get(&code.import.0).is_some_and(|import| {
                    import.state == ImportState::Ready
                        && import.campaign == it.campaign
                        && import.prize == it.prize
                })
        })
    }

    /// The message of an award with the lease that its mark must carry.
    pub(super) fn handoff(&self, award: AwardId, now: Timestamp) -> Option<Handoff> {
        let it = self.awards.get(&award)?;
        let rules = &self.campaigns.get(&it.campaign)?.rules(it.version).rules;
        let (_, prize) = rules.prize(&it.prize)?;
        Some(Handoff {
            award,
            lease: it.row.lease,
            message: Message::new(rules, prize, award, &it.user, &it.message_id, it.drawn_at),
            traceparent: it.traceparent.clone(),
            at: now,
        })
    }

    /// What a person did, in the transaction in which it was done.
    pub(super) fn log(&mut self, actor: &Actor, what: impl Into<String>, at: Timestamp) {
        self.operator_log.push(LogLine {
            at,
            actor: actor.clone(),
            what: what.into(),
        });
    }
}
