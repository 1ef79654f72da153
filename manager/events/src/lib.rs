//! What happens in a cluster: events, and the one stream that the managers make of them.
//!
//! An event is told by one [`Source`]: the audit log, which is the same on every manager, or the manager that saw it. Each
//! source numbers its own, and every manager has the events of all, each source's in its order. So a [`Cursor`] says for
//! each source how far it was read, and whoever has one can go on at any manager without losing or repeating anything.

mod audited;
mod copies;
mod cursor;
pub mod damping;
pub mod delivery;
mod event;
mod filter;
mod merge;
pub mod standing;

pub use audited::{AuditError, Audited, of_entry};
pub use copies::Copies;
pub use cursor::{BadCursor, Cursor};
pub use event::{Details, Event, Kind, Place, Position, Source, UnknownKind};
pub use filter::Filter;
pub use merge::{HOLD, Merge};
