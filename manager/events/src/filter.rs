//! Which events somebody wants.

use std::collections::BTreeSet;

use festoon_proto::{EndpointId, ManagerId, NetworkId};

use crate::{Event, Kind};

/// Which events somebody wants. Nothing but defaults is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of these kinds; of all if there are none.
    pub kinds: BTreeSet<Kind>,
    /// About this endpoint.
    pub endpoint: Option<EndpointId>,
    /// About this manager.
    pub manager: Option<ManagerId>,
    /// In this network.
    pub network: Option<NetworkId>,
    /// Not before this time, in milliseconds since 1970.
    pub since: u64,
}

impl Filter {
    /// Whether an event is wanted.
    pub fn takes(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.endpoint.is_none_or(|id| event.endpoint == Some(id))
            && self.manager.is_none_or(|id| event.manager == Some(id))
            && self.network.is_none_or(|id| event.network == Some(id))
            && event.at >= self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_filter_leaves_something_out() {
        let event =
            Event { endpoint: Some(EndpointId(7)), network: Some(NetworkId(1)), ..Event::new(100, Kind::EndpointUp) };
        let all = Filter::default();
        assert!(all.takes(&event));
        let takes = |filter: Filter| filter.takes(&event);
        assert!(takes(Filter { kinds: [Kind::EndpointUp].into(), since: 100, ..all.clone() }));
        assert!(!takes(Filter { kinds: [Kind::LinkUp].into(), ..all.clone() }));
        assert!(!takes(Filter { endpoint: Some(EndpointId(8)), ..all.clone() }));
        assert!(!takes(Filter { manager: Some(ManagerId(1)), ..all.clone() }));
        assert!(!takes(Filter { network: Some(NetworkId(2)), ..all.clone() }));
        assert!(!takes(Filter { since: 101, ..all }));
    }
}
