//! A row that fails by an error of its own: it is found, counted alone, and never
//! takes its neighbours with it.

use crate::deliver::POINTS;
use crate::world::{NOON, World};
use tombola_core::AwardId;
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::ports::{AwardPath as _, CopyAnswer, DueQuery, Record, StoreError};
use tombola_core::retry::{Jitter, Schedule};

const DELIVERED: CopyAnswer = CopyAnswer::Delivered { kind: Kind::Points };
const FAILED: CopyAnswer = CopyAnswer::Failed { is_dead: false };

/// From here on these awards cannot be written as delivered.
async fn poison(world: &World, awards: &[i64], body: &str) {
    let awards: Vec<String> = awards.iter().map(ToString::to_string).collect();
    let awards = awards.join(", ");
    let trigger = format!(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
         CREATE TRIGGER poison BEFORE UPDATE ON delivery FOR EACH ROW
         WHEN (NEW.award_id IN ({awards}) AND NEW.state = 'delivered') EXECUTE FUNCTION poison()"
    );
    world.admin.batch_execute(&trigger).await.unwrap();
}

const RAISE: &str = "RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation';";

#[tokio::test]
async fn one_poison_row_of_a_hundred_is_counted_and_the_others_are_delivered() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 100).await;
    poison(&world, &[38], RAISE).await;
    let answers = store.deliver_local(copies, NOON).await.unwrap();
    for (index, answer) in answers.iter().enumerate() {
        let expected = if index == 37 { FAILED } else { DELIVERED };
        assert_eq!(*answer, expected, "member {index}");
    }
    for (what, expected) in [
        ("SELECT count(*) FROM points_entry WHERE award_id <> 38", 99),
        ("SELECT count(*) FROM attempt WHERE n = 1", 100),
        (
            "SELECT attempts FROM delivery WHERE state = 'retryable' AND award_id = 38",
            1,
        ),
        (
            "SELECT count(*) FROM attempt WHERE award_id = 38 AND decision = 'fail'
             AND detail LIKE '%poison (23514)'",
            1,
        ),
    ] {
        assert_eq!(world.number(what).await, expected, "{what}");
    }
}

#[tokio::test]
async fn several_poison_rows_are_found_and_their_second_copies_are_dropped() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let mut copies = world.win(&store, 20).await;
    copies.extend(copies.clone());
    poison(&world, &[1, 8, 9, 20], RAISE).await;
    let answers = store.deliver_local(copies, NOON).await.unwrap();
    let of = |answer: &CopyAnswer| {
        let is = answers.iter().enumerate().filter(|(_, it)| *it == answer);
        is.map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(of(&FAILED), [0, 7, 8, 19]);
    assert_eq!(of(&CopyAnswer::Dropped), (20..40).collect::<Vec<_>>());
    assert_eq!(world.number("SELECT sum(attempts) FROM delivery").await, 20);
}

/// A row that does not change under its lock, and without an error.
#[tokio::test]
async fn a_row_that_moves_by_itself_is_a_poison_row() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 5).await;
    poison(&world, &[3], "RETURN NULL;").await;
    let answers = store.deliver_local(copies, NOON).await.unwrap();
    let expected = [DELIVERED, DELIVERED, FAILED, DELIVERED, DELIVERED];
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn an_award_without_its_draw_fails_alone_here_and_in_rescue() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 4).await;
    world.change("DELETE FROM draw WHERE id = 2", &[]).await;
    let answers = store.deliver_local(copies[..2].to_vec(), NOON).await;
    assert_eq!(answers.unwrap(), [DELIVERED, FAILED]);
    world.change("DELETE FROM draw WHERE id = 3", &[]).await;
    let due = NOON.plus(Schedule::default().grace(0));
    let query = DueQuery {
        lane: 0,
        after: None,
        limit: 10,
        now: due,
        group: None,
        is_breaker_open: false,
    };
    let page = store.claim_due(query).await.unwrap();
    let rescued: Vec<i64> = page.rescued.iter().map(|(award, _)| award.0).collect();
    assert_eq!((page.seen, rescued), (3, vec![2, 3, 4]));
    let handed: Vec<i64> = page.handoffs.iter().map(|it| it.award.0).collect();
    assert_eq!(handed, [4]);
    let counted = "SELECT sum(attempts * award_id) FROM delivery";
    assert_eq!(world.number(counted).await, 1 + 2 * 2 + 3);
}

/// A record speaks of an award that this database claimed; another one was never here.
#[tokio::test]
async fn a_record_of_no_award_is_an_error_and_the_connection_goes_on() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let record = Record {
        award: AwardId(999),
        lease: 1,
        decision: Decision::Refuse,
        error: None,
        lane_at: NOON,
        jitter: Jitter::NONE,
    };
    let answer = store.record(vec![record], NOON).await;
    assert!(
        matches!(answer, Err(StoreError::Inconsistent(_))),
        "{answer:?}"
    );
    assert_eq!(store.due_lanes(NOON).await.unwrap().next, None);
}
