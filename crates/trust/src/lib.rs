//! Who may do what. Two things hold private work inside the local zone whatever a process does: the server lets each
//! role do only what its permissions say, and workers run only what a classifier has sealed.
//!
//! Modules in reading order:
//!
//! * [`role`]: who a process is to the server
//! * [`permissions`]: what each role may publish and hear, as data
//! * [`accounts`]: the server's configuration of all that: accounts, their exports and imports, users
//! * [`keys`]: the folder that holds the keys
//! * [`seal`]: the classifier's signature on what it puts on lanes and writes into the routing log

pub mod accounts;
pub mod keys;
pub mod permissions;
pub mod role;
pub mod seal;

pub use keys::{Keys, KeysError};
pub use role::Role;
pub use seal::{Seal, SealError, SealKey, Trusted};
