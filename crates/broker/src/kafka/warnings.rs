//! What about a topic and its group endangers awards, and what to do about it.

use super::inspection::{Inspection, PartitionInspection};
use super::settings::BATCH_BYTES;
use std::fmt;
use tombola_core::limits;

/// What about a topic endangers awards, each with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicWarning {
    /// One broker has the only copy.
    NotReplicated,
    /// A message may be acknowledged that one broker alone has.
    OneInSync,
    /// No replica may be missing.
    AllInSync { min: i32, replication: usize },
    /// Nobody leads a partition.
    NoLeader { partition: i32 },
    /// Replicas are behind.
    Behind {
        partition: i32,
        in_sync: usize,
        replicas: usize,
    },
    /// Messages are dropped before rescue would publish them again anyway.
    ShortRetention { ms: i64 },
    /// Messages are dropped by size, whether they were read or not.
    RetentionBySize { bytes: i64 },
    /// Only a user's last message is kept.
    Compacted,
    /// Our largest message does not fit.
    SmallMessages { bytes: i64 },
    /// A leader may be elected that lacks acknowledged messages.
    UncleanElection,
    /// Some members have nothing to read.
    FewPartitions { partitions: usize, members: usize },
    /// A member is not ours: it takes awards away from our workers.
    Stranger { client_id: String, host: String },
    /// Messages were dropped that the group had not read.
    Dropped { partition: i32, messages: i64 },
}

impl TopicWarning {
    /// A stable name, for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotReplicated => "not_replicated",
            Self::OneInSync => "one_in_sync",
            Self::AllInSync { .. } => "all_in_sync",
            Self::NoLeader { .. } => "no_leader",
            Self::Behind { .. } => "behind",
            Self::ShortRetention { .. } => "short_retention",
            Self::RetentionBySize { .. } => "retention_by_size",
            Self::Compacted => "compacted",
            Self::SmallMessages { .. } => "small_messages",
            Self::UncleanElection => "unclean_election",
            Self::FewPartitions { .. } => "few_partitions",
            Self::Stranger { .. } => "stranger",
            Self::Dropped { .. } => "dropped",
        }
    }
}

impl TopicWarning {
    /// What the danger is.
    pub fn what(&self) -> String {
        match self {
            Self::NotReplicated => "one broker has the only copy: its loss delays awards until rescue publishes them again".to_owned(),
            Self::OneInSync => "a message is acknowledged when one broker has it".to_owned(),
            Self::AllInSync { min, replication } => format!(
                "min.insync.replicas is {min} of {replication} replicas: while one broker is away nothing can be published"
            ),
            Self::NoLeader { partition } => {
                format!("nobody leads partition {partition}: its users' awards wait")
            }
            Self::Behind {
                partition,
                in_sync,
                replicas,
            } => format!("{in_sync} of {replicas} replicas of partition {partition} are up to date"),
            Self::ShortRetention { ms } => format!(
                "messages are kept for {ms} ms, and a group that falls behind may need {}",
                limits::REDELIVERY_MAX.as_millis()
            ),
            Self::RetentionBySize { bytes } => {
                format!("partitions are cut at {bytes} bytes, read or not")
            }
            Self::Compacted => "only the last message of each user is kept".to_owned(),
            Self::SmallMessages { bytes } => format!(
                "batches of {bytes} bytes are the largest, our largest message needs {BATCH_BYTES}"
            ),
            Self::UncleanElection => {
                "a replica that lacks acknowledged messages may become the leader".to_owned()
            }
            Self::FewPartitions {
                partitions,
                members,
            } => format!(
                "{members} members share {partitions} partitions: the others have nothing to read"
            ),
            Self::Stranger { client_id, host } => {
                format!("`{client_id}` at {host} is in our group and takes awards from our workers")
            }
            Self::Dropped {
                partition,
                messages,
            } => format!(
                "{messages} messages of partition {partition} were dropped before the group read them"
            ),
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> String {
        let fixed = match self {
            Self::AllInSync { min, .. } => return format!("set it to {}", min - 1),
            Self::ShortRetention { .. } => {
                let redelivery = limits::REDELIVERY_MAX.as_millis();
                return format!("set retention.ms to {redelivery} or more");
            }
            Self::SmallMessages { .. } => {
                return format!("set max.message.bytes to {BATCH_BYTES} or more");
            }
            Self::NotReplicated => "use a replication of 3",
            Self::OneInSync => "set min.insync.replicas to 2",
            Self::NoLeader { .. } => "see to its brokers",
            Self::Behind { .. } => "see to the others' brokers",
            Self::RetentionBySize { .. } => "set retention.bytes to -1",
            Self::Compacted => "set cleanup.policy to delete",
            Self::UncleanElection => "set unclean.leader.election.enable to false",
            Self::FewPartitions { .. } => "add partitions or take members away",
            Self::Stranger { .. } => "give it a group of its own",
            Self::Dropped { .. } => "rescue publishes their awards again",
        };
        fixed.to_owned()
    }
}

impl fmt::Display for TopicWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what(), self.mend())
    }
}

