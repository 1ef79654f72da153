//! The key of this manager's tunnels and links, and how it changes.
//!
//! The private halves are on this disk and nowhere else; which of them is the key of now stands in the registry. So nothing
//! has to happen in both at once: the new key is on disk before anybody hears of it, the command is proposed until it is
//! certain what became of it, and every later step follows from the registry's record, at the next start if need be.

mod files;
mod keeper;

pub use files::{KeyFiles, Next, Stored};
pub use keeper::{OwnKey, RotateError, Rotated};
