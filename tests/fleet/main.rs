//! The whole fleet against a real nats-server: what goes in comes out once, in the right zone.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failure of the test")]

mod any_client;
mod attacks;
mod bad_input;
mod faults;
mod janitor;
mod lifecycle;
mod links;
mod old_server;
mod pipelines;
mod privacy;
mod processes;
mod providers;
mod real_model;
mod schedule;
mod seal;
mod streamed;
mod topology;
mod transport;
