//! The desired state of a cluster, and the mesh of its managers. Pure.
