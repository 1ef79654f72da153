//! Faults, carried out.

use std::time::Duration;

use festoon_dataplane::Node;
use festoon_endpoint::node as endpoint;
use festoon_manager::node as manager;
use festoon_proto::{EndpointId, ManagerId};

use super::host::{Input, Power, Program};
use super::{Event, NodeId, World, endpoint_address};
use crate::fault::{Fault, Ways};
use crate::observation::Observation;

/// The clock of managers when the world begins, in milliseconds.
pub(super) const EPOCH: u64 = 1_000_000_000;

impl World {
    /// Lets `fault` happen after `delay`.
    pub fn schedule_fault(&mut self, delay: Duration, fault: Fault) {
        self.schedule(delay, Event::Fault(fault));
    }

    /// Lets `fault` happen now. What does not apply, as the restart of a manager that runs, does nothing.
    pub fn apply(&mut self, fault: Fault) {
        match fault {
            Fault::Cut(a, b, ways) => self.cut(a, b, ways),
            Fault::Mend(a, b, ways) => self.mend(a, b, ways),
            Fault::Kill { manager, icmp } => self.set_power(manager, Power::Off { icmp }),
            Fault::Restart(manager) => self.restart(manager),
            Fault::Freeze(manager) => self.freeze(manager),
            Fault::Thaw(manager) => self.thaw(manager),
            Fault::Drain(manager) => self.set_draining(manager, true),
            Fault::Undrain(manager) => self.set_draining(manager, false),
            Fault::Roam { endpoint, told } => self.roam(endpoint, told),
            Fault::Leave(endpoint) => self.leave(endpoint),
            Fault::NewKey(node) => self.new_key(node),
            Fault::ForgetKey(node) => self.forget_key(node),
        }
        self.last_fault = self.now;
        if fault.is_damage() {
            self.last_damage = self.now;
        }
        self.observe(Observation::Fault(fault));
    }

    /// Puts everything right: paths are mended, dead managers start, frozen ones go on, draining ones serve.
    pub fn heal(&mut self) {
        self.underlay.mend_all();
        for manager in self.cluster.managers().collect::<Vec<_>>() {
            self.apply(Fault::Thaw(manager));
            self.apply(Fault::Restart(manager));
            self.apply(Fault::Undrain(manager));
        }
    }

    fn cut(&mut self, a: NodeId, b: NodeId, ways: Ways) {
        self.underlay.cut(a, b);
        if ways == Ways::Both {
            self.underlay.cut(b, a);
        }
    }

    fn mend(&mut self, a: NodeId, b: NodeId, ways: Ways) {
        self.underlay.mend(a, b);
        if ways == Ways::Both {
            self.underlay.mend(b, a);
        }
    }

    fn power(&self, manager: ManagerId) -> Option<Power> {
        self.hosts.get(&NodeId::Manager(manager)).map(|host| host.power)
    }

    fn set_power(&mut self, manager: ManagerId, power: Power) {
        if let Some(host) = self.hosts.get_mut(&NodeId::Manager(manager)) {
            host.power = power;
            host.inbox.clear();
        }
    }

    fn restart(&mut self, manager: ManagerId) {
        let Some(Power::Off { .. }) = self.power(manager) else { return };
        let since = self.now.as_millis() as u64;
        // Now and then its clock has been set back: it differs from start to start, but does not grow.
        let sequence = if self.random.chance(250) { EPOCH - since } else { EPOCH + since };
        let program = self.new_manager(manager, sequence);
        let Some(host) = self.hosts.get_mut(&NodeId::Manager(manager)) else { return };
        (host.program, host.power, host.due) = (program, Power::On, Some(self.now));
    }

    fn freeze(&mut self, manager: ManagerId) {
        if self.power(manager) == Some(Power::On) {
            self.set_power(manager, Power::Frozen);
        }
    }

    /// All that waited comes at once, before or after the timer.
    fn thaw(&mut self, manager: ManagerId) {
        let id = NodeId::Manager(manager);
        let timer_first = self.random.chance(500);
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.power == Power::Frozen) else { return };
        host.power = Power::On;
        let mut inputs = std::mem::take(&mut host.inbox);
        inputs.insert(if timer_first { 0 } else { inputs.len() }, Input::Timeout);
        for input in inputs {
            self.feed(id, input);
        }
    }

    fn set_draining(&mut self, manager: ManagerId, draining: bool) {
        let instant = self.start + self.now;
        let id = NodeId::Manager(manager);
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.power == Power::On) else { return };
        if let Program::Manager(node) = &mut host.program {
            node.handle_command(
                instant,
                if draining { manager::Command::Drain(1) } else { manager::Command::SetDraining(false) },
                &mut self.effects,
            );
            self.carry_out(id, None);
        }
    }

    fn leave(&mut self, endpoint: EndpointId) {
        let (instant, id) = (self.start + self.now, NodeId::Endpoint(endpoint));
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if let Program::Endpoint(node) = &mut host.program {
            node.handle_command(instant, endpoint::Command::Detach, &mut self.effects);
            self.carry_out(id, None);
        }
    }

    fn roam(&mut self, endpoint: EndpointId, told: bool) {
        let instant = self.start + self.now;
        let id = NodeId::Endpoint(endpoint);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        self.addresses.remove(&host.address);
        let roamed = (1..=u8::MAX).find(|&roamed| endpoint_address(endpoint, roamed) != host.address).unwrap_or(1);
        host.address = endpoint_address(endpoint, roamed);
        self.addresses.insert(host.address, id);
        if let (Program::Endpoint(node), true) = (&mut host.program, told) {
            node.handle_command(instant, endpoint::Command::UnderlayChanged, &mut self.effects);
            self.carry_out(id, None);
        }
    }
}
