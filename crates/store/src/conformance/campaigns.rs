//! Campaigns: versions, and the commands that move them.

use super::draws::drawn;
use super::world::{Ask, BLUNT, CODE, POINTS, PRIZE, TEXT, World, actor, ok, one_prize};
use tombola_core::campaign::{CampaignState, Phase, Transition};
use tombola_core::draw::DrawRefusal;
use tombola_core::ports::{DrawAnswer, PutCampaign, Transitioned};

fn text(stock: u32) -> String {
    one_prize("fair", &format!("{TEXT}stock = {stock}\n"))
}

fn moved(state: CampaignState, version: i32) -> Transitioned {
    Transitioned::Moved { state, version }
}

async fn all(w: &World, commands: &[Transition]) {
    for command in commands {
        let answer = w.move_campaign("fair", *command).await;
        assert!(
            matches!(answer, Transitioned::Moved { .. }),
            "{command}: {answer:?}"
        );
    }
}

pub(super) async fn the_origin_of_a_database_never_changes(w: &World) {
    let origin = ok(w.store().origin().await);
    assert_eq!(origin.len(), 36, "a uuid: {origin}");
    assert_eq!(ok(w.store().origin().await), origin);
}

pub(super) async fn a_file_makes_a_first_version_in_draft(w: &World) {
    assert_eq!(
        w.put(&text(3)).await,
        PutCampaign::Applied {
            version: 1,
            is_new: true
        }
    );
    let submitted = w.move_campaign("fair", Transition::Submit).await;
    assert_eq!(submitted, moved(CampaignState::Submitted, 1));
}

pub(super) async fn the_same_file_makes_no_new_version(w: &World) {
    w.put(&text(3)).await;
    assert_eq!(w.put(&text(3)).await, PutCampaign::Unchanged { version: 1 });
    all(
        w,
        &[Transition::Submit, Transition::Approve, Transition::Start],
    )
    .await;
    assert_eq!(w.put(&text(3)).await, PutCampaign::Unchanged { version: 1 });
}

pub(super) async fn an_edit_of_a_draft_is_a_new_version(w: &World) {
    w.put(&text(3)).await;
    assert_eq!(
        w.put(&text(4)).await,
        PutCampaign::Applied {
            version: 2,
            is_new: false
        }
    );
    all(
        w,
        &[Transition::Submit, Transition::Approve, Transition::Start],
    )
    .await;
    assert_eq!(w.stock_left("fair", PRIZE).await, 4);
}

pub(super) async fn what_waits_for_a_decision_cannot_be_edited(w: &World) {
    w.put(&text(3)).await;
    w.move_campaign("fair", Transition::Submit).await;
    let refused = |state| PutCampaign::NotEditable { state };
    assert_eq!(w.put(&text(4)).await, refused(CampaignState::Submitted));
    w.move_campaign("fair", Transition::Approve).await;
    assert_eq!(w.put(&text(4)).await, refused(CampaignState::Approved));
    w.move_campaign("fair", Transition::Refuse).await;
    assert_eq!(
        w.put(&text(4)).await,
        PutCampaign::Applied {
            version: 2,
            is_new: false
        }
    );
    w.move_campaign("fair", Transition::Close).await;
    assert_eq!(w.put(&text(5)).await, refused(CampaignState::Closed));
}

pub(super) async fn a_kind_never_changes_under_a_slug(w: &World) {
    w.start("fair", &text(3)).await;
    let changed = PutCampaign::KindChanged {
        prize: PRIZE.to_owned(),
    };
    assert_eq!(w.put(&one_prize("fair", POINTS)).await, changed);
    let other = one_prize("fair", POINTS).replace(PRIZE, "other");
    assert_eq!(
        w.put(&other).await,
        PutCampaign::Applied {
            version: 2,
            is_new: false
        }
    );
    assert_eq!(
        w.put(&one_prize("fair", POINTS)).await,
        changed,
        "a slug is never free again"
    );
}

pub(super) async fn a_new_version_stands_beside_the_one_in_force(w: &World) {
    w.start("fair", &text(3)).await;
    assert_eq!(
        w.put(&text(9)).await,
        PutCampaign::Applied {
            version: 2,
            is_new: false
        }
    );
    drawn(w.draw("fair", Ask::new("u1", "key-0001")).await);
    assert_eq!(
        w.stock_left("fair", PRIZE).await,
        2,
        "the version in force counts"
    );
    let submitted = w.move_campaign("fair", Transition::Submit).await;
    assert_eq!(submitted, moved(CampaignState::Submitted, 2));
    drawn(w.draw("fair", Ask::new("u1", "key-0002")).await);
    let approved = w.move_campaign("fair", Transition::Approve).await;
    assert_eq!(approved, moved(CampaignState::Approved, 2));
}

pub(super) async fn a_version_replaces_the_one_in_force_only_while_paused(w: &World) {
    w.start("fair", &text(3)).await;
    drawn(w.draw("fair", Ask::new("u1", "key-0001")).await);
    w.put(&text(9)).await;
    all(w, &[Transition::Submit, Transition::Approve]).await;
    let refused = Transitioned::NotAllowed {
        state: CampaignState::Started,
    };
    assert_eq!(w.move_campaign("fair", Transition::Start).await, refused);
    w.move_campaign("fair", Transition::Pause).await;
    let started = w.move_campaign("fair", Transition::Start).await;
    assert_eq!(started, moved(CampaignState::Started, 2));
    assert_eq!(
        w.stock_left("fair", PRIZE).await,
        8,
        "what was given is carried over"
    );
}

