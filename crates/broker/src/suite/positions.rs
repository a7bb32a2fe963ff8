//! Cases of committed offsets and of what is said about them.

use super::{PARTITIONS, Reader, World, publish};
use tombola_core::ports::{PartitionPosition, TopicError, TopicSpec};

async fn position(world: &dyn World, group: &str, partition: i32) -> PartitionPosition {
    let position = world
        .topic()
        .group_position(group)
        .await
        .expect("the broker is there");
    assert_eq!(position.epoch, world.topic().epoch());
    let mut partitions = position.partitions.into_iter();
    partitions
        .find(|it| it.partition == partition)
        .expect("every partition is named")
}

/// The next offset that was committed is the first that is read.
pub async fn new_member_begins_at_the_committed_offset(world: &dyn World) {
    publish(world, 0, &["a", "b", "c"]).await;
    let mut first = Reader::alone(world, "g").await;
    first.read(3).await;
    first
        .member
        .commit(&[(0, 2)])
        .await
        .expect("it read that far");
    first.member.leave().await.expect("a member can leave");
    let mut second = Reader::alone(world, "g").await;
    assert_eq!(second.read_texts(1).await, [(0, "c".to_owned())]);
}

/// A worker that died before its commit costs a second copy, never a message.
pub async fn uncommitted_is_read_again(world: &dyn World) {
    publish(world, 0, &["a", "b"]).await;
    let mut first = Reader::alone(world, "g").await;
    let read = first.read_texts(2).await;
    first.member.leave().await.expect("a member can leave");
    let mut second = Reader::alone(world, "g").await;
    assert_eq!(second.read_texts(2).await, read);
}

/// Stored offsets that come late do not drag the group back.
pub async fn older_commit_does_not_move_the_group_back(world: &dyn World) {
    publish(world, 0, &["a", "b", "c"]).await;
    let mut reader = Reader::alone(world, "g").await;
    reader.read(3).await;
    reader
        .member
        .commit(&[(0, 3)])
        .await
        .expect("it read that far");
    reader
        .member
        .commit(&[(0, 1)])
        .await
        .expect("an older commit is harmless");
    assert_eq!(position(world, "g", 0).await.committed, 3);
}

/// An offset that this assignment never read belongs to another generation.
pub async fn commit_past_what_was_read_is_lost(world: &dyn World) {
    publish(world, 0, &["a", "b"]).await;
    let mut reader = Reader::alone(world, "g").await;
    reader.read(2).await;
    let lost = reader.member.commit(&[(0, 3)]).await;
    assert_eq!(lost, Err(TopicError::LostGeneration));
    assert_eq!(position(world, "g", 0).await.committed, 0);
}

/// What rescue's lag test reads.
pub async fn group_position_says_committed_and_end(world: &dyn World) {
    publish(world, 0, &["a", "b", "c"]).await;
    publish(world, 1, &["d"]).await;
    let mut reader = Reader::alone(world, "g").await;
    reader.read(4).await;
    reader
        .member
        .commit(&[(0, 2), (1, 1)])
        .await
        .expect("it read that far");
    let figures = async |partition| {
        let it = position(world, "g", partition).await;
        assert!(
            it.log_start <= it.committed,
            "what is not committed is kept"
        );
        (it.committed, it.high_watermark)
    };
    assert_eq!(figures(0).await, (2, 3));
    assert_eq!(figures(1).await, (1, 1));
    assert_eq!(figures(2).await, (0, 0));
}

/// Its messages are still ahead of it, not lost.
pub async fn group_that_was_never_here_stands_at_the_start(world: &dyn World) {
    publish(world, 0, &["a"]).await;
    let it = position(world, "nobody", 0).await;
    assert_eq!((it.committed, it.log_start, it.high_watermark), (0, 0, 1));
}

/// `create` may be repeated; a difference is said, not mended.
pub async fn topic_is_described_and_created_once(world: &dyn World) {
    let there = TopicSpec {
        partitions: PARTITIONS,
        replication: 1,
    };
    assert_eq!(world.topic().create(&there).await, Ok(()));
    let described = world.topic().describe().await.expect("the broker is there");
    let described = described.expect("the topic is there");
    assert_eq!(
        (described.partitions, described.replication),
        (PARTITIONS, 1)
    );
    let wider = TopicSpec {
        partitions: PARTITIONS + 1,
        ..there
    };
    assert!(matches!(
        world.topic().create(&wider).await,
        Err(TopicError::Mismatch(_))
    ));
}
