//! Hosts in network namespaces, scenarios, bars.
