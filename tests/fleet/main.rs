//! The whole fleet against a real nats-server: what goes in comes out once, in the right zone.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failure of the test")]

mod alerts;
mod any_client;
mod attacks;
mod bad_input;
mod canary;
mod cancelling;
mod dashboard;
mod dead_letters;
mod faults;
mod janitor;
mod lifecycle;
mod links;
mod metric_table;
mod old_server;
mod pipelines;
mod policy;
mod privacy;
mod processes;
mod producer;
mod prometheus;
mod prove;
mod providers;
mod real_model;
mod schedule;
mod seal;
mod spend;
mod streamed;
mod topology;
mod traces;
mod transport;

#[expect(dead_code, reason = "the script has words that only other tests use")]
#[path = "../../crates/providers/tests/chat/server.rs"]
mod scripted_http;
