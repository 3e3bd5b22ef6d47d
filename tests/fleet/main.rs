//! The whole fleet against a real nats-server: what goes in comes out once, in the right zone.

mod bad_input;
mod faults;
mod lifecycle;
mod pipelines;
mod privacy;
mod topology;
