//! Where randomness comes from: one generator by name, ChaCha12, seeded from the
//! operating system, or by a number so that a run comes back.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tombola_core::campaign::odds::Roll;
use tombola_core::draw::Ticket;
use tombola_core::ids::DrawId;
use tombola_core::retry::Jitter;

/// What a generator is seeded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// The operating system's randomness.
    System,
    /// A number, for runs that must come back.
    Number(u64),
}

impl Seed {
    /// The generator for the part of the engine with this number; parts never share
    /// a stream.
    pub(crate) fn generator(self, part: u64) -> Rolls {
        let mut rng = match self {
            Self::System => ChaCha12Rng::from_os_rng(),
            Self::Number(number) => ChaCha12Rng::seed_from_u64(number),
        };
        rng.set_stream(part);
        Rolls { rng }
    }
}

/// A generator of rolls, tails and jitter.
#[derive(Debug)]
pub(crate) struct Rolls {
    rng: ChaCha12Rng,
}

impl Rolls {
    /// A ticket for a draw: 64 bits for its roll, 60 for each tail.
    pub(crate) fn ticket(&mut self, id: DrawId) -> Ticket {
        Ticket {
            id,
            roll: Roll(self.rng.next_u64()),
            message_tail: self.rng.next_u64() >> 4,
            delivery_tail: self.rng.next_u64() >> 4,
        }
    }

    /// A number from 0 to 1,000.
    pub(crate) fn jitter(&mut self) -> Jitter {
        Jitter(u16::try_from(self.rng.next_u32() % 1001).unwrap_or(500))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_number_gives_the_same_tickets_and_parts_never_share_a_stream() {
        let ticket = |number, part| Seed::Number(number).generator(part).ticket(DrawId(1));
        assert_eq!(ticket(7, 0), ticket(7, 0));
        assert_ne!(ticket(7, 0), ticket(7, 1));
        assert_ne!(ticket(7, 0), ticket(8, 0));
    }

    #[test]
    fn tails_are_of_60_bits_and_two_system_seeds_differ() {
        let (mut one, mut two) = (Seed::System.generator(0), Seed::System.generator(0));
        for _ in 0..1000 {
            let (a, b) = (one.ticket(DrawId(1)), two.ticket(DrawId(1)));
            assert!(a.message_tail < 1 << 60 && a.delivery_tail < 1 << 60);
            assert_ne!(a.roll, b.roll);
        }
    }

    #[test]
    fn jitter_covers_its_whole_range_and_no_more() {
        let mut rolls = Seed::Number(1).generator(0);
        let seen: Vec<u16> = (0..100_000).map(|_| rolls.jitter().0).collect();
        assert_eq!(
            (seen.iter().min(), seen.iter().max()),
            (Some(&0), Some(&1000))
        );
    }
}
