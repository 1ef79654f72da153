//! What a change of the registry changes in the map of a manager.

use festoon_proto::ManagerId;
use festoon_proto::map::{Changes, ManagerMapDelta, Timing};

use super::{endpoint_info, manager_info, network_info};
use crate::registry::{Difference, State};

/// The way from the map of `manager` in one state to that in another, whatever happened in between; `None` if the other
/// has no such manager. Costs little if the states come from one another and little happened.
pub fn manager_delta(from: &State, to: &State, manager: ManagerId) -> Option<ManagerMapDelta> {
    to.manager(manager).filter(|manager| manager.is_full())?;
    // At most nine, so they are compared one by one.
    let managers_are_the_same = from.full_managers().map(manager_info).eq(to.full_managers().map(manager_info));
    Some(ManagerMapDelta {
        base: from.version(),
        version: to.version(),
        manager,
        networks: changes(from.network_differences(to), |network| network.id, |network| Some(network_info(network))),
        endpoints: changes(from.endpoint_differences(to), |endpoint| endpoint.id, endpoint_info),
        managers: (!managers_are_the_same).then(|| to.full_managers().map(manager_info).collect()),
        managers_changed: to.managers_changed(),
        timing: Timing::default(),
    })
}

/// The changes of what is compiled of the records that differ. Some differ in nothing that a node knows of, and of some a
/// node knows nothing at all.
fn changes<'a, Id, Record: 'a, Info: PartialEq>(
    differences: impl Iterator<Item = Difference<'a, Id, Record>>,
    id: impl Fn(&Record) -> Id,
    compile: impl Fn(&Record) -> Option<Info>,
) -> Changes<Id, Info> {
    let mut changes = Changes::default();
    for difference in differences {
        match difference {
            Difference::Added(record) => changes.put.extend(compile(record)),
            Difference::Changed { from, to } => match (compile(from), compile(to)) {
                (Some(_), None) => changes.removed.push(id(to)),
                (before, after) if before != after => changes.put.extend(after),
                _ => {}
            },
            Difference::Removed(id) => changes.removed.push(id),
        }
    }
    changes
}
