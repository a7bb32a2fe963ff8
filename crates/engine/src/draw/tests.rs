//! The desk as its callers and its store see it.

mod bounds;
mod turns;

use super::*;
use crate::fakes::{FakePath, FakeTopic, TokioClock, fact, handoff};
use crate::relay::{Publisher, Relay};
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tombola_core::draw::DrawRequest;
use tombola_core::ports::{DrawAnswer, DrawBatch};

struct World {
    desk: Desk,
    path: Arc<FakePath>,
    tasks: Tasks,
    meters: Arc<Meters>,
}

impl World {
    fn new(path: Arc<FakePath>) -> Self {
        Self::with(path, DeskOptions::default())
    }

    fn with(path: Arc<FakePath>, options: DeskOptions) -> Self {
        let (tasks, meters) = (Tasks::new(), Arc::new(Meters::new()));
        let parts = DeskParts {
            path: Arc::clone(&path) as Arc<dyn AwardPath>,
            clock: TokioClock::new(),
            seed: Seed::Number(1),
            relay: None,
            meters: Arc::clone(&meters),
            options,
        };
        Self {
            desk: Desk::start(parts, &tasks),
            path,
            tasks,
            meters,
        }
    }

    /// Asks, and lets the desk take it in.
    async fn ask(&self, ask: DrawAsk) -> JoinHandle<Result<DeskAnswer, DeskError>> {
        let desk = self.desk.clone();
        let asked = self.tasks.spawn(async move { desk.draw(ask).await });
        settle().await;
        asked
    }
}

/// Lets every task run as far as it can.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn ask(campaign: &str, key: &str) -> DrawAsk {
    DrawAsk {
        campaign: Arc::from(campaign),
        client: Arc::from("shop"),
        user: Arc::from("u1"),
        key: Arc::from(key),
        fingerprint: [0; 16],
        count: 1,
        traceparent: None,
        claim_key_version: 1,
    }
}

fn many(key: &str, count: u32) -> DrawAsk {
    DrawAsk {
        count,
        ..ask("fair", key)
    }
}

fn drawn(answer: Result<DeskAnswer, DeskError>) -> Vec<DrawFact> {
    match answer.unwrap() {
        DeskAnswer::Drawn(facts) => facts,
        other @ (DeskAnswer::Replayed(_) | DeskAnswer::Refused(_)) => panic!("{other:?}"),
    }
}

fn is_overloaded(answer: &Result<DeskAnswer, DeskError>) -> bool {
    matches!(answer, Err(DeskError::Overloaded { .. }))
}

