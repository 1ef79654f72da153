//! The shell: devices, sockets and the loop that drives a node.
