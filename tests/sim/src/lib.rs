//! The pure parts of managers and endpoints on a virtual clock and network.
