//! Random schedules of publish, join, poll, commit, pause, leave, crash and expulsion on the
//! topic in memory, beside a naive model: nothing is lost, order within a partition
//! holds, a partition has one owner, and no commit passes what was read.

use super::{MemoryOptions, MemoryTopic};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tombola_core::ports::{Incoming, Member, Outgoing, Polled, Report, Topic, TopicError};

const PARTITIONS: i32 = 5;
const GROUPS: [&str; 2] = ["one", "two"];

#[derive(Debug, Clone)]
enum Step {
    Publish { user: u8, count: u8 },
    Join { group: usize },
    Expel { group: usize },
    Member { member: usize, does: Deed },
}

#[derive(Debug, Clone)]
enum Deed {
    Poll {
        max: usize,
    },
    /// Commits what it has read of all it owns, less this many.
    Commit {
        behind: u8,
    },
    /// The same, and an offset that nobody has read.
    CommitTooFar {
        partition: i32,
    },
    Pause {
        partition: i32,
    },
    Resume,
    Leave,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let group = 0..GROUPS.len();
    let deed = prop_oneof![
        12 => (1..8_usize).prop_map(|max| Deed::Poll { max }),
        5 => (0..3_u8).prop_map(|behind| Deed::Commit { behind }),
        2 => (0..PARTITIONS).prop_map(|partition| Deed::CommitTooFar { partition }),
        1 => (0..PARTITIONS).prop_map(|partition| Deed::Pause { partition }),
        1 => Just(Deed::Resume),
        1 => Just(Deed::Leave),
        1 => Just(Deed::Crash),
    ];
    prop_oneof![
        4 => (any::<u8>(), 1..6_u8).prop_map(|(user, count)| Step::Publish { user, count }),
        3 => group.clone().prop_map(|group| Step::Join { group }),
        1 => group.prop_map(|group| Step::Expel { group }),
        23 => (0..8_usize, deed).prop_map(|(member, does)| Step::Member { member, does }),
    ]
}

/// What one member knows.
struct Book {
    member: Box<dyn Member>,
    group: usize,
    /// Owned, with the next offset to read.
    next: BTreeMap<i32, i64>,
    paused: BTreeSet<i32>,
    is_expelled: bool,
}

/// What must be true, written down the plainest way.
struct World {
    topic: MemoryTopic,
    members: Vec<Book>,
    /// By partition: the texts, in order.
    published: BTreeMap<i32, Vec<String>>,
    /// By group and partition.
    committed: [BTreeMap<i32, i64>; 2],
    /// By group and partition: offsets that somebody was handed.
    read: [BTreeMap<i32, BTreeSet<i64>>; 2],
    is_begun: [bool; 2],
    texts: u32,
}

/// Runs what is ready without waiting, as everything in memory is.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

impl World {
    fn new() -> Self {
        let options = MemoryOptions {
            partitions: PARTITIONS,
            ..MemoryOptions::default()
        };
        Self {
            topic: MemoryTopic::new(options),
            members: Vec::new(),
            published: BTreeMap::new(),
            committed: Default::default(),
            read: Default::default(),
            is_begun: [false; 2],
            texts: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Publish { user, count } => self.publish(*user, *count),
            Step::Join { group } => self.join(*group),
            Step::Expel { group } => self.expel(*group),
            Step::Member { member, does } => {
                if let Some(member) = member.checked_rem(self.members.len()) {
                    self.let_do(member, does);
                }
            }
        }
        self.check();
    }

    fn let_do(&mut self, member: usize, does: &Deed) {
        match does {
            Deed::Poll { max } => self.poll(member, *max),
            Deed::Commit { behind } => self.commit(member, *behind),
            Deed::CommitTooFar { partition } => self.commit_too_far(member, *partition),
            Deed::Pause { partition } => self.pause(member, *partition),
            Deed::Resume => self.resume(member),
            Deed::Leave => now(self.members.remove(member).member.leave())
                .unwrap()
                .unwrap(),
            Deed::Crash => drop(self.members.remove(member)),
        }
    }

    fn publish(&mut self, user: u8, count: u8) {
        let texts: Vec<String> = (0..count)
            .map(|_| {
                self.texts += 1;
                self.texts.to_string()
            })
            .collect();
        let messages = texts.iter().map(|text| Outgoing {
            key: format!("u{user}"),
            value: Arc::from(text.as_bytes()),
            headers: Vec::new(),
        });
        let reports = now(self.topic.publish_batch(messages.collect())).unwrap();
        for (text, report) in texts.into_iter().zip(reports) {
            let Report::Taken { partition, offset } = report else {
                panic!("{report:?}")
            };
            let log = self.published.entry(partition).or_default();
            assert_eq!(i64::try_from(log.len()).unwrap(), offset);
            log.push(text);
        }
    }

    fn join(&mut self, group: usize) {
        if self.members.len() == 8 {
            return;
        }
        if !std::mem::replace(&mut self.is_begun[group], true) {
            // A new group begins at the head of the log.
            let position = now(self.topic.group_position(GROUPS[group]))
                .unwrap()
                .unwrap();
            for it in position.partitions {
                self.committed[group].insert(it.partition, it.log_start);
                self.read[group].insert(it.partition, (0..it.log_start).collect());
            }
        }
        let member = now(self.topic.subscribe(GROUPS[group])).unwrap().unwrap();
        let (next, paused) = (BTreeMap::new(), BTreeSet::new());
        self.members.push(Book {
            member,
            group,
            next,
            paused,
            is_expelled: false,
        });
    }

    fn expel(&mut self, group: usize) {
        self.topic.expel(GROUPS[group]);
        for book in self.members.iter_mut().filter(|book| book.group == group) {
            book.is_expelled = true;
        }
    }

