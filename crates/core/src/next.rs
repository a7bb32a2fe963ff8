//! With the feature `next-version` a program may say that it is the version after this
//! one: its schema has a migration more, its messages a field more, and it tells another
//! version of itself. Tests of an upgrade run it beside the binary as shipped.

use std::sync::atomic::{AtomicBool, Ordering};

static IS_NEXT: AtomicBool = AtomicBool::new(false);

/// From now on this program is the next version.
pub fn be_next() {
    IS_NEXT.store(true, Ordering::Relaxed);
}

/// Whether it is.
pub fn is_next() -> bool {
    IS_NEXT.load(Ordering::Relaxed)
}

/// The same message with the field that this version does not know.
pub(crate) fn with_field(mut message: Vec<u8>) -> Vec<u8> {
    message.splice(1..1, *br#""nextNote":{"of":"the next version"},"#);
    message
}
