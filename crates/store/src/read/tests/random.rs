//! Random rows of the lists, in a database and in memory.

use super::super::fixture::{Fixture, NOW, On};
use crate::sql::{Connection, params};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::reason::{DeadReason, HoldReason, KeptReason};

pub(super) const CAMPAIGNS: [&str; 2] = ["fair", "gala"];
pub(super) const USERS: [&str; 3] = ["ann", "bob", "cid"];
pub(super) const CLIENTS: [&str; 2] = ["app", "shop"];
pub(super) const ENDPOINTS: [&str; 2] = ["keen", "calm"];
/// The prizes of either campaign, with the same slugs.
pub(super) const PRIZES: [(&str, Kind); 3] = [
    ("hello", Kind::Text),
    ("hook", Kind::Webhook),
    ("phone", Kind::Physical),
];
pub(super) const ACTIONS: [&str; 4] = [
    "award hold",
    "award release",
    "campaign start",
    "stock_back",
];

/// An award beside its draw.
#[derive(Debug, Clone)]
pub(super) struct Award {
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) hold_reason: Option<HoldReason>,
    pub(super) dead_reason: Option<DeadReason>,
    pub(super) endpoint: Option<&'static str>,
}

/// A draw.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    pub(super) id: i64,
    pub(super) campaign: &'static str,
    pub(super) user: &'static str,
    pub(super) client: &'static str,
    pub(super) prize: Option<&'static str>,
    pub(super) drawn_at: Timestamp,
    pub(super) award: Option<Award>,
}

/// A kept message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) number: i64,
    pub(super) reason: KeptReason,
    pub(super) at: Timestamp,
}

/// A line of the operator log.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) id: i64,
    pub(super) at: Timestamp,
    pub(super) by: &'static str,
    pub(super) action: &'static str,
    pub(super) award: Option<i64>,
}

/// All rows, each list by rising id.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) draws: Vec<Draw>,
    pub(super) messages: Vec<Message>,
    pub(super) log: Vec<Line>,
}

/// Some minute of an afternoon; ids and instants do not go together.
pub(super) fn minute() -> impl Strategy<Value = Timestamp> {
    (0..240_u64).prop_map(|minutes| NOW.plus(Duration::from_mins(minutes)))
}

prop_compose! {
    fn award()(
        state in select(State::ALL),
        hold in select(HoldReason::ALL),
        dead in select(DeadReason::ALL),
        endpoint in select(&ENDPOINTS[..]),
    ) -> (State, HoldReason, DeadReason, &'static str) {
        (state, hold, dead, endpoint)
    }
}

prop_compose! {
    fn draw()(
        // Now and then a gap of ids: blocks that nobody drew from.
        gap in prop_oneof![8 => 1..4_i64, 1 => 1..60_000_i64],
        campaign in select(&CAMPAIGNS[..]),
        user in select(&USERS[..]),
        client in select(&CLIENTS[..]),
        prize in option::of(select(&PRIZES[..])),
        drawn_at in minute(),
        (state, hold, dead, endpoint) in award(),
    ) -> Draw {
        let award = prize.map(|(_, kind)| Award {
            kind,
            state,
            hold_reason: (state == State::Held).then_some(hold),
            dead_reason: (state == State::Dead).then_some(dead),
            endpoint: (kind == Kind::Webhook).then_some(endpoint),
        });
        let prize = prize.map(|(slug, _)| slug);
        Draw { id: gap, campaign, user, client, prize, drawn_at, award }
    }
}

prop_compose! {
    pub(super) fn rows()(
        mut draws in vec(draw(), 0..120),
        messages in vec((select(KeptReason::ALL), minute()), 0..20),
        log in vec((minute(), select(&CLIENTS[..]), select(&ACTIONS[..]), option::of(1..4_i64)), 0..60),
    ) -> Rows {
        let mut id = 0;
        for draw in &mut draws {
            id += draw.id;
            draw.id = id;
        }
        let messages = (1..).zip(messages);
        let log = (1..).zip(log);
        Rows {
            draws,
            messages: messages
                .map(|(number, (reason, at))| Message { number, reason, at })
                .collect(),
            log: log
                .map(|(id, (at, by, action, award))| Line { id, at, by, action, award })
                .collect(),
        }
    }
}