    fn poll(&mut self, member: usize, max: usize) {
        let Some(polled) = now(self.members[member].member.poll(max)) else {
            return self.check_nothing_to_see(member);
        };
        match polled.unwrap() {
            Polled::Assigned(partitions) => self.assigned(member, &partitions),
            Polled::Revoked(partitions) => self.revoked(member, &partitions),
            Polled::Messages(messages) => {
                assert!((1..=max).contains(&messages.len()));
                for message in &messages {
                    self.took(member, message);
                }
            }
        }
        self.members[member].is_expelled = false;
    }

    fn check_nothing_to_see(&self, member: usize) {
        let book = &self.members[member];
        for (partition, next) in &book.next {
            let end = self.end(*partition);
            let waits = *next == end || book.paused.contains(partition);
            assert!(waits, "partition {partition} has more than {next}");
        }
    }

    fn end(&self, partition: i32) -> i64 {
        i64::try_from(self.published.get(&partition).map_or(0, Vec::len)).unwrap()
    }

    fn assigned(&mut self, member: usize, partitions: &[i32]) {
        let group = self.members[member].group;
        for partition in partitions {
            // An expelled member that has not polled yet owns nothing, whatever its book says.
            let others = self
                .members
                .iter()
                .filter(|it| it.group == group && !it.is_expelled);
            let owners = others.filter(|it| it.next.contains_key(partition)).count();
            assert_eq!(owners, 0, "partition {partition} has another owner");
            let begin = self.committed[group][partition];
            assert_eq!(self.members[member].next.insert(*partition, begin), None);
        }
    }

    fn revoked(&mut self, member: usize, partitions: &[i32]) {
        let book = &mut self.members[member];
        for partition in partitions {
            assert!(
                book.next.remove(partition).is_some(),
                "{partition} was not owned"
            );
            book.paused.remove(partition);
        }
        assert!(!book.is_expelled || book.next.is_empty());
    }

    fn took(&mut self, member: usize, message: &Incoming) {
        let book = &mut self.members[member];
        let next = book
            .next
            .get_mut(&message.partition)
            .expect("read only what is owned");
        assert_eq!(*next, message.offset, "order within the partition");
        assert!(!book.paused.contains(&message.partition));
        *next += 1;
        let index = usize::try_from(message.offset).unwrap();
        let published = &self.published[&message.partition][index];
        assert_eq!(message.value.as_deref(), Some(published.as_bytes()));
        self.read[book.group]
            .entry(message.partition)
            .or_default()
            .insert(message.offset);
    }

    fn commit(&mut self, member: usize, behind: u8) {
        let book = &mut self.members[member];
        let of = |(partition, next): (&i32, &i64)| (*partition, (next - i64::from(behind)).max(0));
        let next: Vec<(i32, i64)> = book.next.iter().map(of).collect();
        let answer = now(book.member.commit(&next)).unwrap();
        if book.is_expelled && !next.is_empty() {
            assert_eq!(answer, Err(TopicError::LostGeneration));
            return;
        }
        assert_eq!(answer, Ok(()));
        for (partition, offset) in next {
            let committed = self.committed[book.group].get_mut(&partition).unwrap();
            *committed = offset.max(*committed);
        }
    }

    fn commit_too_far(&mut self, member: usize, partition: i32) {
        let too_far = self.end(partition) + 1;
        let book = &mut self.members[member];
        let mut next: Vec<(i32, i64)> = book.next.iter().map(|(at, next)| (*at, *next)).collect();
        next.push((partition, too_far));
        assert_eq!(
            now(book.member.commit(&next)).unwrap(),
            Err(TopicError::LostGeneration)
        );
    }

    fn pause(&mut self, member: usize, partition: i32) {
        let book = &mut self.members[member];
        let answer = now(book.member.pause(&[partition])).unwrap();
        if book.next.contains_key(&partition) && !book.is_expelled {
            assert_eq!(answer, Ok(()));
            book.paused.insert(partition);
        } else {
            assert_eq!(answer, Err(TopicError::LostGeneration));
        }
    }

    fn resume(&mut self, member: usize) {
        let book = &mut self.members[member];
        let paused: Vec<i32> = std::mem::take(&mut book.paused).into_iter().collect();
        let answer = now(book.member.resume(&paused)).unwrap();
        assert_eq!(answer.is_ok(), paused.is_empty() || !book.is_expelled);
    }

    /// What holds after every step.
    fn check(&self) {
        for (group, name) in GROUPS
            .iter()
            .enumerate()
            .filter(|(group, _)| self.is_begun[*group])
        {
            for it in now(self.topic.group_position(name))
                .unwrap()
                .unwrap()
                .partitions
            {
                assert_eq!(it.committed, self.committed[group][&it.partition]);
                assert_eq!(it.high_watermark, self.end(it.partition));
                assert!(
                    it.log_start <= it.committed,
                    "what is not committed is kept"
                );
                let read = &self.read[group][&it.partition];
                assert!(
                    (0..it.committed).all(|offset| read.contains(&offset)),
                    "committed unread"
                );
            }
        }
    }

    /// Everybody is gone; one new member of each group finds all that is left.
    fn drain(&mut self) {
        self.members.clear();
        for group in 0..GROUPS.len() {
            self.join(group);
            let member = self.members.len() - 1;
            loop {
                let before = (self.read[group].clone(), self.members[member].next.clone());
                self.poll(member, 7);
                if before == (self.read[group].clone(), self.members[member].next.clone()) {
                    break;
                }
            }
            for partition in 0..PARTITIONS {
                let expected: BTreeSet<i64> = (0..self.end(partition)).collect();
                assert_eq!(self.read[group][&partition], expected, "nothing is lost");
            }
            self.commit(member, 0);
            self.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_no_commit_passes_what_was_read(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.drain();
    }
}
