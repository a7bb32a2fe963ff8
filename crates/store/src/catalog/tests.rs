//! Aim: what the suite of the ports cannot see: races of stock, what a file does to
//! live stock, where a secret lies, what cleanup takes and leaves.

use crate::read::fixture::{COINS, FAIR, Fixture, GIFT, HELLO, NOW, PHONE, actor, endpoint};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::award::{Mark, Position};
use tombola_core::campaign::{Approval, CampaignState, Transition};
use tombola_core::ports::{
    AwardPath as _, Catalog as _, KeptMessage, MarkOf, PutCampaign, PutEndpoint, StockChanged,
    StoreError, Transitioned,
};
use tombola_core::reason::KeptReason;

#[tokio::test]
async fn stock_is_never_withdrawn_below_what_is_given_however_many_ask_at_once() {
    let it = Fixture::fair().await;
    let change = |by_units| {
        it.store
            .change_stock("fair", "phone", by_units, actor(), NOW)
    };
    let (a, b, c, d) = tokio::join!(change(-3), change(-3), it.win("ann", PHONE), change(1));
    let done = [a.unwrap(), b.unwrap(), d.unwrap()];
    let refused = done
        .iter()
        .filter(|it| matches!(it, StockChanged::NotEnough { .. }))
        .count();
    assert_eq!(refused, 1, "{done:?}");
    assert_eq!(
        it.number(&format!(
            "SELECT count(*) FROM delivery WHERE award_id = {c}"
        )),
        1
    );
    assert_eq!(
        it.number("SELECT stock FROM prize WHERE slug = 'phone'"),
        5 - 3 + 1
    );
    assert_eq!(
        it.number("SELECT sum(units) FROM operator_log WHERE subject = 'fair/phone'"),
        -2
    );
    assert!(
        it.store
            .audit(crate::read::AuditDepth::Full)
            .await
            .unwrap()
            .ok
    );
}

#[tokio::test]
async fn file_that_says_less_than_was_given_gives_no_more() {
    let it = Fixture::fair().await;
    for user in ["ann", "bob", "cid"] {
        it.win(user, PHONE).await;
    }
    it.go("fair", Transition::Pause).await;
    it.put(&FAIR.replace("stock = 5", "stock = 1")).await;
    assert_eq!(
        it.number("SELECT stock FROM prize WHERE slug = 'phone'"),
        5,
        "not before its start"
    );
    it.start("fair").await;
    assert_eq!(it.number("SELECT stock FROM prize WHERE slug = 'phone'"), 3);
    assert_eq!(it.draw("dan", &[PHONE]).await[0].prize, None);
}

#[tokio::test]
async fn start_names_everything_that_is_missing_and_its_mend() {
    let it = Fixture::new();
    it.put(FAIR).await;
    it.import("fair", "gift", &["A"]).await;
    it.go("fair", Transition::Submit).await;
    it.go("fair", Transition::Approve).await;
    let Transitioned::NotReady { problems } = it.go("fair", Transition::Start).await else {
        panic!()
    };
    assert_eq!(
        problems,
        [
            "prize gift: 3 in stock but 1 codes: import 2 more with `tombola code import fair gift FILE.csv`, \
             or lower its stock",
            "prize hook: there is no endpoint keen: add it with `tombola endpoint put FILE`",
        ]
    );
    let lane = it
        .store
        .put_endpoint(endpoint("keen"), "whsec_a".to_owned(), actor(), NOW)
        .await
        .unwrap()
        .endpoint()
        .unwrap()
        .lane;
    it.store
        .enable_endpoint(lane, false, actor(), NOW)
        .await
        .unwrap();
    it.import("fair", "gift", &["B", "C"]).await;
    let Transitioned::NotReady { problems } = it.go("fair", Transition::Start).await else {
        panic!()
    };
    assert_eq!(
        problems,
        ["prize hook: endpoint keen is disabled: enable it with `tombola endpoint enable keen`"]
    );
    it.store
        .enable_endpoint(lane, true, actor(), NOW)
        .await
        .unwrap();
    assert!(matches!(
        it.go("fair", Transition::Start).await,
        Transitioned::Moved { .. }
    ));
}