impl Inspection {
    /// What about it endangers awards: the topic's settings first, then its
    /// partitions, then the group.
    pub fn warnings(&self) -> Vec<TopicWarning> {
        let mut found = self.of_settings();
        found.extend(self.partitions.iter().flat_map(of_partition));
        let members = self.group.members.len();
        let partitions = self.partitions.len();
        if members > partitions {
            found.push(TopicWarning::FewPartitions {
                partitions,
                members,
            });
        }
        let strangers = self.group.members.iter().filter(|it| !it.is_ours);
        found.extend(strangers.map(|it| TopicWarning::Stranger {
            client_id: it.client_id.clone(),
            host: it.host.clone(),
        }));
        found
    }

    fn of_settings(&self) -> Vec<TopicWarning> {
        let replication = self.replication();
        let mut found = Vec::new();
        if replication == 1 {
            found.push(TopicWarning::NotReplicated);
        } else {
            match self.settings.min_insync_replicas {
                Some(min) if min < 2 => found.push(TopicWarning::OneInSync),
                Some(min) if usize::try_from(min).is_ok_and(|min| min >= replication) => {
                    found.push(TopicWarning::AllInSync { min, replication });
                }
                Some(_) | None => {}
            }
        }
        let needed = i64::try_from(limits::REDELIVERY_MAX.as_millis()).unwrap_or(i64::MAX);
        if let Some(ms) = self.settings.retention_ms
            && (0..needed).contains(&ms)
        {
            found.push(TopicWarning::ShortRetention { ms });
        }
        if let Some(bytes) = self.settings.retention_bytes
            && bytes >= 0
        {
            found.push(TopicWarning::RetentionBySize { bytes });
        }
        let policy = self.settings.cleanup_policy.as_deref();
        if policy.is_some_and(|policy| policy.contains("compact")) {
            found.push(TopicWarning::Compacted);
        }
        if let Some(bytes) = self.settings.max_message_bytes
            && usize::try_from(bytes).is_ok_and(|bytes| bytes < BATCH_BYTES)
        {
            found.push(TopicWarning::SmallMessages { bytes });
        }
        if self.settings.is_unclean_election_allowed == Some(true) {
            found.push(TopicWarning::UncleanElection);
        }
        found
    }
}

