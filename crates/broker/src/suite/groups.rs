//! Cases of groups: who gets what when members come and go.

use super::{PARTITIONS, Reader, Seen, Trace, World, publish, publish_everywhere, until_both};
use std::collections::BTreeSet;

/// Half moves, the other half stays where it is and is read on without a break.
pub async fn second_member_takes_half_and_reads_on_from_the_committed_offset(world: &dyn World) {
    publish_everywhere(world).await;
    let mut first = Reader::alone(world, "g").await;
    first.read(4).await;
    first.commit_all().await;
    let mut second = Reader::join(world, "g").await;
    until_both(&mut first, 2, &mut second, 2).await;
    assert!(first.owned.is_disjoint(&second.owned));
    publish_everywhere(world).await;
    for reader in [&mut first, &mut second] {
        let read: BTreeSet<i32> = reader.read(2).await.iter().map(|it| it.partition).collect();
        assert_eq!(read, reader.owned);
        let begin = reader.got.len() - 2;
        assert!(
            reader.got[begin..].iter().all(|it| it.offset == 1),
            "committed was not read again"
        );
    }
}

/// Never two owners: `Revoked` was handed out before the next `Assigned`.
pub async fn new_owner_is_told_only_after_the_old_one(world: &dyn World) {
    let trace = Trace::default();
    let mut first = Reader::join_traced(world, "g", "first", trace.clone()).await;
    first.until_owns(PARTITIONS).await;
    let mut second = Reader::join_traced(world, "g", "second", trace.clone()).await;
    until_both(&mut first, 2, &mut second, 2).await;
    let trace = trace.borrow();
    let at = |seen: &Seen| trace.iter().position(|it| it == seen).expect("it was seen");
    for partition in second.owned {
        let revoked = at(&Seen::Revoked {
            reader: "first",
            partition,
        });
        let assigned = at(&Seen::Assigned {
            reader: "second",
            partition,
        });
        assert!(revoked < assigned, "{partition} had two owners");
    }
}

/// Leaving is noticed, and what was not committed is read by who stays.
pub async fn member_that_leaves_gives_its_partitions_back(world: &dyn World) {
    let mut first = Reader::alone(world, "g").await;
    let mut second = Reader::join(world, "g").await;
    until_both(&mut first, 2, &mut second, 2).await;
    let moved = *second.owned.first().expect("it owns two");
    publish(world, moved, &["a", "b"]).await;
    second.read(2).await;
    second
        .member
        .commit(&[(moved, 1)])
        .await
        .expect("it read that far");
    second.member.leave().await.expect("a member can leave");
    first.until_owns(PARTITIONS).await;
    assert_eq!(first.read_texts(1).await, [(moved, "b".to_owned())]);
}

/// Dropping a member without a word loses nothing either.
pub async fn crashed_member_gives_its_partitions_back(world: &dyn World) {
    let mut first = Reader::alone(world, "g").await;
    let mut second = Reader::join(world, "g").await;
    until_both(&mut first, 2, &mut second, 2).await;
    let moved = *second.owned.first().expect("it owns two");
    publish(world, moved, &["a"]).await;
    let read = second.read_texts(1).await;
    drop(second);
    first.until_owns(PARTITIONS).await;
    assert_eq!(first.read_texts(1).await, read);
}

/// Another service reads in a group of its own; neither takes from the other.
pub async fn two_groups_read_everything_each(world: &dyn World) {
    publish_everywhere(world).await;
    let mut ours = Reader::alone(world, "ours").await;
    let mut theirs = Reader::alone(world, "theirs").await;
    ours.read(4).await;
    ours.commit_all().await;
    let read: BTreeSet<i32> = theirs.read(4).await.iter().map(|it| it.partition).collect();
    assert_eq!(read, (0..PARTITIONS).collect());
    let position = world
        .topic()
        .group_position("theirs")
        .await
        .expect("the broker is there");
    assert!(position.partitions.iter().all(|it| it.committed == 0));
}
