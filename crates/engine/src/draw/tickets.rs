//! Tickets: ids from blocks reserved ahead, so that no batch waits for one, with a
//! roll and two tails each.

use crate::rolls::Rolls;
use std::collections::VecDeque;
use tombola_core::draw::Ticket;
use tombola_core::ids::IdBlock;

/// The ids in hand and the generator.
pub(super) struct Tickets {
    blocks: VecDeque<IdBlock>,
    rolls: Rolls,
    low: u64,
}

impl Tickets {
    /// None in hand; with fewer than `low` another block is wanted.
    pub(super) fn new(rolls: Rolls, low: u32) -> Self {
        Self {
            blocks: VecDeque::new(),
            rolls,
            low: u64::from(low),
        }
    }

    /// Ids in hand.
    pub(super) fn left(&self) -> u64 {
        self.blocks
            .iter()
            .map(|block| u64::try_from(block.left()).unwrap_or(0))
            .sum()
    }

    /// Whether another block should be reserved now.
    pub(super) fn is_low(&self) -> bool {
        self.left() < self.low
    }

    /// A block that was reserved.
    pub(super) fn refill(&mut self, block: IdBlock) {
        self.blocks.push_back(block);
    }

    /// So many tickets; fewer only if fewer ids are in hand.
    pub(super) fn take(&mut self, count: u32) -> Vec<Ticket> {
        (0..count).map_while(|_| self.one()).collect()
    }

    fn one(&mut self) -> Option<Ticket> {
        loop {
            if let Some(id) = self.blocks.front_mut()?.take() {
                return Some(self.rolls.ticket(id));
            }
            self.blocks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rolls::Seed;

    #[test]
    fn tickets_run_through_the_blocks_and_never_repeat_an_id() {
        let mut tickets = Tickets::new(Seed::Number(1).generator(0), 5);
        assert!(tickets.is_low());
        tickets.refill(IdBlock { next: 10, end: 13 });
        tickets.refill(IdBlock { next: 50, end: 54 });
        assert!(!tickets.is_low());
        let ids: Vec<i64> = tickets.take(6).iter().map(|ticket| ticket.id.0).collect();
        assert_eq!(ids, [10, 11, 12, 50, 51, 52]);
        assert_eq!(tickets.left(), 1);
        assert_eq!(tickets.take(3).len(), 1);
    }
}
