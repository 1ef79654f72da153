//! The desired state of a cluster, and the mesh of its managers. Pure.

pub mod compile;
pub mod mesh;
pub mod registry;
