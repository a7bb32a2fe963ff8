//! Random bytes for keys, secrets and request keys. Rolls do not come from here:
//! the desk has a generator of its own.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ChaCha12Rng::from_os_rng().fill_bytes(&mut bytes);
    bytes
}