fn of_partition(it: &PartitionInspection) -> Vec<TopicWarning> {
    let mut found = Vec::new();
    let partition = it.partition;
    let (in_sync, replicas) = (it.in_sync.len(), it.replicas.len());
    if it.leader.is_none() {
        found.push(TopicWarning::NoLeader { partition });
    } else if in_sync < replicas {
        found.push(TopicWarning::Behind {
            partition,
            in_sync,
            replicas,
        });
    }
    let messages = it.committed.map_or(0, |committed| it.log_start - committed);
    if messages > 0 {
        found.push(TopicWarning::Dropped {
            partition,
            messages,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{GroupInspection, MemberInspection, TopicSettings};

    fn sound() -> Inspection {
        let partition = |partition| PartitionInspection {
            partition,
            leader: Some(1),
            replicas: vec![1, 2, 3],
            in_sync: vec![1, 2, 3],
            log_start: 0,
            high_watermark: 10,
            committed: Some(4),
        };
        Inspection {
            name: "t".to_owned(),
            cluster_id: Some("c".to_owned()),
            partitions: vec![partition(0), partition(1)],
            settings: TopicSettings {
                min_insync_replicas: Some(2),
                retention_ms: Some(604_800_000),
                retention_bytes: Some(-1),
                cleanup_policy: Some("delete".to_owned()),
                max_message_bytes: Some(1_048_588),
                is_unclean_election_allowed: Some(false),
            },
            group: GroupInspection {
                name: "g".to_owned(),
                state: "Stable".to_owned(),
                members: vec![member("tombola")],
            },
        }
    }

    fn member(client_id: &str) -> MemberInspection {
        MemberInspection {
            id: format!("{client_id}-1"),
            client_id: client_id.to_owned(),
            host: "/10.0.0.1".to_owned(),
            is_ours: client_id == "tombola",
            partitions: vec![],
        }
    }

    fn codes(spoil: impl FnOnce(&mut Inspection)) -> Vec<&'static str> {
        let mut inspection = sound();
        spoil(&mut inspection);
        let warnings = inspection.warnings();
        warnings.iter().map(TopicWarning::code).collect()
    }

    #[test]
    fn sound_topic_is_warned_of_nothing() {
        assert!(codes(|_| {}).is_empty());
        assert!(codes(|it| it.settings = TopicSettings::default()).is_empty());
        assert!(codes(|it| it.settings.retention_ms = Some(-1)).is_empty());
    }

    #[test]
    fn each_danger_has_its_warning() {
        let alone = |it: &mut Inspection| {
            for partition in &mut it.partitions {
                partition.replicas = vec![1];
                partition.in_sync = vec![1];
            }
        };
        assert_eq!(codes(alone), ["not_replicated"]);
        let settings = |change: fn(&mut TopicSettings)| codes(|it| change(&mut it.settings));
        assert_eq!(
            settings(|it| it.min_insync_replicas = Some(1)),
            ["one_in_sync"]
        );
        assert_eq!(
            settings(|it| it.min_insync_replicas = Some(3)),
            ["all_in_sync"]
        );
        assert_eq!(
            settings(|it| it.retention_ms = Some(1000)),
            ["short_retention"]
        );
        assert_eq!(
            settings(|it| it.retention_bytes = Some(1)),
            ["retention_by_size"]
        );
        assert_eq!(
            settings(|it| it.max_message_bytes = Some(65_536)),
            ["small_messages"]
        );
        let compacts =
            |it: &mut TopicSettings| it.cleanup_policy = Some("compact,delete".to_owned());
        assert_eq!(settings(compacts), ["compacted"]);
        let unclean = |it: &mut TopicSettings| it.is_unclean_election_allowed = Some(true);
        assert_eq!(settings(unclean), ["unclean_election"]);
        assert_eq!(codes(|it| it.partitions[1].leader = None), ["no_leader"]);
        assert_eq!(codes(|it| it.partitions[1].in_sync = vec![1]), ["behind"]);
        assert_eq!(codes(|it| it.partitions[0].log_start = 5), ["dropped"]);
        assert_eq!(
            codes(|it| it.group.members.push(member("billing"))),
            ["stranger"]
        );
        let crowd = |it: &mut Inspection| it.group.members = vec![member("tombola"); 3];
        assert_eq!(codes(crowd), ["few_partitions"]);
    }
}
