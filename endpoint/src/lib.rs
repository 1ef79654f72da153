//! The agent: joins a server to an overlay and keeps it there.
