//! Users and their sessions as they are shown.

use festoon_api::{Role, Session as WebSession, User};

use crate::cli::output::{Column, second, when};
use crate::cli::record::{Names, Record, Row};

/// As people write it.
pub(in crate::cli) const fn role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "-" }.to_owned()
}

impl Row for User {
    const COLUMNS: &'static [Column] = &[
        Column::always("USER"),
        Column::if_room(1, "ID"),
        Column::always("ROLE"),
        Column::always("NETWORKS"),
        Column::always("ENABLED"),
        Column::if_room(3, "PASSWORD"),
        Column::if_room(2, "TOTP"),
        Column::if_room(4, "CREATED"),
        Column::wide("IDENTITY"),
    ];
    const EMPTY: &'static str = "There are no users you may see: `festoon-manager users add` makes one.";

    fn row(&self, names: &Names) -> Vec<String> {
        let identity = self.identity.as_ref().map(|identity| format!("{} at {}", identity.subject, identity.issuer));
        vec![
            self.name.clone(),
            self.id.to_string(),
            role(self.role).to_owned(),
            names.scope(self.networks.as_ref()),
            if self.enabled { "yes" } else { "no" }.to_owned(),
            yes(self.password),
            yes(self.totp),
            when(self.created, names.now),
            identity.unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

impl Record for User {
    const KIND: &'static str = "user";
    const LIST: &'static str = "users list";
    const PATH: &'static str = "/users";

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
        let codes = self.recovery_codes.map(|left| format!(", {left} recovery codes left")).unwrap_or_default();
        vec![
            ("role", role(self.role).to_owned()),
            ("networks", names.scope(self.networks.as_ref())),
            ("enabled", if self.enabled { "yes" } else { "no" }.to_owned()),
            ("password", yes(self.password)),
            ("totp", if self.totp { format!("yes{codes}") } else { String::new() }),
            (
                "identity",
                self.identity.as_ref().map(|it| format!("{} at {}", it.subject, it.issuer)).unwrap_or_default(),
            ),
            ("created", format!("{} ({})", self.created, when(self.created, names.now))),
            ("version", self.version.to_string()),
        ]
    }
}

impl Row for WebSession {
    const COLUMNS: &'static [Column] = &[
        Column::always("SESSION"),
        Column::always("SINCE"),
        Column::always("ENDS"),
        Column::always("FROM"),
        Column::if_room(1, "WITH"),
        Column::if_room(2, "THIS ONE"),
    ];
    const EMPTY: &'static str = "It is logged in nowhere.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.id.to_string(),
            second(self.created),
            when(self.expires, names.now),
            self.from.to_string(),
            self.agent.clone(),
            yes(self.current),
        ]
    }
}
