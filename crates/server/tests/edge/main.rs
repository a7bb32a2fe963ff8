//! The real binary on a network that means it no good: what it refuses and with what
//! word, that it is well afterwards, and what its log holds of all that. The modules
//! are marked as tests so that lints know their helpers for what they are.

#[cfg(test)]
mod house;
#[cfg(test)]
mod input;
#[cfg(test)]
mod log;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod tls;
