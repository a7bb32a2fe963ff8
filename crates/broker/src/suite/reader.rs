//! A member under test: it polls, keeps the books that a worker keeps, and checks
//! on the way what holds at every step.

use super::{World, in_time};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tombola_core::limits;
use tombola_core::ports::{Incoming, Member, Polled};

/// What happened to all readers of a case, in order.
pub type Trace = Rc<RefCell<Vec<Seen>>>;

/// One thing that one reader saw of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// `reader` was assigned `partition`.
    Assigned {
        /// The name the case gave it.
        reader: &'static str,
        /// The partition.
        partition: i32,
    },
    /// `reader` was revoked `partition`.
    Revoked {
        /// The name the case gave it.
        reader: &'static str,
        /// The partition.
        partition: i32,
    },
}

/// A member and its books.
pub struct Reader {
    /// The member itself.
    pub member: Box<dyn Member>,
    /// What it owns.
    pub owned: BTreeSet<i32>,
    /// All it read, in order.
    pub got: Vec<Incoming>,
    name: &'static str,
    trace: Trace,
    /// By partition: the next offset, since it was assigned.
    next: BTreeMap<i32, i64>,
}

impl Reader {
    /// Joins `group`.
    pub async fn join(world: &dyn World, group: &str) -> Self {
        Self::join_traced(world, group, "reader", Trace::default()).await
    }

    /// Joins `group` and writes what it sees into `trace`.
    pub async fn join_traced(
        world: &dyn World,
        group: &str,
        name: &'static str,
        trace: Trace,
    ) -> Self {
        let member = world
            .topic()
            .subscribe(group)
            .await
            .expect("the group can be joined");
        let (owned, got, next) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Self {
            member,
            owned,
            got,
            name,
            trace,
            next,
        }
    }

    /// Joins `group` and waits until it owns every partition.
    pub async fn alone(world: &dyn World, group: &str) -> Self {
        let mut reader = Self::join(world, group).await;
        reader.until_owns(super::PARTITIONS).await;
        reader
    }

    /// One poll; what nobody ever sees ends the case.
    pub async fn step(&mut self) -> Polled {
        let polled = in_time(self.member.poll(limits::WORKER_POLL_MAX)).await;
        let polled = polled.expect("the topic is open");
        self.note(&polled);
        polled
    }

    /// Keeps the books, and checks that what came fits them.
    pub fn note(&mut self, polled: &Polled) {
        match polled {
            Polled::Assigned(partitions) => {
                assert!(!partitions.is_empty(), "an assignment names its partitions");
                for partition in partitions {
                    assert!(
                        self.owned.insert(*partition),
                        "{partition} was owned already"
                    );
                    let (reader, partition) = (self.name, *partition);
                    self.trace
                        .borrow_mut()
                        .push(Seen::Assigned { reader, partition });
                }
            }
            Polled::Revoked(partitions) => {
                assert!(!partitions.is_empty(), "a revocation names its partitions");
                for partition in partitions {
                    assert!(self.owned.remove(partition), "{partition} was not owned");
                    self.next.remove(partition);
                    let (reader, partition) = (self.name, *partition);
                    self.trace
                        .borrow_mut()
                        .push(Seen::Revoked { reader, partition });
                }
            }
            Polled::Messages(messages) => {
                assert!(
                    !messages.is_empty(),
                    "a poll waits until there is something"
                );
                for message in messages {
                    self.note_message(message);
                }
            }
        }
    }

    fn note_message(&mut self, message: &Incoming) {
        let Incoming {
            partition, offset, ..
        } = message;
        assert!(
            self.owned.contains(partition),
            "read from {partition}, which is not owned"
        );
        if let Some(next) = self.next.insert(*partition, offset + 1) {
            assert_eq!(*offset, next, "offsets of a partition follow one another");
        }
        self.got.push(message.clone());
    }

    /// Polls until it owns `count` partitions.
    pub async fn until_owns(&mut self, count: i32) {
        while self.owned.len() != usize::try_from(count).expect("a small number") {
            self.step().await;
        }
    }

    /// Polls until it has read `count` more messages; these.
    pub async fn read(&mut self, count: usize) -> Vec<Incoming> {
        let begin = self.got.len();
        while self.got.len() < begin + count {
            self.step().await;
        }
        self.got[begin..].to_vec()
    }

    /// The same, as partition and text.
    pub async fn read_texts(&mut self, count: usize) -> Vec<(i32, String)> {
        self.read(count)
            .await
            .iter()
            .map(|message| (message.partition, text(message)))
            .collect()
    }

    /// Commits all it has read of what it owns.
    pub async fn commit_all(&mut self) {
        let next: Vec<_> = self
            .next
            .iter()
            .map(|(partition, next)| (*partition, *next))
            .collect();
        self.member.commit(&next).await.expect("its own offsets");
    }
}

/// Polls both until each owns its count, as two processes would: side by side.
pub async fn until_both(one: &mut Reader, owns: i32, other: &mut Reader, other_owns: i32) {
    tokio::join!(one.until_owns(owns), other.until_owns(other_owns));
}

/// A message's value as text.
pub(crate) fn text(message: &Incoming) -> String {
    let value = message.value.as_deref().unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}