#[tokio::test(start_paused = true)]
async fn requests_that_arrive_while_a_batch_commits_form_the_next() {
    let world = World::new(FakePath::blocked());
    let mut asked = vec![world.ask(ask("fair", "k1")).await];
    for key in ["k2", "k3", "k4"] {
        asked.push(world.ask(ask("fair", key)).await);
    }
    assert_eq!(world.path.batch_keys(), [["k1"]]);
    world.path.allow_commits(2);
    let answers = join_all(asked).await;
    assert_eq!(
        world.path.batch_keys(),
        [vec!["k1"], vec!["k2", "k3", "k4"]]
    );
    let mut ids: Vec<i64> = answers
        .into_iter()
        .map(|answer| drawn(answer.unwrap())[0].id.0)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_batch_of_a_campaign_is_in_flight_and_other_campaigns_do_not_wait_for_it() {
    let world = World::new(FakePath::blocked());
    let _one = world.ask(ask("fair", "k1")).await;
    let _two = world.ask(ask("fair", "k2")).await;
    let _other = world.ask(ask("party", "k3")).await;
    assert_eq!(world.path.batch_keys(), [["k1"], ["k3"]]);
}

#[tokio::test(start_paused = true)]
async fn equal_keys_never_share_a_batch_and_keep_nobody_else_out_of_it() {
    let world = World::new(FakePath::blocked());
    let mut asked = vec![world.ask(ask("fair", "first")).await];
    for key in ["a", "a", "b", "a"] {
        asked.push(world.ask(ask("fair", key)).await);
    }
    let other = DrawAsk {
        client: Arc::from("app"),
        ..ask("fair", "a")
    };
    asked.push(world.ask(other).await);
    world.path.allow_commits(9);
    join_all(asked).await;
    let batches = world.path.batch_keys();
    assert_eq!(
        batches,
        [vec!["first"], vec!["a", "b", "a"], vec!["a"], vec!["a"]]
    );
}

#[tokio::test(start_paused = true)]
async fn batch_holds_no_more_draws_than_its_bound_and_no_request_is_torn() {
    let world = World::new(FakePath::blocked());
    let mut asked = vec![world.ask(many("first", 1)).await];
    for n in 0..25 {
        asked.push(world.ask(many(&format!("k{n}"), 60)).await);
    }
    world.path.allow_commits(9);
    join_all(asked).await;
    let draws = |batch: &DrawBatch| {
        batch
            .requests
            .iter()
            .map(|it| it.tickets.len())
            .sum::<usize>()
    };
    let sizes: Vec<usize> = world
        .path
        .batches
        .lock()
        .unwrap()
        .iter()
        .map(draws)
        .collect();
    assert_eq!(sizes, [1, 960, 540]);
}

#[tokio::test(start_paused = true)]
async fn desk_with_as_many_waiting_as_its_bound_answers_overloaded_at_once() {
    let options = DeskOptions {
        waiting_max: 5,
        ..DeskOptions::default()
    };
    let world = World::with(FakePath::blocked(), options);
    // The first one leaves its place when its batch begins.
    let _first = world.ask(ask("fair", "first")).await;
    for n in 0..5 {
        drop(world.ask(ask("fair", &format!("k{n}"))).await);
    }
    assert_eq!(world.desk.waiting(), 5);
    assert!(is_overloaded(&world.desk.draw(ask("fair", "k6")).await));
    world.path.allow_commits(2);
    settle().await;
    assert_eq!(world.desk.waiting(), 0);
    assert_eq!(
        world.meters.draws_of(&Arc::from("fair")).overloaded.get(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn line_with_as_many_waiting_as_its_bound_turns_away_its_own_campaign_only() {
    let options = DeskOptions {
        waiting_per_campaign_max: 3,
        ..DeskOptions::default()
    };
    let world = World::with(FakePath::blocked(), options);
    for n in 0..4 {
        drop(world.ask(ask("fair", &format!("k{n}"))).await);
    }
    assert!(is_overloaded(&world.desk.draw(ask("fair", "k9")).await));
    let other = world.ask(ask("party", "k9")).await;
    world.path.allow_commits(9);
    drawn(other.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn campaign_beyond_the_bound_of_lines_is_overloaded_until_a_line_is_free() {
    let options = DeskOptions {
        lines_max: 2,
        ..DeskOptions::default()
    };
    let world = World::with(FakePath::blocked(), options);
    let one = world.ask(ask("a", "k1")).await;
    let two = world.ask(ask("b", "k2")).await;
    assert!(is_overloaded(&world.desk.draw(ask("c", "k3")).await));
    world.path.allow_commits(9);
    join_all([one, two]).await;
    settle().await;
    drawn(world.desk.draw(ask("c", "k3")).await);
}

#[tokio::test(start_paused = true)]
async fn request_that_waited_too_long_is_overloaded_before_anything_is_chosen() {
    let world = World::new(FakePath::blocked());
    let first = world.ask(ask("fair", "k1")).await;
    let late = world.ask(ask("fair", "k2")).await;
    tokio::time::advance(limits::DESK_WAIT_MAX / 2).await;
    let on_time = world.ask(ask("fair", "k3")).await;
    tokio::time::advance(limits::DESK_WAIT_MAX * 3 / 4).await;
    assert!(is_overloaded(&late.await.unwrap()));
    world.path.allow_commits(9);
    drawn(first.await.unwrap());
    drawn(on_time.await.unwrap());
    assert_eq!(world.path.batch_keys(), [["k1"], ["k3"]]);
}

#[tokio::test(start_paused = true)]
async fn batch_whose_commit_is_unknown_runs_again_unchanged_and_is_answered_once() {
    let world = World::new(FakePath::new());
    let mut runs = 0;
    FakePath::say(&world.path.on_commit, move |batch: &DrawBatch| {
        runs += 1;
        if runs < 3 {
            return Err(StoreError::Unavailable("cut".to_owned()));
        }
        let request = &batch.requests[0];
        let fact = fact(request.tickets[0].id, &batch.campaign, &request.user, false);
        Ok(vec![DrawAnswer::Replayed { draws: vec![fact] }])
    });
    let answer = world.desk.draw(ask("fair", "k1")).await.unwrap();
    assert!(matches!(answer, DeskAnswer::Replayed(facts) if facts.len() == 1));
    let batches = world.path.batches.lock().unwrap();
    assert_eq!(batches.len(), 3);
    for batch in &*batches {
        assert_eq!(
            (&batch.requests, batch.now),
            (&batches[0].requests, batches[0].now)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn batch_of_a_store_that_stays_away_runs_a_bounded_number_of_times() {
    let world = World::new(FakePath::new());
    FakePath::say(&world.path.on_commit, |_: &DrawBatch| {
        Err(StoreError::Unavailable("cut".to_owned()))
    });
    let error = world.desk.draw(ask("fair", "k1")).await.unwrap_err();
    assert!(
        matches!(error, DeskError::Store(error) if matches!(*error, StoreError::Unavailable(_)))
    );
    let runs = u32::try_from(world.path.batches.lock().unwrap().len()).unwrap();
    assert_eq!(runs, limits::DESK_COMMIT_TRIES_MAX);
    assert_eq!(world.meters.draws_of(&Arc::from("fair")).failed.get(), 1);
}

/// One that cannot be written, or one whose own rows cannot be read.
#[tokio::test(start_paused = true)]
async fn one_bad_request_is_found_by_halving_and_the_others_go_through() {
    for bad in [StoreError::Row, StoreError::Inconsistent] {
        let world = World::new(FakePath::blocked());
        FakePath::say(&world.path.on_commit, move |batch: &DrawBatch| {
            if batch.requests.iter().any(|request| &*request.key == "bad") {
                return Err(bad("bad".to_owned()));
            }
            let fact = |user: &Arc<str>, id| vec![fact(id, &batch.campaign, user, false)];
            let answers = batch.requests.iter().map(|request| DrawAnswer::Drawn {
                draws: fact(&request.user, request.tickets[0].id),
                handoffs: vec![],
            });
            Ok(answers.collect())
        });
        let mut asked = vec![world.ask(ask("fair", "first")).await];
        for key in ["a", "b", "bad", "c", "d", "e"] {
            asked.push(world.ask(ask("fair", key)).await);
        }
        world.path.allow_commits(50);
        let answers: Vec<_> = join_all(asked)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let failed: Vec<usize> = (0..7).filter(|n| answers[*n].is_err()).collect();
        assert_eq!(failed, [3]);
        let Err(DeskError::Store(error)) = &answers[3] else {
            panic!("{:?}", answers[3]);
        };
        assert_eq!(error.to_string(), bad("bad".to_owned()).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_hangs_up_harms_nobody_and_its_draw_is_committed() {
    let world = World::new(FakePath::blocked());
    let first = world.ask(ask("fair", "k1")).await;
    let gone = world.ask(ask("fair", "k2")).await;
    let other = world.ask(ask("fair", "k3")).await;
    gone.abort();
    first.abort();
    world.path.allow_commits(2);
    drawn(other.await.unwrap());
    assert_eq!(world.path.batch_keys(), [vec!["k1"], vec!["k2", "k3"]]);
}

#[tokio::test(start_paused = true)]
async fn store_that_panics_fails_its_batch_and_the_line_goes_on() {
    let world = World::new(FakePath::new());
    let mut runs = 0;
    FakePath::say(&world.path.on_commit, move |batch: &DrawBatch| {
        runs += 1;
        assert!(runs > 1, "the first batch panics");
        let request = &batch.requests[0];
        Ok(vec![
            DrawAnswer::Refused(DrawRefusal::UserBlocked);
            usize::from(request.user.len() == 2)
        ])
    });
    assert!(matches!(
        world.desk.draw(ask("fair", "k1")).await,
        Err(DeskError::Store(_))
    ));
    // The lock of the fake is poisoned, as its line must not be: a second campaign and
    // a second request of the first are still served by a sound store.
    world.path.on_commit.clear_poison();
    let answer = world.desk.draw(ask("fair", "k2")).await.unwrap();
    assert_eq!(answer, DeskAnswer::Refused(DrawRefusal::UserBlocked));
}

#[tokio::test(start_paused = true)]
async fn stop_begins_nothing_answers_who_waits_and_finishes_what_is_in_flight() {
    let world = World::new(FakePath::blocked());
    let in_flight = world.ask(ask("fair", "k1")).await;
    let waiting = world.ask(ask("fair", "k2")).await;
    world.tasks.stop();
    assert!(matches!(waiting.await.unwrap(), Err(DeskError::Stopping)));
    assert!(matches!(
        world.desk.draw(ask("fair", "k3")).await,
        Err(DeskError::Stopping)
    ));
    world.path.allow_commits(9);
    drawn(in_flight.await.unwrap());
    world.tasks.ended().await;
    assert_eq!(world.path.batch_keys(), [["k1"]]);
}

#[tokio::test(start_paused = true)]
async fn ids_are_reserved_ahead_and_no_batch_waits_for_them() {
    let options = DeskOptions {
        id_block: 1000,
        ..DeskOptions::default()
    };
    let world = World::with(FakePath::new(), options);
    settle().await;
    let mut reserving = 0;
    FakePath::say(&world.path.on_reserve, move |_| {
        reserving += 1;
        if reserving < 4 {
            Err(StoreError::Unavailable("away".to_owned()))
        } else {
            Ok(())
        }
    });
    for n in 0..20 {
        drawn(world.desk.draw(many(&format!("k{n}"), 100)).await);
    }
    drawn(world.desk.draw(many("after", 100)).await);
}

#[tokio::test(start_paused = true)]
async fn number_of_draws_beyond_the_bound_or_none_is_refused_before_it_waits() {
    let world = World::new(FakePath::new());
    for count in [0, limits::DRAWS_PER_REQUEST_MAX + 1] {
        assert!(matches!(
            world.desk.draw(many("k1", count)).await,
            Err(DeskError::CountOutOfRange)
        ));
    }
    assert_eq!(
        drawn(
            world
                .desk
                .draw(many("k1", limits::DRAWS_PER_REQUEST_MAX))
                .await
        )
        .len(),
        100
    );
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_batch_are_handed_to_the_relay_after_its_commit() {
    let (path, meters, tasks) = (FakePath::new(), Arc::new(Meters::new()), Tasks::new());
    let clock: Arc<dyn Clock> = TokioClock::new();
    let topic = FakeTopic::new();
    let dyn_path = Arc::clone(&path) as Arc<dyn AwardPath>;
    let publisher = Publisher::new(
        Arc::clone(&topic) as _,
        Arc::clone(&dyn_path),
        Arc::clone(&clock),
        Arc::clone(&meters),
        Arc::from("o"),
    );
    let (handle, mut relay) = Relay::new(Arc::new(publisher), 10, Arc::clone(&meters));
    let now = clock.now();
    FakePath::say(&path.on_commit, move |batch: &DrawBatch| {
        assert!(batch.has_relay);
        let request = &batch.requests[0];
        let draws = vec![fact(
            request.tickets[0].id,
            &batch.campaign,
            &request.user,
            true,
        )];
        Ok(vec![DrawAnswer::Drawn {
            draws,
            handoffs: vec![handoff(1, now)],
        }])
    });
    let parts = DeskParts {
        path: dyn_path,
        clock,
        seed: Seed::System,
        relay: Some(handle),
        meters,
        options: DeskOptions::default(),
    };
    let desk = Desk::start(parts, &tasks);
    drawn(desk.draw(ask("fair", "k1")).await);
    settle().await;
    assert_eq!(relay.run_once().await.published, 1);
    assert_eq!(path.marks.lock().unwrap().len(), 1);
}
