//! A node that learns of changes.
