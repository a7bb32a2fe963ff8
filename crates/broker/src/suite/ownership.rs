//! Cases of what a member may do to a partition, by what it owns.

use super::{PARTITIONS, Reader, World, publish, publish_everywhere, until_both};
use tombola_core::ports::TopicError;

/// A first member that read one message of each partition, and a second that took
/// half of them before anything was committed.
async fn halved(world: &dyn World) -> (Reader, Reader, Vec<i32>) {
    publish_everywhere(world).await;
    let mut first = Reader::alone(world, "g").await;
    first.read(4).await;
    let mut second = Reader::join(world, "g").await;
    until_both(&mut first, 2, &mut second, 2).await;
    let moved = second.owned.iter().copied().collect();
    (first, second, moved)
}

async fn committed(world: &dyn World) -> Vec<i64> {
    let position = world
        .topic()
        .group_position("g")
        .await
        .expect("the broker is there");
    position.partitions.iter().map(|it| it.committed).collect()
}

/// One lost partition among good ones: all or nothing.
pub async fn lost_generation_cannot_commit_and_nothing_is_committed(world: &dyn World) {
    let (mut first, _second, moved) = halved(world).await;
    let everything: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 1)).collect();
    for next in [&everything[..], &[(moved[0], 1)], &[(PARTITIONS, 1)]] {
        assert_eq!(
            first.member.commit(next).await,
            Err(TopicError::LostGeneration)
        );
    }
    assert_eq!(committed(world).await, [0, 0, 0, 0]);
}

/// Nor is anything else done to what another one owns.
pub async fn lost_partition_cannot_be_paused(world: &dyn World) {
    let (mut first, mut second, moved) = halved(world).await;
    assert_eq!(
        first.member.pause(&moved).await,
        Err(TopicError::LostGeneration)
    );
    assert_eq!(
        first.member.resume(&moved).await,
        Err(TopicError::LostGeneration)
    );
    assert_eq!(second.read(2).await.len(), 2);
}

/// A rebalance costs a member nothing of what it keeps.
pub async fn commit_of_what_stayed_is_good_after_a_rebalance(world: &dyn World) {
    let (mut first, _second, moved) = halved(world).await;
    first.commit_all().await;
    let expected: Vec<i64> = (0..PARTITIONS)
        .map(|partition| i64::from(!moved.contains(&partition)))
        .collect();
    assert_eq!(committed(world).await, expected);
}

/// librdkafka#2782: what the first life of an assignment read and did not commit is
/// read again in its second, and an offset of the first is not taken for one of the
/// second.
pub async fn partition_that_comes_back_is_read_from_what_was_committed(world: &dyn World) {
    let (mut first, second, moved) = halved(world).await;
    second.member.leave().await.expect("a member can leave");
    first.until_owns(PARTITIONS).await;
    let stale = first.member.commit(&[(moved[0], 1)]).await;
    assert_eq!(stale, Err(TopicError::LostGeneration));
    let mut read: Vec<_> = first
        .read(2)
        .await
        .iter()
        .map(|it| (it.partition, it.offset))
        .collect();
    read.sort_unstable();
    assert_eq!(read, [(moved[0], 0), (moved[1], 0)]);
}

/// Others go on meanwhile, and resuming skips nothing.
pub async fn pause_stops_and_resume_goes_on(world: &dyn World) {
    let mut reader = Reader::alone(world, "g").await;
    publish(world, 0, &["a"]).await;
    assert_eq!(reader.read_texts(1).await, [(0, "a".to_owned())]);
    reader.member.pause(&[0]).await.expect("it owns that");
    publish(world, 0, &["b", "c"]).await;
    for text in ["d", "e", "f"] {
        publish(world, 1, &[text]).await;
        assert_eq!(reader.read_texts(1).await, [(1, text.to_owned())]);
    }
    reader.member.resume(&[0]).await.expect("it owns that");
    assert_eq!(
        reader.read_texts(2).await,
        [(0, "b".to_owned()), (0, "c".to_owned())]
    );
}

/// A new owner, even the same member, knows nothing of the old pause.
pub async fn pause_ends_with_the_assignment(world: &dyn World) {
    let mut first = Reader::alone(world, "g").await;
    let everything: Vec<i32> = (0..PARTITIONS).collect();
    first.member.pause(&everything).await.expect("it owns all");
    let mut second = Reader::join(world, "g").await;
    until_both(&mut first, 2, &mut second, 2).await;
    let moved = *second.owned.first().expect("it owns two");
    let stayed = *first.owned.first().expect("it owns two");
    drop(second);
    first.until_owns(PARTITIONS).await;
    publish(world, stayed, &["waits"]).await;
    publish(world, moved, &["comes"]).await;
    assert_eq!(first.read_texts(1).await, [(moved, "comes".to_owned())]);
}
