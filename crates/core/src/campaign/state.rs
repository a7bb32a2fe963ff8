//! The states of a campaign and the commands that move it. What people see also
//! has `scheduled`, `running` and `ended`: they are computed from `started` and
//! the period at the instant asked, so nothing has to happen for a campaign to
//! begin or end on time.

use super::rules::Rules;
use crate::names::names;
use crate::time::Timestamp;

names! {
    /// A campaign's stored state.
    CampaignState {
        /// Being written; may be edited.
        Draft = "draft",
        /// Waits for approval.
        Submitted = "submitted",
        /// May be started.
        Approved = "approved",
        /// Users may draw within the period.
        Started = "started",
        /// Stopped for a while by an operator.
        Paused = "paused",
        /// Over; awards on the path are still delivered.
        Closed = "closed",
        /// Turned down; may be edited.
        Refused = "refused",
    }
}

names! {
    /// What people see of a campaign at one instant.
    Phase {
        /// Being written.
        Draft = "draft",
        /// Waits for approval.
        Submitted = "submitted",
        /// May be started.
        Approved = "approved",
        /// Started, and its period has not begun.
        Scheduled = "scheduled",
        /// Started, and within its period: the only phase in which users draw.
        Running = "running",
        /// Started, and its period is over.
        Ended = "ended",
        /// Stopped for a while.
        Paused = "paused",
        /// Over.
        Closed = "closed",
        /// Turned down.
        Refused = "refused",
    }
}

names! {
    /// A command that moves a campaign from one state to another.
    Transition {
        /// Ask for approval.
        Submit = "submit",
        /// Take the question back.
        Withdraw = "withdraw",
        /// Turn down, with a reason.
        Refuse = "refuse",
        /// Edit: a new version.
        Edit = "edit",
        /// Allow to start.
        Approve = "approve",
        /// Let users draw.
        Start = "start",
        /// Stop for a while.
        Pause = "pause",
        /// Go on.
        Resume = "resume",
        /// End for good.
        Close = "close",
        /// Begin again as a new version in draft.
        Reopen = "reopen",
    }
}

names! {
    /// Who may approve a version.
    Approval {
        /// Whoever may approve at all.
        Anybody = "anybody",
        /// Anybody but the one who submitted it.
        SecondPerson = "second_person",
    }
}

impl Approval {
    /// Whether `by` may approve what `submitted_by` submitted. Where nobody knows who
    /// did, it has to be withdrawn and submitted again.
    pub fn allows(self, submitted_by: Option<&str>, by: &str) -> bool {
        match self {
            Self::Anybody => true,
            Self::SecondPerson => submitted_by.is_some_and(|it| it != by),
        }
    }
}

/// The state after `command` in `from`, or `None` where the command is not allowed.
pub const fn after(from: CampaignState, command: Transition) -> Option<CampaignState> {
    use CampaignState as S;
    use Transition as T;
    match (command, from) {
        (T::Submit, S::Draft) => Some(S::Submitted),
        (T::Withdraw, S::Submitted) | (T::Edit, S::Draft | S::Refused) | (T::Reopen, S::Closed) => {
            Some(S::Draft)
        }
        (T::Refuse, S::Submitted | S::Approved) => Some(S::Refused),
        (T::Approve, S::Submitted) => Some(S::Approved),
        (T::Start, S::Approved) | (T::Resume, S::Paused) => Some(S::Started),
        (T::Pause, S::Started) => Some(S::Paused),
        (T::Close, S::Draft | S::Submitted | S::Approved | S::Started | S::Paused | S::Refused) => {
            Some(S::Closed)
        }
        _ => None,
    }
}

/// What people see at `now`.
pub fn phase(state: CampaignState, rules: &Rules, now: Timestamp) -> Phase {
    match state {
        CampaignState::Draft => Phase::Draft,
        CampaignState::Submitted => Phase::Submitted,
        CampaignState::Approved => Phase::Approved,
        CampaignState::Paused => Phase::Paused,
        CampaignState::Closed => Phase::Closed,
        CampaignState::Refused => Phase::Refused,
        CampaignState::Started if rules.is_within_period(now) => Phase::Running,
        CampaignState::Started if rules.starts_at.is_some_and(|start| now < start) => {
            Phase::Scheduled
        }
        CampaignState::Started => Phase::Ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_person_is_anybody_but_the_one_who_submitted() {
        for (submitted_by, allowed) in [(Some("ann"), false), (Some("bo"), true), (None, false)] {
            assert_eq!(Approval::SecondPerson.allows(submitted_by, "ann"), allowed);
            assert!(Approval::Anybody.allows(submitted_by, "ann"));
        }
    }

    /// The whole table of commands and states, written out as the contract has it.
    #[test]
    fn every_transition_is_legal_or_illegal_exactly_as_the_contract_says() {
        use CampaignState as S;
        use Transition as T;
        let legal = [
            (T::Submit, S::Draft, S::Submitted),
            (T::Withdraw, S::Submitted, S::Draft),
            (T::Refuse, S::Submitted, S::Refused),
            (T::Refuse, S::Approved, S::Refused),
            (T::Edit, S::Draft, S::Draft),
            (T::Edit, S::Refused, S::Draft),
            (T::Approve, S::Submitted, S::Approved),
            (T::Start, S::Approved, S::Started),
            (T::Pause, S::Started, S::Paused),
            (T::Resume, S::Paused, S::Started),
            (T::Close, S::Draft, S::Closed),
            (T::Close, S::Submitted, S::Closed),
            (T::Close, S::Approved, S::Closed),
            (T::Close, S::Started, S::Closed),
            (T::Close, S::Paused, S::Closed),
            (T::Close, S::Refused, S::Closed),
            (T::Reopen, S::Closed, S::Draft),
        ];
        for &command in T::ALL {
            for &from in S::ALL {
                let expected = legal
                    .iter()
                    .find(|(legal_command, legal_from, _)| {
                        (*legal_command, *legal_from) == (command, from)
                    })
                    .map(|(_, _, to)| *to);
                assert_eq!(after(from, command), expected, "{command} from {from}");
            }
        }
    }
}
