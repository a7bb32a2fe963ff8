//! Aim: who joins a batch while the store has it, as where batches of several processes
//! wait for their turns.

use super::*;
use tombola_core::ports::StoreError;

/// One batch waits for its turn, and these keys stand behind it.
async fn waiting(keys: &[&str], options: DeskOptions) -> (World, Vec<Asked>) {
    let world = World::with(FakePath::in_turns(), options);
    let mut asked = Vec::new();
    for key in keys {
        asked.push(world.ask(ask("fair", key)).await);
    }
    assert_eq!(world.path.batch_keys(), [[keys[0]]]);
    (world, asked)
}

type Asked = JoinHandle<Result<DeskAnswer, DeskError>>;

fn drawn_of(batch: &DrawBatch, request: &DrawRequest) -> Vec<DrawFact> {
    let (id, user) = (request.tickets[0].id, &request.user);
    vec![fact(id, &batch.campaign, user, false)]
}

async fn ids(asked: Vec<Asked>) -> Vec<i64> {
    let answers = join_all(asked).await.into_iter();
    answers
        .map(|answer| drawn(answer.unwrap())[0].id.0)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn who_arrived_while_a_batch_waited_for_its_turn_joins_it_and_hears_of_its_own_draw() {
    let (world, asked) = waiting(&["k1", "k2", "k3"], DeskOptions::default()).await;
    let _other = world.ask(ask("party", "k4")).await;
    world.path.allow_commits(1);
    let ids = ids(asked).await;
    assert_eq!(
        world.path.batch_keys(),
        [vec!["k1", "k2", "k3"], vec!["k4"]]
    );
    let batches = world.path.batches.lock().unwrap();
    let of_batch = batches[0].requests.iter().map(|it| it.tickets[0].id.0);
    assert_eq!(ids, of_batch.collect::<Vec<_>>());
    assert_eq!(*world.path.stood.lock().unwrap(), [2]);
    assert_eq!(world.desk.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn batch_is_of_the_instant_at_which_its_turn_began() {
    let (world, asked) = waiting(&["k1", "k2"], DeskOptions::default()).await;
    let before = world.path.batches.lock().unwrap()[0].now;
    tokio::time::advance(Duration::from_millis(300)).await;
    world.path.allow_commits(1);
    ids(asked).await;
    let now = world.path.batches.lock().unwrap()[0].now;
    assert_eq!(now.0 - before.0, 300_000);
}

#[tokio::test(start_paused = true)]
async fn equal_keys_do_not_join_each_other_and_a_batch_grows_to_its_bound() {
    let bounded = DeskOptions {
        batch_draws_max: limits::DRAWS_PER_REQUEST_MAX,
        ..DeskOptions::default()
    };
    let (world, mut asked) = waiting(&["a", "a", "b"], bounded).await;
    asked.push(world.ask(many("c", 98)).await);
    asked.push(world.ask(ask("fair", "d")).await);
    world.path.allow_commits(9);
    ids(asked).await;
    let batches = world.path.batch_keys();
    assert_eq!(batches, [vec!["a", "b", "c"], vec!["a", "d"]]);
}

#[tokio::test(start_paused = true)]
async fn who_joined_a_batch_whose_commit_is_unknown_runs_again_with_it() {
    let (world, asked) = waiting(&["k1", "k2"], DeskOptions::default()).await;
    let mut runs = 0;
    FakePath::say(&world.path.on_commit, move |batch: &DrawBatch| {
        runs += 1;
        if runs == 1 {
            return Err(StoreError::Unavailable("cut".to_owned()));
        }
        let one = |request: &DrawRequest| DrawAnswer::Replayed {
            draws: drawn_of(batch, request),
        };
        Ok(batch.requests.iter().map(one).collect())
    });
    world.path.allow_commits(2);
    for answer in join_all(asked).await {
        assert!(matches!(answer.unwrap(), Ok(DeskAnswer::Replayed(_))));
    }
    let batches = world.path.batches.lock().unwrap();
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[0].requests, batches[1].requests);
}

/// Else the halves of a batch in a crowd would be as large as the batch.
#[tokio::test(start_paused = true)]
async fn nobody_joins_the_halves_of_a_batch_with_a_bad_request() {
    let (world, mut asked) = waiting(&["k1", "bad"], DeskOptions::default()).await;
    FakePath::say(&world.path.on_commit, |batch: &DrawBatch| {
        if batch.requests.iter().any(|request| &*request.key == "bad") {
            return Err(StoreError::Row("bad".to_owned()));
        }
        let one = |request: &DrawRequest| DrawAnswer::Drawn {
            draws: drawn_of(batch, request),
            handoffs: vec![],
        };
        Ok(batch.requests.iter().map(one).collect())
    });
    world.path.allow_commits(1);
    settle().await;
    asked.push(world.ask(ask("fair", "later")).await);
    world.path.allow_commits(9);
    let answers: Vec<_> = join_all(asked)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
    assert_eq!(
        world.path.batch_keys(),
        [vec!["k1", "bad"], vec!["k1"], vec!["bad"], vec!["later"]]
    );
}

#[tokio::test(start_paused = true)]
async fn who_joined_a_batch_that_panicked_hears_that_it_failed() {
    let (world, asked) = waiting(&["k1", "k2"], DeskOptions::default()).await;
    FakePath::say(&world.path.on_commit, |batch: &DrawBatch| {
        assert!(batch.requests.is_empty(), "it panics");
        Ok(vec![])
    });
    world.path.allow_commits(9);
    for answer in join_all(asked).await {
        assert!(matches!(answer.unwrap(), Err(DeskError::Store(_))));
    }
}