#[tokio::test]
async fn close_drops_the_version_that_was_being_prepared() {
    let it = Fixture::fair().await;
    it.put(&FAIR.replace("stock = 5", "stock = 6")).await;
    it.go("fair", Transition::Close).await;
    assert_eq!(it.number("SELECT next_version IS NULL FROM campaign"), 1);
    let reopened = it.go("fair", Transition::Reopen).await;
    assert_eq!(
        reopened,
        Transitioned::Moved {
            state: CampaignState::Draft,
            version: 3
        }
    );
    let (first, third) = ("version = 1", "version = 3");
    let file = |which: &str| it.text(&format!("SELECT file FROM campaign_version WHERE {which}"));
    assert_eq!(file(first), file(third), "a copy of the last in force");
}

#[tokio::test]
async fn refused_file_may_be_put_in_again_unchanged() {
    let it = Fixture::new();
    it.put(FAIR).await;
    it.go("fair", Transition::Submit).await;
    it.go("fair", Transition::Refuse).await;
    assert_eq!(
        it.put(FAIR).await,
        PutCampaign::Applied {
            version: 2,
            is_new: false
        }
    );
}

#[tokio::test]
async fn rules_that_do_not_check_are_not_kept() {
    let it = Fixture::new();
    let mut file = crate::read::fixture::file(FAIR);
    file.prize.clear();
    assert!(matches!(
        it.store.put_campaign(file, actor(), NOW).await,
        Err(StoreError::Row(_))
    ));
    assert_eq!(it.number("SELECT count(*) FROM campaign"), 0);
}

#[tokio::test]
async fn secret_of_an_endpoint_is_in_no_spec_and_in_no_log() {
    let it = Fixture::new();
    let mut spec = endpoint("keen");
    spec.secret = Some("whsec_hidden".to_owned());
    it.store
        .put_endpoint(spec, "whsec_new".to_owned(), actor(), NOW)
        .await
        .unwrap();
    assert!(!it.text("SELECT spec FROM endpoint").contains("whsec"));
    assert_eq!(
        it.text("SELECT CAST(sealed AS TEXT) FROM endpoint"),
        r#"["whsec_hidden"]"#
    );
    assert_eq!(
        it.number("SELECT count(*) FROM operator_log WHERE subject LIKE '%whsec%'"),
        0
    );
    let shown = serde_json::to_string(&it.store.endpoint_list(NOW).await.unwrap()).unwrap();
    assert!(!shown.contains("whsec"), "{shown}");
}

/// Puts the endpoint with that secret.
async fn put_secret(it: &Fixture, secret: &str, now: Timestamp) -> PutEndpoint {
    let mut spec = endpoint("keen");
    spec.secret = Some(secret.to_owned());
    let put = it.store.put_endpoint(spec, String::new(), actor(), now);
    put.await.unwrap()
}

