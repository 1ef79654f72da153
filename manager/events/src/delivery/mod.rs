//! Delivery of the stream to a place outside the cluster: what is sent next, when it is tried again, and when it is given up.
//!
//! Pure: the shell reads the stream, sends, and says how that went. Times are milliseconds since 1970, for they have to
//! make sense to another manager and after a restart.

mod address;
mod answer;
mod backoff;
mod health;
mod queue;
mod signature;

pub use address::is_public;
pub use answer::{MOST_RETRY_AFTER_MS, Verdict, judge};
pub use backoff::{Backoff, Jitter};
pub use health::{Health, News};
pub use queue::{GivenUp, Lane, Outcome, Queue, Settings, Start, Ticket, What};
pub use signature::{BadSecret, SigningSecret, signatures};
