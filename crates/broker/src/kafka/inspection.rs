//! What a topic on Kafka is and how its group stands: for `topic describe` and
//! `doctor`.

/// A topic and one group of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Its name.
    pub name: String,
    /// The cluster, where it says who it is.
    pub cluster_id: Option<String>,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionInspection>,
    /// Its settings; each is absent where the cluster does not say it.
    pub settings: TopicSettings,
    /// The group.
    pub group: GroupInspection,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInspection {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it.
    pub leader: Option<i32>,
    /// Brokers that keep it.
    pub replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub in_sync: Vec<i32>,
    /// The first offset still kept.
    pub log_start: i64,
    /// One past the last offset.
    pub high_watermark: i64,
    /// The next offset that the group reads, once it committed one.
    pub committed: Option<i64>,
}

impl PartitionInspection {
    /// Messages that the group has not committed past.
    pub fn lag(&self) -> i64 {
        let next = self.committed.unwrap_or(0).max(self.log_start);
        (self.high_watermark - next).max(0)
    }
}

/// The settings of a topic that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// Replicas that must have a message before it is acknowledged.
    pub min_insync_replicas: Option<i32>,
    /// How long messages are kept; -1 is for ever.
    pub retention_ms: Option<i64>,
    /// Bytes of a partition that are kept; -1 is all.
    pub retention_bytes: Option<i64>,
    /// `delete`, `compact` or both.
    pub cleanup_policy: Option<String>,
    /// The largest batch.
    pub max_message_bytes: Option<i64>,
    /// Whether a replica that is behind may become the leader.
    pub is_unclean_election_allowed: Option<bool>,
}

/// A group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupInspection {
    /// Its name.
    pub name: String,
    /// As the cluster says it: `Stable`, `Empty`, `Dead` (it was never there), and
    /// `Unknown` where we may not ask.
    pub state: String,
    /// Its members.
    pub members: Vec<MemberInspection>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInspection {
    /// As the cluster calls it.
    pub id: String,
    /// As it calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// Whether it calls itself as ours do.
    pub is_ours: bool,
    /// The partitions that it reads.
    pub partitions: Vec<i32>,
}

impl Inspection {
    /// Replicas of the partition that has the fewest.
    pub fn replication(&self) -> usize {
        let replicas = self.partitions.iter().map(|it| it.replicas.len());
        replicas.min().unwrap_or(0)
    }
}

/// The partitions of `topic` in what the group's leader gave a member: Kafka's
/// `ConsumerProtocolAssignment`. Nothing, if it is something else.
pub(super) fn assigned(bytes: &[u8], topic: &str) -> Vec<i32> {
    let mut left = Reader(bytes);
    left.assigned(topic).unwrap_or_default()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*taken)
    }

    fn assigned(&mut self, topic: &str) -> Option<Vec<i32>> {
        self.take::<2>()?; // the version; later ones only append
        let topics = i32::from_be_bytes(self.take()?);
        let mut found = Vec::new();
        for _ in 0..topics {
            let length = usize::from(u16::from_be_bytes(self.take()?));
            let (name, left) = self.0.split_at_checked(length)?;
            self.0 = left;
            for _ in 0..i32::from_be_bytes(self.take()?) {
                let partition = i32::from_be_bytes(self.take()?);
                if name == topic.as_bytes() {
                    found.push(partition);
                }
            }
        }
        found.sort_unstable();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_is_kept_and_not_committed() {
        let mut it = PartitionInspection {
            partition: 0,
            leader: Some(1),
            replicas: vec![1],
            in_sync: vec![1],
            log_start: 0,
            high_watermark: 10,
            committed: Some(4),
        };
        assert_eq!(it.lag(), 6);
        it.committed = None;
        it.log_start = 3;
        assert_eq!(it.lag(), 7);
        it.committed = Some(10);
        assert_eq!(it.lag(), 0);
    }

    #[test]
    fn assignment_is_read_and_nonsense_is_nothing() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        for (name, partitions) in [("x", [7, 8]), ("t", [3, 1])] {
            bytes.extend([0, 1]);
            bytes.extend(name.as_bytes());
            bytes.extend(2_i32.to_be_bytes());
            bytes.extend(partitions.iter().flat_map(|it: &i32| it.to_be_bytes()));
        }
        assert_eq!(assigned(&bytes, "t"), [1, 3]);
        for end in 0..bytes.len() {
            assert_eq!(assigned(&bytes[..end], "t"), Vec::<i32>::new());
        }
    }
}
