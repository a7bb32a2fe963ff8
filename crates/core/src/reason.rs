//! Closed lists of why an award is held or dead, and why a message was kept.

use crate::names::names;

names! {
    /// Why an award is held: which person or event ends the hold.
    HoldReason {
        /// An operator releases it.
        Manual = "manual",
        /// Its instant comes.
        Scheduled = "scheduled",
        /// Deliveries are resumed.
        Paused = "paused",
        /// The winner gives an address, or the time to claim ends.
        Address = "address",
        /// An operator ships it.
        Shipment = "shipment",
        /// Another service confirms, or its time ends.
        External = "external",
        /// Codes are imported.
        NoCode = "no_code",
        /// The endpoint is enabled.
        EndpointDisabled = "endpoint_disabled",
    }
}

names! {
    /// Why an award was given up on.
    DeadReason {
        /// The endpoint will never take it.
        Refused = "refused",
        /// All attempts failed.
        Exhausted = "exhausted",
        /// A call may have had its effect and must not be repeated blindly.
        UnknownOutcome = "unknown_outcome",
        /// The worker was lost on the last attempt.
        WorkerLost = "worker_lost",
        /// The other service did not confirm in time.
        NotConfirmed = "not_confirmed",
        /// The broker will never take its message.
        Unpublishable = "unpublishable",
        /// The endpoint stayed broken for longer than `defer_max`.
        EndpointFault = "endpoint_fault",
        /// Its own row fails in the database, alone.
        Poison = "poison",
    }
}

names! {
    /// Why a message was kept as a dead-letter message; it changed no award.
    KeptReason {
        /// No value.
        Empty = "empty",
        /// Not the JSON of an award, or too large.
        Undecodable = "undecodable",
        /// Of another origin.
        Foreign = "foreign",
        /// No award has its `orderId`.
        NoAward = "no_award",
        /// The award has another `messageId`.
        OtherMessageId = "other_message_id",
        /// Drawn by another system, and `delivery.foreign_prizes` has no prize for its `awardId`.
        Unmapped = "unmapped",
        /// Drawn by another system, and its prize takes nothing in: it or its campaign is
        /// gone, not started, closed, or has a stock, a cap or limits.
        NotAdoptable = "not_adoptable",
        /// Drawn by another system, and its `awardType` is not that of the prize.
        OtherKind = "other_kind",
        /// Drawn by another system, for a user who is being erased.
        UserErased = "user_erased",
    }
}
