//! Random bytes for keys, secrets and request keys. Rolls do not come from here:
//! the desk has a generator of its own.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// A name that nobody has: 12 letters and digits, 60 bits.
pub(crate) fn name() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
    bytes::<12>().into_iter().map(letter).collect()
}

/// Bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ChaCha12Rng::from_os_rng().fill_bytes(&mut bytes);
    bytes
}
