//! Looks at the fleet every few seconds.
//!
//! * [`fleet`]: what was seen, as data
//! * [`export`]: the same as gauges for Prometheus

#[cfg_attr(not(test), expect(dead_code, reason = "whoever looks calls it"))]
pub(crate) mod export;
pub(crate) mod fleet;
