//! What differs between two states. States that come from one another share most of their structure, and what they share
//! is passed over: the cost grows with the difference.

use std::sync::Arc;

use festoon_proto::{EndpointId, NetworkId};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::record::{Endpoint, Network};
use super::state::State;

/// A record that is not the same in two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference<'a, Id, Record> {
    /// Only the later state has it.
    Added(&'a Record),
    /// Both have it.
    Changed {
        /// As the earlier has it.
        from: &'a Record,
        /// As the later has it.
        to: &'a Record,
    },
    /// Only the earlier state has it.
    Removed(Id),
}

impl State {
    /// What became of the networks from here to `later`, by id.
    pub fn network_differences<'a>(
        &'a self,
        later: &'a Self,
    ) -> impl Iterator<Item = Difference<'a, NetworkId, Network>> {
        differences(&self.records.networks, &later.records.networks)
    }

    /// What became of the endpoints from here to `later`, by id.
    pub fn endpoint_differences<'a>(
        &'a self,
        later: &'a Self,
    ) -> impl Iterator<Item = Difference<'a, EndpointId, Endpoint>> {
        differences(&self.records.endpoints, &later.records.endpoints)
    }
}

fn differences<'a, Id: Ord + Copy, Record: Eq>(
    from: &'a OrdMap<Id, Arc<Record>>,
    to: &'a OrdMap<Id, Arc<Record>>,
) -> impl Iterator<Item = Difference<'a, Id, Record>> {
    from.diff(to).map(|item| match item {
        DiffItem::Add(_, record) => Difference::Added(&**record),
        DiffItem::Update { old: (_, from), new: (_, to) } => Difference::Changed { from: &**from, to: &**to },
        DiffItem::Remove(&id, _) => Difference::Removed(id),
    })
}