#[tokio::test]
async fn secret_that_ended_is_in_no_row_and_the_ends_of_the_others_stay() {
    let it = Fixture::new();
    put_secret(&it, "whsec_1", NOW).await;
    put_secret(&it, "whsec_2", NOW).await;
    let later = Timestamp(LATER.0 - 1);
    put_secret(&it, "whsec_3", later).await;
    let kept = || it.text("SELECT CAST(sealed AS TEXT) || secret_ends FROM endpoint");
    let (first, second) = (LATER.0, LATER.0 - 1 + 86_400_000_000);
    let all = format!(r#"["whsec_3","whsec_2","whsec_1"][{second},{first}]"#);
    assert_eq!(it.store.end_secrets(later).await.unwrap(), 0);
    assert_eq!(kept(), all);
    assert_eq!(it.store.end_secrets(LATER).await.unwrap(), 1);
    assert_eq!(kept(), format!(r#"["whsec_3","whsec_2"][{second}]"#));
    let shown = it
        .store
        .endpoint_show("keen", LATER)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (shown.secrets, shown.older_secrets_end_at),
        (2, vec![Timestamp(second)])
    );
}

#[tokio::test]
async fn endpoint_is_shown_without_a_secret_that_ended_before_its_bytes_are_deleted() {
    let it = Fixture::new();
    put_secret(&it, "whsec_1", NOW).await;
    put_secret(&it, "whsec_2", NOW).await;
    for (now, secrets, ends) in [(NOW, 2, vec![LATER]), (LATER, 1, vec![])] {
        let shown = it.store.endpoint_show("keen", now).await.unwrap().unwrap();
        assert_eq!((shown.secrets, shown.older_secrets_end_at), (secrets, ends));
    }
}

#[tokio::test]
async fn end_without_its_secret_as_the_migration_leaves_it_is_taken_away() {
    let it = Fixture::new();
    put_secret(&it, "whsec_1", NOW).await;
    let set = format!("UPDATE endpoint SET secret_ends = '[{}]'", LATER.0);
    it.shell().execute(&set, []).unwrap();
    let all = it.store.endpoints().await.unwrap();
    assert_eq!(all[0].secrets_at(NOW), ["whsec_1"]);
    assert_eq!(it.store.end_secrets(LATER).await.unwrap(), 1);
    assert_eq!(it.text("SELECT secret_ends FROM endpoint"), "[]");
}

/// A day after [`NOW`].
const LATER: Timestamp = Timestamp(NOW.0 + 86_400_000_000);

#[tokio::test]
async fn cleanup_takes_old_lines_of_what_is_over_and_leaves_every_row() {
    let it = Fixture::fair().await;
    let (over, dead, waits) = (
        it.win("ann", COINS).await,
        it.win("ann", HELLO).await,
        it.win("ann", GIFT).await,
    );
    it.deliver(over).await;
    let mark = MarkOf {
        award: dead,
        lease: 1,
        mark: Mark::Refused,
        error: None,
    };
    it.store.mark_published(vec![mark], NOW).await.unwrap();
    it.act(waits, tombola_core::ports::Action::Hold).await;
    let message = KeptMessage {
        position: Position {
            epoch: 1,
            partition: 0,
            offset: 7,
        },
        key: None,
        value: None,
        headers: Vec::new(),
        reason: KeptReason::Empty,
    };
    it.store.keep_messages(vec![message], NOW).await.unwrap();
    assert_eq!(
        it.store.cleanup(NOW).await.unwrap(),
        0,
        "nothing is older than itself"
    );
    let mut removed = 0;
    loop {
        match it.store.cleanup(LATER).await.unwrap() {
            0 => break,
            rows => removed += rows,
        }
    }
    assert_eq!(removed, 2, "the message, and the line of what is over");
    let left = |award| {
        it.number(&format!(
            "SELECT count(*) FROM attempt WHERE award_id = {award}"
        ))
    };
    assert_eq!((left(over), left(dead), left(waits)), (0, 1, 1));
    assert_eq!(it.number("SELECT count(*) FROM delivery"), 3);
    assert_eq!(
        it.number("SELECT count(*) FROM request"),
        3,
        "their campaign goes on"
    );
    assert!(
        it.store
            .audit(crate::read::AuditDepth::Full)
            .await
            .unwrap()
            .ok
    );
}

#[tokio::test]
async fn request_keys_outlive_their_campaign_by_a_retention() {
    let it = Fixture::fair().await;
    it.win("ann", HELLO).await;
    let closed = NOW.plus(Duration::from_mins(1));
    it.store
        .transition(
            "fair",
            Transition::Close,
            Approval::Anybody,
            actor(),
            closed,
        )
        .await
        .unwrap();
    assert_eq!(it.store.cleanup(closed).await.unwrap(), 0);
    assert_eq!(
        it.store
            .cleanup(closed.plus(Duration::from_secs(1)))
            .await
            .unwrap(),
        1
    );
    assert_eq!(it.number("SELECT count(*) FROM request"), 0);
}
