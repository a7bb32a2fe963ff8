//! Aim: the bounds of a desk as it is set by default, each at its bound and one past
//! it.

use super::*;
use std::sync::Mutex;
use tombola_core::ports::StoreError;

const MILLI: Duration = Duration::from_millis(1);

/// Asks of that campaign under keys of their own; the desk takes them in.
async fn ask_many(world: &World, campaign: &str, count: usize) {
    for n in 0..count {
        let (desk, ask) = (world.desk.clone(), ask(campaign, &format!("{n}")));
        drop(world.tasks.spawn(async move { desk.draw(ask).await }));
        // Not more at a time than run until it has settled.
        if n % 500 == 0 {
            settle().await;
        }
    }
    settle().await;
}

/// Whether it is overloaded without having waited.
async fn is_turned_away(world: &World, campaign: &str) -> bool {
    let asked = world.ask(ask(campaign, "one more")).await;
    asked.is_finished() && is_overloaded(&asked.await.unwrap())
}

fn overloaded_of(world: &World, campaign: &str) -> u64 {
    let draws = world.meters.draws_of(&Arc::from(campaign));
    draws.overloaded.get()
}

#[tokio::test(start_paused = true)]
async fn requests_wait_up_to_the_bound_of_their_campaign_and_up_to_that_of_all() {
    let world = World::new(FakePath::blocked());
    let of_one = limits::DESK_WAITING_PER_CAMPAIGN_MAX;
    let campaigns = limits::DESK_WAITING_MAX / of_one;
    for campaign in (0..campaigns).map(|n| format!("c{n}")) {
        // The first has left its place when its batch begins.
        ask_many(&world, &campaign, 1).await;
        ask_many(&world, &campaign, of_one).await;
        assert_eq!(overloaded_of(&world, &campaign), 0);
        assert!(is_turned_away(&world, &campaign).await);
    }
    assert_eq!(world.desk.waiting(), limits::DESK_WAITING_MAX);
    // A campaign of which nobody waits yet.
    assert!(is_turned_away(&world, "other").await);
    assert_eq!(world.desk.waiting(), limits::DESK_WAITING_MAX);
}

#[tokio::test(start_paused = true)]
async fn as_many_campaigns_as_the_bound_of_lines_have_one_and_one_more_is_overloaded() {
    let world = World::new(FakePath::blocked());
    for n in 0..limits::DESK_LINES_MAX {
        ask_many(&world, &format!("c{n}"), 1).await;
    }
    assert_eq!(
        world.path.batches.lock().unwrap().len(),
        limits::DESK_LINES_MAX
    );
    assert!(is_turned_away(&world, "other").await);
}

#[tokio::test(start_paused = true)]
async fn who_is_overloaded_is_told_to_wait_for_as_long_as_the_bound_says() {
    let options = DeskOptions {
        waiting_max: 0,
        ..DeskOptions::default()
    };
    let world = World::with(FakePath::new(), options);
    let told = world.desk.draw(ask("fair", "k")).await.unwrap_err();
    let DeskError::Overloaded { retry_after } = told else {
        panic!("{told:?}")
    };
    assert_eq!(retry_after, limits::DESK_RETRY_AFTER);
}

#[tokio::test(start_paused = true)]
async fn batch_is_filled_to_its_bound_of_draws_and_not_beyond() {
    let world = World::new(FakePath::blocked());
    let mut asked = vec![world.ask(many("first", 1)).await];
    let most = limits::DRAWS_PER_REQUEST_MAX;
    for n in 0..limits::DESK_BATCH_DRAWS_MAX / most {
        asked.push(world.ask(many(&format!("k{n}"), most)).await);
    }
    asked.push(world.ask(many("one more", 1)).await);
    world.path.allow_commits(9);
    join_all(asked).await;
    let draws = |batch: &DrawBatch| -> usize {
        let of = batch.requests.iter().map(|request| request.tickets.len());
        of.sum()
    };
    let batches = world.path.batches.lock().unwrap();
    let sizes: Vec<usize> = batches.iter().map(draws).collect();
    assert_eq!(sizes, [1, limits::DESK_BATCH_DRAWS_MAX as usize, 1]);
}

#[tokio::test(start_paused = true)]
async fn request_that_has_waited_for_its_bound_is_drawn_and_after_a_moment_more_it_is_not() {
    for (waited, is_late) in [
        (limits::DESK_WAIT_MAX, false),
        (limits::DESK_WAIT_MAX + MILLI, true),
    ] {
        let world = World::new(FakePath::blocked());
        let first = world.ask(ask("fair", "k1")).await;
        let waits = world.ask(ask("fair", "k2")).await;
        tokio::time::advance(waited).await;
        world.path.allow_commits(2);
        drawn(first.await.unwrap());
        assert_eq!(is_overloaded(&waits.await.unwrap()), is_late, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn batch_runs_again_after_the_first_wait_and_then_after_twice_the_wait_before() {
    let world = World::new(FakePath::new());
    let clock = TokioClock::new();
    let began = clock.monotonic();
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    FakePath::say(&world.path.on_commit, move |_: &DrawBatch| {
        seen.lock()
            .unwrap()
            .push(clock.monotonic().saturating_sub(began));
        Err(StoreError::Unavailable("cut".to_owned()))
    });
    assert!(world.desk.draw(ask("fair", "k1")).await.is_err());
    let runs = runs.lock().unwrap();
    assert_eq!(runs.len(), limits::DESK_COMMIT_TRIES_MAX as usize);
    for (n, pair) in (0..).zip(runs.windows(2)) {
        assert_eq!(
            pair[1].saturating_sub(pair[0]),
            limits::DESK_COMMIT_BACKOFF * (1 << n)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn ids_are_reserved_by_the_block() {
    let path = FakePath::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    FakePath::say(&path.on_reserve, move |count: &u32| {
        seen.lock().unwrap().push(*count);
        Ok(())
    });
    let world = World::new(path);
    drawn(world.desk.draw(ask("fair", "k1")).await);
    settle().await;
    // One in hand, one ahead.
    assert_eq!(*asked.lock().unwrap(), [limits::ID_BLOCK; 2]);
}
