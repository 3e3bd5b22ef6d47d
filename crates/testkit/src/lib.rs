//! For tests only: a nats-server of its own for each test, a fleet in process, scripted runners, a proxy
//! that misbehaves, `eventually`.

pub mod eventually;
pub mod fleet;
pub mod nats;
pub mod proxy;
pub mod scripted;

pub use eventually::{PATIENCE, eventually};
pub use fleet::{Fleet, FleetBuilder};
pub use nats::NatsServer;
pub use proxy::Proxy;
pub use scripted::Scripted;
