//! The audit log of this manager, made whole: entries that it never made itself, or lost, come from the other managers.
//!
//! The registry holds the end of the chain, and each entry the hash of the one before. So from the end backwards every
//! entry is known for what it is before it is taken, whoever sent it.
//!
//! ```text
//! registry (end of the chain) --> trail (walks back, asks the others) --> whole --> events, API
//! ```

mod ask;
mod read;
mod trail;

pub use ask::router;
pub use read::{Part, ReadError, Reader};
pub use trail::Trail;
