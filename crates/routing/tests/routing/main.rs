//! Routing held against the shipped configuration: each rule, and what no input may break.

mod properties;
mod rules;
mod support;