pub(super) async fn what_operators_added_outlives_a_new_version(w: &World) {
    w.start("fair", &text(3)).await;
    ok(w.store()
        .change_stock("fair", PRIZE, 5, actor(), w.now())
        .await);
    w.move_campaign("fair", Transition::Pause).await;
    w.put(&text(4)).await;
    all(
        w,
        &[Transition::Submit, Transition::Approve, Transition::Start],
    )
    .await;
    assert_eq!(w.stock_left("fair", PRIZE).await, 9);
}

pub(super) async fn a_slug_that_disappears_keeps_its_awards(w: &World) {
    w.start("fair", &text(3)).await;
    let won = w.win_from("fair", 1).await.remove(0);
    w.move_campaign("fair", Transition::Pause).await;
    w.put(&one_prize("fair", POINTS).replace(PRIZE, "other"))
        .await;
    all(
        w,
        &[Transition::Submit, Transition::Approve, Transition::Start],
    )
    .await;
    let page = w.rescue_when_due(&won).await;
    assert_eq!(page.handoffs[0].message.prize, format!("fair/{PRIZE}"));
    w.deliver(&won).await;
    assert_eq!(
        w.row(&won).await.state,
        tombola_core::award::State::Delivered
    );
}

/// Every command in every state of a campaign's first version, as `core` has it.
pub(super) async fn only_allowed_commands_move_a_campaign(w: &World) {
    use CampaignState as S;
    use Transition as T;
    let ways: [(S, &[T]); 7] = [
        (S::Draft, &[]),
        (S::Submitted, &[T::Submit]),
        (S::Approved, &[T::Submit, T::Approve]),
        (S::Started, &[T::Submit, T::Approve, T::Start]),
        (S::Paused, &[T::Submit, T::Approve, T::Start, T::Pause]),
        (S::Closed, &[T::Close]),
        (S::Refused, &[T::Submit, T::Refuse]),
    ];
    for (state, way) in ways {
        for command in T::ALL {
            let slug = format!("fair-{}", w.fresh());
            w.put(&text(3).replace("\"fair\"", &format!("\"{slug}\"")))
                .await;
            for step in way {
                w.move_campaign(&slug, *step).await;
            }
            let answer = w.move_campaign(&slug, *command).await;
            match tombola_core::campaign::state::after(state, *command) {
                Some(to) => assert!(
                    matches!(answer, Transitioned::Moved { state, .. } if state == to),
                    "{command} from {state}: {answer:?}"
                ),
                None => assert_eq!(answer, Transitioned::NotAllowed { state }, "{command}"),
            }
        }
    }
}

pub(super) async fn an_unknown_campaign_is_not_found(w: &World) {
    assert_eq!(
        w.move_campaign("none", Transition::Start).await,
        Transitioned::NotFound
    );
}

pub(super) async fn a_reopened_campaign_is_a_new_version_in_draft(w: &World) {
    w.start("fair", &text(3)).await;
    drawn(w.draw("fair", Ask::new("u1", "key-0001")).await);
    w.move_campaign("fair", Transition::Close).await;
    let reopened = w.move_campaign("fair", Transition::Reopen).await;
    assert_eq!(reopened, moved(CampaignState::Draft, 2));
    let refused = DrawAnswer::Refused(DrawRefusal::NotRunning {
        phase: Phase::Draft,
    });
    assert_eq!(w.draw("fair", Ask::new("u1", "key-0002")).await, refused);
    all(
        w,
        &[Transition::Submit, Transition::Approve, Transition::Start],
    )
    .await;
    assert_eq!(w.stock_left("fair", PRIZE).await, 2);
}

pub(super) async fn a_campaign_without_its_codes_cannot_start(w: &World) {
    w.put(&one_prize("fair", &format!("{CODE}stock = 2\n")))
        .await;
    super::codes::import(w, "fair", PRIZE, vec!["aaa-0".to_owned()]).await;
    all(w, &[Transition::Submit, Transition::Approve]).await;
    let refused = w.move_campaign("fair", Transition::Start).await;
    assert!(
        matches!(&refused, Transitioned::NotReady { problems } if problems.len() == 1),
        "{refused:?}"
    );
    super::codes::import(w, "fair", PRIZE, vec!["aaa-1".to_owned()]).await;
    all(w, &[Transition::Start]).await;
}

pub(super) async fn a_campaign_without_its_endpoint_cannot_start(w: &World) {
    w.put(&one_prize("fair", BLUNT)).await;
    all(w, &[Transition::Submit, Transition::Approve]).await;
    let refused = w.move_campaign("fair", Transition::Start).await;
    assert!(
        matches!(&refused, Transitioned::NotReady { problems } if problems.len() == 1),
        "{refused:?}"
    );
    w.put_endpoint("blunt", false).await;
    all(w, &[Transition::Start]).await;
}

pub(super) async fn each_change_of_a_campaign_is_in_the_operator_log(w: &World) {
    let lines = w.bench().operator_lines().await;
    w.put(&text(3)).await;
    all(
        w,
        &[Transition::Submit, Transition::Approve, Transition::Start],
    )
    .await;
    assert_eq!(w.bench().operator_lines().await, lines + 4);
    w.move_campaign("fair", Transition::Start).await;
    assert_eq!(
        w.bench().operator_lines().await,
        lines + 4,
        "what was refused changed nothing"
    );
}
