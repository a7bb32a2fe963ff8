//! What `doctor` is told: the file, and what needs a person.

use crate::Store;
use crate::read::fixture::{Fixture, GIFT, HOOK, NOW, On, actor, endpoint, on_each_database};
use crate::read::{DatabaseFact, FileFact, Need, WorkFact};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombola_core::campaign::Transition;
use tombola_core::limits::DOCTOR_TIMEOUT;
use tombola_core::ports::{
    Action, ApiKey, Catalog as _, Operate as _, PauseScope, Role, StoreError, StoreResult,
};
use tombola_core::reason::HoldReason;

on_each_database! {
    async prize_that_cannot_be_delivered_is_named_while_its_campaign_runs;
    async keys_pauses_dead_letters_and_long_holds_are_counted;
}

const DAY: Duration = Duration::from_hours(24);

async fn file(fixture: &Fixture) -> StoreResult<FileFact> {
    match fixture.store.database_fact(|| NOW).await? {
        DatabaseFact::File(file) => Ok(file),
        DatabaseFact::Server(server) => panic!("{server:?}"),
    }
}

async fn work(fixture: &Fixture) -> WorkFact {
    fixture.store.work_fact(NOW, DAY).await.unwrap()
}

fn needs(work: &WorkFact) -> Vec<(&str, &Need)> {
    work.needs
        .iter()
        .map(|it| (it.prize.as_str(), &it.need))
        .collect()
}

#[tokio::test]
async fn file_is_told_of_alike_by_the_server_and_by_whoever_opens_it_alone() {
    let fixture = Fixture::fair().await;
    fixture.win("u1", GIFT).await;
    let served = file(&fixture).await.unwrap();
    assert_eq!(
        (served.journal_mode.as_str(), served.synchronous),
        ("wal", Some(2))
    );
    assert!(served.bytes > 0 && served.log_bytes > 0 && served.faults.is_empty());
    let (alone, work) = Store::facts_of_file(&fixture.path(), NOW, DAY).unwrap();
    assert_eq!(alone.schema, served.schema);
    assert_eq!(alone.synchronous, None, "nobody's connection is asked");
    let by_server = fixture.store.work_fact(NOW, DAY).await.unwrap();
    assert_eq!(work.unwrap(), by_server);
}

async fn prize_that_cannot_be_delivered_is_named_while_its_campaign_runs(on: On) {
    let fixture = Fixture::fair_on(on).await;
    assert_eq!(needs(&work(&fixture).await), []);
    fixture
        .store
        .enable_endpoint(1, false, actor(), NOW)
        .await
        .unwrap();
    let award = fixture.win("u1", GIFT).await;
    assert_eq!(
        needs(&work(&fixture).await),
        [("hook", &Need::EndpointDisabled("keen".to_owned()))],
        "an award on its way has its code among the free ones"
    );
    fixture.deliver(award).await;
    let void = "UPDATE code SET voided_at = 1
       WHERE award_id IS NULL AND id = (SELECT max(id) FROM code)";
    fixture.by_shell(|conn| conn.execute_batch(void).unwrap());
    let short = Need::Codes {
        free: 1,
        left: Some(2),
    };
    assert!(needs(&work(&fixture).await).contains(&("gift", &short)));
    fixture.by_shell(|conn| conn.execute_batch("DELETE FROM endpoint").unwrap());
    let gone = Need::EndpointGone("keen".to_owned());
    assert!(needs(&work(&fixture).await).contains(&("hook", &gone)));
    fixture.go("fair", Transition::Close).await;
    assert_eq!(needs(&work(&fixture).await), []);
}

async fn keys_pauses_dead_letters_and_long_holds_are_counted(on: On) {
    let fixture = Fixture::fair_on(on).await;
    let mut spec = endpoint("keen");
    spec.idempotent = false;
    fixture
        .store
        .put_endpoint(spec, "whsec_secret".to_owned(), actor(), NOW)
        .await
        .unwrap();
    for (hash, expires_at, revoked_at) in [
        (1, None, None),
        (2, Some(NOW.plus(DAY)), None),
        (3, Some(NOW), None),
        (4, None, Some(NOW)),
    ] {
        let key = ApiKey {
            id: 0,
            client: format!("c{hash}"),
            role: Role::Admin,
            campaigns: Vec::new(),
            hash: [hash; 32],
            created_at: NOW,
            expires_at,
            revoked_at,
        };
        fixture.store.put_key(key, actor()).await.unwrap();
    }
    fixture
        .store
        .pause(PauseScope::default(), actor(), NOW)
        .await
        .unwrap();
    let held = fixture.win("u1", HOOK).await;
    fixture.act(held, Action::Hold).await;
    let found = work(&fixture).await;
    let clients: Vec<_> = found.keys.iter().map(|key| key.client.as_str()).collect();
    assert_eq!(clients, ["c1", "c2"], "good ones only");
    assert_eq!(found.pauses[0].scope, PauseScope::default());
    assert!(found.held_long.is_empty(), "held a moment ago");
    assert_eq!(
        found.oldest_undelivered, None,
        "held ones wait for a person"
    );
    let later = fixture
        .store
        .work_fact(NOW.plus(2 * DAY), DAY)
        .await
        .unwrap();
    assert_eq!(later.held_long, [(HoldReason::Manual, 1)].into());
}

#[tokio::test]
async fn look_at_the_file_ends_at_its_time_out_and_not_before() {
    // What the stopwatch says now, and from its next look on.
    let hand = Arc::new(Mutex::new((Duration::ZERO, Duration::ZERO)));
    let seen = Arc::clone(&hand);
    let fixture = Fixture::timed(move || {
        let mut hand = seen.lock().unwrap();
        let now = hand.0;
        hand.0 = hand.1;
        now
    });
    // So many rows that it looks at the time.
    fixture
        .shell()
        .execute_batch(
            "INSERT INTO points_entry (award_id, user, points, at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             SELECT i, 'u', 1, 0 FROM n",
        )
        .unwrap();
    let look_when_passed = async |passed: Duration| {
        *hand.lock().unwrap() = (Duration::ZERO, passed);
        file(&fixture).await
    };
    let almost = DOCTOR_TIMEOUT.saturating_sub(Duration::from_micros(1));
    assert!(look_when_passed(almost).await.is_ok());
    let over = look_when_passed(DOCTOR_TIMEOUT).await;
    assert!(matches!(over, Err(StoreError::Unavailable(_))), "{over:?}");
}
