//! New keys, and how nodes hear of them.

use std::time::Duration;

use festoon_dataplane::Node;
use festoon_endpoint::node as endpoint;
use festoon_manager::node as manager;

use super::host::{Power, Program};
use super::{Event, NodeId, World};

/// By then all have heard, each at another time and in any order.
const HEARD: Duration = Duration::from_millis(300);
/// How long a frozen node is waited for.
const AGAIN: Duration = Duration::from_millis(100);

impl World {
    pub(super) fn new_key(&mut self, node: NodeId) {
        self.cluster.new_key(node);
        self.spread_news();
    }

    pub(super) fn forget_key(&mut self, node: NodeId) {
        self.cluster.forget_key(node);
        self.spread_news();
    }

    fn spread_news(&mut self) {
        for id in self.nodes() {
            let delay = self.random.duration(Duration::ZERO..HEARD);
            self.schedule(delay, Event::News(id));
        }
    }

    pub(super) fn hear_news(&mut self, id: NodeId) {
        let instant = self.start + self.now;
        let (key, former) = self.cluster.keys(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        match host.power {
            Power::On => {}
            Power::Frozen => return self.schedule(AGAIN, Event::News(id)),
            // It reads the news when it starts.
            Power::Off { .. } => return,
        }
        let effects = &mut self.effects;
        match (&mut host.program, id) {
            (Program::Manager(node), NodeId::Manager(id)) => {
                let map = Box::new(self.cluster.manager_map(id));
                node.handle_command(instant, manager::Command::SetKeys(manager::NodeKeys { key, former }), effects);
                node.handle_command(instant, manager::Command::SetMap(map), effects);
            }
            (Program::Endpoint(node), NodeId::Endpoint(id)) => {
                let Some(agent) = self.cluster.agent(id) else { return };
                let map = self.cluster.endpoint_map(agent);
                node.handle_command(instant, endpoint::Command::SetKeys(endpoint::NodeKeys { key, former }), effects);
                node.handle_command(instant, endpoint::Command::SetMap(map), effects);
            }
            _ => {}
        }
        self.carry_out(id, None);
    }
}
