//! Aim: the audit is silent on what the store writes, and each of its checks finds
//! the violation that it is about, planted by a shell in a lived-in database
//! and rolled back, and no other check is mistaken for it.

use super::{AuditDepth, AuditReport, Check};
use crate::read::fixture::{
    COINS, Fixture, GIFT, HELLO, HOOK, NOTHING, NOW, On, PHONE, TOUR, actor, award_of,
    on_each_database,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombola_core::adoption::Adoption;
use tombola_core::award::Mark;
use tombola_core::campaign::odds::Roll;
use tombola_core::decision::Decision;
use tombola_core::draw::Ticket;
use tombola_core::limits::{AUDIT_EXAMPLES_MAX, AUDIT_TIMEOUT};
use tombola_core::ports::{Action, AwardPath as _, MarkOf, Record, StoreError};
use tombola_core::retry::Jitter;

on_each_database! {
    async what_the_store_writes_passes_every_check;
    async each_check_finds_its_violation_and_no_other_fails;
    async every_check_has_a_plant;
    async draws_without_request_are_well_only_after_the_cleanup_of_a_closed_campaign;
}

/// A campaign that takes in what another system draws; its first prize is what a roll of
/// nothing would fall on.
async fn adopt(it: &Fixture) {
    it.put(
        "[campaign]\nslug = \"java\"\nname = \"Java\"\n[[prize]]\nslug = \"none\"\nname = \"None\"\nkind = \"text\"\n\
         text = \"x\"\nweight = 1\n[[prize]]\nslug = \"word\"\nname = \"A word\"\nkind = \"text\"\ntext = \"x\"\nweight = 1\n",
    )
    .await;
    it.start("java").await;
    let id = it.store.reserve_ids(1).await.unwrap().take().unwrap();
    let order = Adoption {
        source: "lottery".into(),
        order: 1_662_799_798_929_063_936,
        campaign: "java".into(),
        prize: "word".into(),
        award_type: Some(1),
        user: "ida".into(),
        ticket: Ticket {
            id,
            roll: Roll(0),
            message_tail: 1,
            delivery_tail: 2,
        },
        traceparent: None,
        claim_key_version: 1,
    };
    it.store.adopt(vec![order], NOW).await.unwrap();
    it.deliver(id.award()).await;
}

/// A database in which something of everything has happened.
async fn lived_in(on: On) -> Fixture {
    let it = Fixture::fair_on(on).await;
    for user in ["ann", "bob"] {
        let draws = it
            .draw(user, &[HELLO, GIFT, COINS, HOOK, PHONE, TOUR, NOTHING])
            .await;
        for draw in draws.iter().take(6) {
            it.deliver(award_of(draw)).await;
        }
    }
    adopt(&it).await;
    let text = it.win("cid", HELLO).await;
    let mark = MarkOf {
        award: text,
        lease: 1,
        mark: Mark::Refused,
        error: Some("too large".to_owned()),
    };
    it.store.mark_published(vec![mark], NOW).await.unwrap();
    let phone = it.win("cid", PHONE).await;
    it.act(
        phone,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
    let hook = it.win("cid", HOOK).await;
    let lease = it.claim(hook).await;
    let record = Record {
        award: hook,
        lease,
        decision: Decision::Delivered {
            receipt: Some("r-1".to_owned()),
        },
        error: None,
        lane_at: NOW,
        jitter: Jitter::NONE,
    };
    it.store.record(vec![record], NOW).await.unwrap();
    it.win("cid", HELLO).await;
    // What ran out is remembered with the draw and drawn again by the same set.
    it.draw("dan", &[GIFT, GIFT, PHONE]).await;
    it.draw_at("ann", &[PHONE, NOTHING], NOW.plus(Duration::from_hours(30)))
        .await;
    it
}

async fn audit(fixture: &Fixture) -> AuditReport {
    fixture.store.audit(AuditDepth::Full).await.unwrap()
}

fn failing(report: &AuditReport) -> Vec<&str> {
    report
        .checks
        .iter()
        .filter(|check| check.violations > 0)
        .map(|check| check.name.as_str())
        .collect()
}

/// The violation and the checks that must fail, none else.
struct Plant {
    sql: &'static str,
    finds: &'static [&'static str],
}

const fn plant(sql: &'static str, finds: &'static [&'static str]) -> Plant {
    Plant { sql, finds }
}

/// The same where counters are kept by the tally.
fn with_tally(sql: &str) -> String {
    let day = "UPDATE prize SET day_spent = day_spent - 1 WHERE slug = 'phone'";
    let of_tally =
        "UPDATE tally SET day_spent = array_fill(0::bigint, ARRAY[cardinality(day_spent)])";
    [
        ("prize", "spent"),
        ("campaign", "draws"),
        ("campaign", "wins"),
    ]
    .iter()
    .fold(sql.replace(day, of_tally), |sql, (table, name)| {
        let set = |name: &str| format!("UPDATE {table} SET {name} = {name} ");
        sql.replace(&set(name), &set(&format!("{name}_besides")))
    })
}

const PLANTS: &[Plant] = &[
    // It would have needed a request, and another roll.
    plant("DELETE FROM adopted", &["I11_request_keys", "R_replay"]),
    // A win without its delivery is also what conservation misses.
    plant(
        "DELETE FROM delivery WHERE kind = 'text' AND state = 'pending'",
        &["I1_win_has_delivery", "I16_conservation"],
    ),
    plant(
        "INSERT INTO delivery SELECT 999999, prize_id, kind, lane, state, lease, due_at, attempts, publishes,
           in_doubt, hold_reason, dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition, \"offset\",
           '999999-x', '999999-y', ended_at FROM delivery WHERE state = 'pending' LIMIT 1",
        &["I1_delivery_has_win"],
    ),
    plant(
        "UPDATE delivery SET prize_id = (SELECT id FROM prize WHERE slug = 'tour')
         WHERE kind = 'text' AND state = 'pending'",
        &["I1_delivery_has_win"],
    ),
    plant("UPDATE prize SET spent = spent - 1 WHERE slug = 'gift'", &["I2_stock"]),
    plant(
        "UPDATE prize SET stock = (SELECT spent - 1 FROM prize_count WHERE prize_id = prize.id) WHERE slug = 'gift'",
        &["I2_stock"],
    ),
    plant(
        "INSERT INTO operator_log (at, actor, action, subject, award_id, units)
           SELECT 1, 'x', 'stock_back', 'fair/hello', award_id, 1 FROM delivery WHERE kind = 'text' AND state = 'pending';
         UPDATE prize SET spent = spent - 1 WHERE slug = 'hello'",
        &["I2_stock"],
    ),
    plant(
        "INSERT INTO operator_log (at, actor, action, subject, award_id, units)
           SELECT at, actor, action, subject, award_id, units FROM operator_log WHERE action = 'stock_back';
         UPDATE prize SET spent = spent - 1 WHERE slug = 'phone'",
        &["I2_stock"],
    ),
    plant("UPDATE campaign SET draws = draws + 1", &["I2_campaign_draws"]),
    plant("UPDATE campaign SET wins = wins - 1", &["I2_campaign_wins"]),
    plant("UPDATE allowance SET total = total - 1 WHERE user = 'ann'", &["I2_allowances"]),
    plant("UPDATE allowance SET day_total = 0 WHERE user = 'bob'", &["I2_allowances"]),
    plant("DELETE FROM allowance WHERE user = 'bob'", &["I2_allowances"]),
    plant("INSERT INTO allowance (campaign_id, user, total, day, day_total) VALUES (1, 'nobody', 1, 0, 1)", &["I2_allowances"]),
    plant("UPDATE user_win SET wins = wins - 1 WHERE user = 'ann'", &["I2_user_wins"]),
    plant("DELETE FROM user_win WHERE user = 'bob'", &["I2_user_wins"]),
    plant("UPDATE prize SET day_spent = day_spent - 1 WHERE slug = 'phone'", &["I2_daily_cap"]),
    plant(
        "UPDATE campaign_version SET file = replace(file, '\"daily_cap\":4', '\"daily_cap\":1')",
        &["I2_daily_cap"],
    ),
    plant("DELETE FROM points_entry WHERE user = 'ann'", &["I3_one_effect"]),
    plant(
        "UPDATE code SET award_id = NULL WHERE id = (SELECT min(id) FROM code WHERE award_id IS NOT NULL)",
        &["I3_one_effect"],
    ),
    plant(
        "UPDATE code SET award_id = (SELECT min(award_id) FROM delivery WHERE kind = 'code' AND state = 'pending')
         WHERE id = (SELECT id FROM code WHERE award_id IS NULL)",
        &["I4_code_once"],
    ),
    plant(
        "UPDATE code SET award_id = 999999 WHERE id = (SELECT id FROM code WHERE award_id IS NULL)",
        &["I4_code_once"],
    ),
    plant("UPDATE code_import SET ready = 0", &["I4_code_once"]),
    plant("UPDATE code SET key_version = 9 WHERE award_id IS NULL", &["I4_code_opens"]),
    plant("UPDATE code SET digest = x'00000000000000000000000000000000' WHERE award_id IS NULL", &["I4_code_opens"]),
    plant("UPDATE code SET import_id = 99 WHERE award_id IS NULL", &["I4_code_once"]),
    plant("UPDATE points_entry SET points = 11 WHERE user = 'ann'", &["I5_points"]),
    plant("UPDATE points_entry SET user = 'eve' WHERE user = 'ann'", &["I5_points"]),
    plant("INSERT INTO points_reversal SELECT award_id, user, points + 1, 1 FROM points_entry", &["I5_points"]),
    plant("INSERT INTO points_reversal VALUES (1, 'ann', 10, 1)", &["I5_points"]),
    plant(
        "INSERT INTO points_entry SELECT award_id, 'cid', 10, 1 FROM delivery WHERE kind = 'text' AND state = 'pending'",
        &["I5_points"],
    ),
    plant("UPDATE delivery SET due_at = NULL WHERE state = 'pending'", &["I8_state_shape"]),
    plant("UPDATE delivery SET due_at = 5 WHERE state = 'dead'", &["I8_state_shape"]),
    plant("UPDATE delivery SET hold_reason = NULL WHERE state = 'held'", &["I8_state_shape"]),
    plant("UPDATE delivery SET dead_reason = 'bored' WHERE state = 'dead'", &["I8_state_shape"]),
    plant("UPDATE delivery SET ended_at = NULL WHERE state = 'delivered'", &["I8_state_shape"]),
    plant("DELETE FROM request WHERE first_draw = (SELECT min(first_draw) FROM request)", &["I11_request_keys"]),
    plant("UPDATE request SET client = 'other' WHERE more_draws IS NULL", &["I11_request_keys"]),
    plant("UPDATE request SET first_draw = 999999 WHERE more_draws IS NULL", &["I11_request_keys"]),
    plant("UPDATE request SET more_draws = substr(more_draws, 9) WHERE more_draws IS NOT NULL", &["I11_request_keys"]),
    plant("UPDATE request SET more_draws = substr(more_draws, 2) WHERE more_draws IS NOT NULL", &["I11_request_keys"]),
    plant(
        "INSERT INTO request SELECT campaign_id, client, 'again', fingerprint, first_draw, NULL FROM request LIMIT 1",
        &["I11_request_keys"],
    ),
    plant("UPDATE delivery SET attempts = 13 WHERE kind = 'webhook'", &["I12_attempts"]),
    plant("UPDATE delivery SET state = 'lost' WHERE state = 'pending'", &["I16_conservation"]),
    plant("DELETE FROM draw_span", &["I16_spans"]),
    plant("UPDATE draw_span SET campaign_id = campaign_id + 98", &["I16_spans"]),
    plant("UPDATE draw_span SET from_at = to_at", &["I16_spans"]),
    plant("UPDATE draw_span SET to_at = from_at", &["I16_spans"]),
    plant("UPDATE draw SET roll = -1 WHERE prize_id IS NOT NULL", &["R_replay"]),
    plant("UPDATE draw SET unavailable = x'ff' WHERE prize_id IS NOT NULL", &["R_replay"]),
    plant("UPDATE draw SET unavailable = NULL WHERE user = 'dan'", &["R_replay"]),
    plant("UPDATE draw SET version = 77 WHERE prize_id IS NULL", &["R_replay"]),
];

async fn what_the_store_writes_passes_every_check(on: On) {
    let fixture = lived_in(on).await;
    let report = audit(&fixture).await;
    assert_eq!(failing(&report), [""; 0], "{:#?}", report.checks);
    assert!(report.ok);
    let fair = &report.campaigns[0];
    assert_eq!((fair.campaign.as_str(), fair.draws), ("fair", 23));
    assert_eq!(
        fair.wins,
        fair.delivered + fair.unfinished + fair.dead + fair.cancelled
    );
    // Text, code and points of two users, and one webhook.
    assert_eq!((fair.delivered, fair.dead, fair.cancelled), (7, 1, 1));
}

async fn each_check_finds_its_violation_and_no_other_fails(on: On) {
    let fixture = lived_in(on).await;
    fixture.without_constraints();
    let shared = fixture.store.shared();
    for Plant { sql, finds } in PLANTS {
        let report = fixture.by_shell(|conn| {
            conn.execute_batch("BEGIN").unwrap();
            let tallied = with_tally(sql);
            let statements = conn.either(sql, &tallied).split(';');
            let changed: usize = statements.map(|it| conn.execute(it, []).unwrap()).sum();
            assert!(changed > 0, "{sql} changes nothing");
            let report = super::audit(conn, &shared, AuditDepth::Full).unwrap();
            conn.execute_batch("ROLLBACK").unwrap();
            report
        });
        assert_eq!(failing(&report), *finds, "{sql}\n{:#?}", report.checks);
        assert!(!report.ok);
    }
}

async fn every_check_has_a_plant(on: On) {
    let report = audit(&Fixture::empty(on).await).await;
    assert!(report.ok && report.campaigns.is_empty());
    for check in &report.checks {
        let is_planted = PLANTS
            .iter()
            .any(|plant| plant.finds.contains(&check.name.as_str()));
        assert!(is_planted, "{} has no plant", check.name);
    }
}

async fn draws_without_request_are_well_only_after_the_cleanup_of_a_closed_campaign(on: On) {
    use tombola_core::campaign::{Approval, Transition};
    use tombola_core::ports::Catalog as _;
    let fixture = lived_in(on).await;
    let now = NOW.plus(Duration::from_hours(40));
    fixture
        .store
        .transition("fair", Transition::Close, Approval::Anybody, actor(), now)
        .await
        .unwrap();
    let before = now.plus(Duration::from_hours(1));
    while fixture.store.cleanup(before).await.unwrap() > 0 {}
    assert_eq!(fixture.number("SELECT count(*) FROM request"), 0);
    let report = audit(&fixture).await;
    assert_eq!(failing(&report), [""; 0], "{:#?}", report.checks);
}

#[tokio::test]
async fn audit_ends_at_its_time_out_and_not_before() {
    // What the stopwatch says now, and from its next look on.
    let hand = Arc::new(Mutex::new((Duration::ZERO, Duration::ZERO)));
    let seen = Arc::clone(&hand);
    let fixture = Fixture::timed(move || {
        let mut hand = seen.lock().unwrap();
        let now = hand.0;
        hand.0 = hand.1;
        now
    });
    // So many rows that the audit looks at the time.
    fixture
        .shell()
        .execute_batch(
            "INSERT INTO points_entry (award_id, user, points, at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             SELECT i, 'u', 1, 0 FROM n",
        )
        .unwrap();
    let audit_when_passed = async |passed: Duration| {
        *hand.lock().unwrap() = (Duration::ZERO, passed);
        fixture.store.audit(AuditDepth::Full).await
    };
    let almost = AUDIT_TIMEOUT.saturating_sub(Duration::from_micros(1));
    assert!(audit_when_passed(almost).await.is_ok());
    let over = audit_when_passed(AUDIT_TIMEOUT).await;
    assert!(matches!(over, Err(StoreError::Unavailable(_))), "{over:?}");
}

#[test]
fn check_names_as_many_violations_as_its_bound_and_counts_all() {
    let mut check = Check::new("I1_any");
    for n in 0..=AUDIT_EXAMPLES_MAX {
        check.found(|| n.to_string());
    }
    assert_eq!(check.examples.len(), AUDIT_EXAMPLES_MAX);
    assert_eq!(check.violations, AUDIT_EXAMPLES_MAX as u64 + 1);
}