impl Rows {
    /// A fresh database that holds them.
    pub(super) async fn stored(&self, on: On) -> Fixture {
        let fixture = Fixture::empty(on).await;
        fixture.by_shell(|conn| self.store(conn));
        fixture
    }

    fn store(&self, tx: &Connection) {
        tx.execute_batch("BEGIN").unwrap();
        names(tx);
        for draw in &self.draws {
            draw.store(tx);
        }
        // As the draw's own transactions leave it.
        let set = tx.either("wins", "wins_besides");
        tx.execute_batch(&format!(
            "INSERT INTO draw_span SELECT id / 4096, campaign_id, min(drawn_at) / 600000000 * 600000000,
               max(drawn_at) / 600000000 * 600000000 + 600000000 FROM draw GROUP BY 1, 2;
             UPDATE campaign SET {set} = (SELECT count(*) FROM draw d WHERE d.campaign_id = campaign.id
               AND d.prize_id IS NOT NULL)"
        ))
        .unwrap();
        for it in &self.messages {
            let message = params![it.number, it.reason.name(), it.at.0];
            tx.execute(
                "INSERT INTO kept_message (id, topic_epoch, partition, \"offset\", headers, reason, at)
                 VALUES (?1, 1, 1, ?1, '[]', ?2, ?3)",
                message,
            )
            .unwrap();
        }
        for it in &self.log {
            let line = params![it.id, it.at.0, it.by, it.action, it.award];
            tx.execute(
                "INSERT INTO operator_log (id, at, actor, action, subject, award_id) VALUES (?1, ?2, ?3, ?4, 'it', ?5)",
                line,
            )
            .unwrap();
        }
        tx.execute_batch("COMMIT").unwrap();
    }
}

pub(super) fn names(conn: &Connection) {
    for (id, campaign) in (1_i64..).zip(CAMPAIGNS) {
        let row = params![id, campaign];
        conn.execute(
            "INSERT INTO campaign (id, slug, state, version, created_at, updated_at) VALUES (?1, ?2, 'started', 1, 0, 0)",
            row,
        )
        .unwrap();
        for (slug, kind) in PRIZES {
            let row = params![id, slug, kind.name()];
            conn.execute(
                "INSERT INTO prize (campaign_id, slug, kind) VALUES (?1, ?2, ?3)",
                row,
            )
            .unwrap();
        }
    }
    for (lane, name) in (1_i64..).zip(ENDPOINTS) {
        let row = params![lane, name];
        conn.execute(
            "INSERT INTO endpoint (lane, name, spec, updated_at) VALUES (?1, ?2, '{}', 0)",
            row,
        )
        .unwrap();
    }
}

impl Draw {
    fn store(&self, conn: &Connection) {
        let row = params![
            self.id,
            self.campaign,
            self.user,
            self.client,
            self.prize,
            self.drawn_at.0
        ];
        conn.prepare_cached(
            "INSERT INTO draw (id, campaign_id, version, user, client, prize_id, roll, drawn_at, day, claim_key)
             SELECT ?1, c.id, 1, ?3, ?4, (SELECT p.id FROM prize p WHERE p.campaign_id = c.id AND p.slug = ?5),
                    0, ?6, 0, 1
             FROM campaign c WHERE c.slug = ?2",
        )
        .unwrap()
        .execute(row)
        .unwrap();
        let Some(award) = &self.award else { return };
        let is_final = award.state.is_final();
        let row = params![
            self.id,
            award.kind.name(),
            award.state.name(),
            (!is_final).then_some(self.drawn_at.0),
            award.hold_reason.map(HoldReason::name),
            award.dead_reason.map(DeadReason::name),
            is_final.then_some(self.drawn_at.0),
            award.endpoint,
        ];
        conn.prepare_cached(
            "INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at, hold_reason, dead_reason,
               message_id, delivery_key, ended_at)
             SELECT ?1, prize_id, ?2, coalesce((SELECT lane FROM endpoint WHERE name = ?8), 0), ?3, 1, ?4, ?5, ?6,
                    'm', 'k', ?7
             FROM draw WHERE id = ?1",
        )
        .unwrap()
        .execute(row)
        .unwrap();
    }
}
