//! Lag that is taken for loss, or loss for lag.

use super::BrokenLags;
use tombola_core::ports::PartitionPosition;

fn any(partitions: &[PartitionPosition], is_ahead: impl Fn(&PartitionPosition) -> bool) -> bool {
    partitions.iter().any(is_ahead)
}

pub(super) const ALL: BrokenLags = &[
    (
        "a copy of another life of the topic is waited for",
        |group, at| {
            any(&group.partitions, |it| {
                it.partition == at.partition
                    && at.offset >= it.committed
                    && (it.log_start..it.high_watermark).contains(&at.offset)
            })
        },
    ),
    (
        "a copy that the group has passed is waited for",
        |group, at| {
            any(&group.partitions, |it| {
                group.epoch == at.epoch
                    && it.partition == at.partition
                    && (it.log_start..it.high_watermark).contains(&at.offset)
            })
        },
    ),
    (
        "a copy that is no longer kept is waited for",
        |group, at| {
            any(&group.partitions, |it| {
                group.epoch == at.epoch
                    && it.partition == at.partition
                    && (it.committed..it.high_watermark).contains(&at.offset)
            })
        },
    ),
    (
        "a copy beyond the end of the log is waited for",
        |group, at| {
            any(&group.partitions, |it| {
                group.epoch == at.epoch
                    && it.partition == at.partition
                    && at.offset >= it.committed.max(it.log_start)
            })
        },
    ),
    ("a copy in another partition is waited for", |group, at| {
        any(&group.partitions, |it| {
            group.epoch == at.epoch
                && at.offset >= it.committed
                && (it.log_start..it.high_watermark).contains(&at.offset)
        })
    }),
    ("the next copy to be read counts as passed", |group, at| {
        any(&group.partitions, |it| {
            group.epoch == at.epoch
                && it.partition == at.partition
                && at.offset > it.committed
                && (it.log_start..it.high_watermark).contains(&at.offset)
        })
    }),
];
