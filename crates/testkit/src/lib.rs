//! For tests only: a nats-server of its own for each test, a fleet in process, scripted runners, `eventually`.

pub mod eventually;
pub mod fleet;
pub mod nats;
pub mod scripted;

pub use eventually::eventually;
pub use fleet::{Fleet, FleetBuilder};
pub use nats::NatsServer;
pub use scripted::Scripted;
