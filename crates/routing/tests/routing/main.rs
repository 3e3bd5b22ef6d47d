//! Routing held against the shipped configuration: each rule, and what no input may break.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod learned;
mod off_policy;
mod properties;
mod rules;
mod screen_data;
mod spending;
mod support;
