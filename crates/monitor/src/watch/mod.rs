//! Looks at the fleet every few seconds.
//!
//! * [`fleet`]: what was seen, as data

#[cfg_attr(not(test), expect(dead_code, reason = "what looks and what shows come with it"))]
pub(crate) mod fleet;
