//! Endpoints as they are shown.

use festoon_api::{Endpoint, EndpointKind, EndpointState};

use crate::cli::output::{Column, ago_of, bytes, list_of, or_dash, when};
use crate::cli::record::{Names, Record, Row, titled};

impl Row for Endpoint {
    const COLUMNS: &'static [Column] = &[
        Column::always("ENDPOINT"),
        Column::if_room(1, "ID"),
        Column::if_room(3, "KIND"),
        Column::if_room(2, "NETWORK"),
        Column::always("ADDRESS"),
        Column::always("STATE"),
        Column::if_room(4, "HEARD"),
        Column::if_room(5, "TAGS"),
        Column::wide("UNDERLAY"),
        Column::wide("HANDSHAKE"),
        Column::wide("RECEIVED"),
        Column::wide("SENT"),
        Column::wide("GENERATION"),
        Column::wide("EXPIRES"),
    ];
    const EMPTY: &'static str = "There are no endpoints: `festoon-manager tokens add` lets one in.";

    fn row(&self, names: &Names) -> Vec<String> {
        let seen = self.presence.as_ref();
        vec![
            self.name.clone(),
            self.id.to_string(),
            kind(self.kind).to_owned(),
            self.network_name.clone(),
            list_of(&self.addresses),
            self.state(names),
            ago_of(seen.and_then(|seen| seen.heard_ms_ago)),
            list_of(&self.tags),
            or_dash(seen.and_then(|seen| seen.underlay)),
            ago_of(seen.and_then(|seen| seen.last_handshake_ms_ago)),
            or_dash(seen.map(|seen| bytes(seen.rx_bytes))),
            or_dash(seen.map(|seen| bytes(seen.tx_bytes))),
            or_dash(seen.and_then(|seen| seen.generation)),
            or_dash(self.expires.map(|at| when(at, names.now))),
        ]
    }
}

impl Record for Endpoint {
    const KIND: &'static str = "endpoint";
    const LIST: &'static str = "endpoints list";
    const PATH: &'static str = "/endpoints";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn lines(&self, names: &Names) -> Vec<(&'static str, String)> {
        let seen = self.presence.as_ref();
        let route = |route: &festoon_api::Route| {
            format!("{} ({})", route.prefix, if route.approved { "approved" } else { "not approved" })
        };
        vec![
            ("kind", kind(self.kind).to_owned()),
            ("network", titled(&self.network_name, self.network)),
            ("addresses", list_of(&self.addresses)),
            ("state", self.state(names)),
            ("heard", ago_of(seen.and_then(|seen| seen.heard_ms_ago))),
            ("underlay", or_dash(seen.and_then(|seen| seen.underlay))),
            ("handshake", ago_of(seen.and_then(|seen| seen.last_handshake_ms_ago))),
            ("received", or_dash(seen.map(|seen| bytes(seen.rx_bytes)))),
            ("sent", or_dash(seen.map(|seen| bytes(seen.tx_bytes)))),
            ("generation", or_dash(seen.and_then(|seen| seen.generation))),
            ("tags", list_of(&self.tags)),
            ("routes", self.routes.iter().map(route).collect::<Vec<_>>().join(", ")),
            ("public key", self.public_key.to_string()),
            ("key", if self.key_due { "a new one was asked for".to_owned() } else { String::new() }),
            ("ephemeral", if self.ephemeral { "yes".to_owned() } else { String::new() }),
            ("created", format!("{} ({})", self.created, when(self.created, names.now))),
            ("expires", or_dash(self.expires.map(|at| format!("{at} ({})", when(at, names.now))))),
            ("version", self.version.to_string()),
        ]
    }
}

trait State {
    /// Who carries it, or why nobody does.
    fn state(&self, names: &Names) -> String;
}

impl State for Endpoint {
    fn state(&self, names: &Names) -> String {
        match &self.presence {
            _ if !self.enabled => "disabled".to_owned(),
            Some(seen) if seen.state == EndpointState::Up => {
                seen.manager.map_or_else(|| "up".to_owned(), |manager| format!("up on {}", names.manager(manager)))
            }
            Some(_) => "down".to_owned(),
            None => "-".to_owned(),
        }
    }
}

const fn kind(kind: EndpointKind) -> &'static str {
    match kind {
        EndpointKind::Agent => "agent",
        EndpointKind::Client => "client",
    }
}
