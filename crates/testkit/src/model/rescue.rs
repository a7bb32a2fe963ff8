//! One step of rescue: a page of a lane's rows that are due, each asked of the
//! table with what rescue knows beside the row.

use super::ModelStore;
use super::data::Data;
use tombola_core::AwardId;
use tombola_core::award::{Event, MqState, Row, Sight, Step};
use tombola_core::ports::{DueCursor, DuePage, DueQuery};

impl ModelStore {
    pub(super) fn rescue(&self, query: &DueQuery) -> DuePage {
        let mut data = self.data();
        let due = due_rows(&data, query);
        let mut page = DuePage {
            seen: due.len(),
            ..DuePage::default()
        };
        // A full page may hide more; what it left alone is passed by next time.
        page.next = due.last().filter(|_| due.len() == query.limit).copied();
        let mut published: Vec<(bool, AwardId)> = Vec::new();
        for award in due.iter().map(|cursor| cursor.award) {
            let before = data.awards[&award].row.clone();
            let event = Event::Rescue {
                sight: self.sight(&data, &before, query),
            };
            let Some(Step::Changed(change)) = self.apply(&mut data, award, &event, query.now)
            else {
                continue;
            };
            if change.row.state.is_final() {
                page.ended.push((award, change.row.state));
            }
            page.rescued.push((award, before.state));
            if let (true, Some(reason)) = (change.alert, change.row.hold_reason) {
                page.alerts.push((award, reason));
            }
            if change.publish {
                published.push((before.mq_state == MqState::Sent, award));
            }
        }
        published.sort();
        page.handoffs = published
            .iter()
            .filter_map(|(_, award)| data.handoff(*award, query.now))
            .collect();
        page
    }

    fn sight(&self, data: &Data, row: &Row, query: &DueQuery) -> Sight {
        Sight {
            is_lagging: row.position.is_some_and(|position| {
                // Where nobody can say how far the group is, every copy may still
                // be read.
                query
                    .group
                    .as_ref()
                    .is_none_or(|group| (self.laws.is_ahead)(group, position))
            }),
            is_breaker_open: query.is_breaker_open,
            has_hold_ended: row
                .hold_reason
                .is_some_and(|it| data.has_ended(row.award, it)),
        }
    }
}

/// The lane's due rows after the cursor, by `due_at` and award.
fn due_rows(data: &Data, query: &DueQuery) -> Vec<DueCursor> {
    let mut due: Vec<DueCursor> = data
        .awards
        .values()
        .filter(|it| it.row.lane == query.lane)
        .filter_map(|it| {
            Some(DueCursor {
                due_at: it.row.due_at?,
                award: it.row.award,
            })
        })
        .filter(|at| at.due_at <= query.now)
        .filter(|at| {
            query
                .after
                .is_none_or(|after| (at.due_at, at.award) > (after.due_at, after.award))
        })
        .collect();
    due.sort_by_key(|at| (at.due_at, at.award));
    due.truncate(query.limit);
    due
}
