//! Routing inside a network: longest-prefix match, and the messages a router owes to senders.

pub mod icmp;
mod table;

pub use table::RouteTable;
