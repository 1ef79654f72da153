//! Somebody is removed who asks every manager for everything with all that it was ever given, and holds connections and streams
//! open.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Value, json};

use super::bodies::bodies;
use super::cast::strange_request;
use super::position::{Member, Position};
use super::routes::{Listener, Right, Row, rows};
use crate::clock::unix_ms;
use crate::lab::{Lab, Tool};
use crate::overlay::{Agent, Introduction, Manager, Overlay, Spec, let_pass};
use crate::tools::ask::{Closing, Conversation, Held, Insisted, Request, Tls, Until};

const HTTPS_PORT: u16 = 8443;
/// Before the removal, so that everything was answered.
const CALM: std::time::Duration = std::time::Duration::from_secs(2);
/// Longer than anything that could still meet its bar, and than a request that waits for events.
const AFTERMATH: std::time::Duration = std::time::Duration::from_secs(8);

/// What came of a removal.
#[derive(Debug)]
pub struct Removal {
    /// Who was removed.
    pub who: &'static str,
    /// Seconds from the acknowledgement to the last answer that was more than a refusal; 0 if that was before.
    pub answered_s: f64,
    /// Refusals since.
    pub refused: u64,
    /// Connections and streams that were open.
    pub held: u64,
    /// Those that still are.
    pub open: u64,
    /// Seconds to the last that was closed.
    pub closed_s: f64,
    /// What was answered how often.
    pub seen: String,
}

/// What somebody does meanwhile.
struct Hold {
    who: &'static str,
    held: Vec<Held>,
    repeated: Vec<Conversation>,
}

/// Removes one of everybody.
///
/// # Errors
/// When somebody is refused before it is removed, or is not removed.
pub fn run(lab: &Lab) -> anyhow::Result<Vec<Removal>> {
    let spec = Spec { priorities: &[200, 150, 100], agents: &["a"], ..Spec::default() };
    let overlay = Overlay::start(lab, &spec)?;
    let scene = Scene { lab, overlay: &overlay, csr: strange_request()? };
    Ok(vec![
        scene.endpoint()?,
        scene.manager("manager", false)?,
        scene.manager("witness", true)?,
        scene.api_token()?,
        scene.user()?,
    ])
}

struct Scene<'a> {
    lab: &'a Lab,
    overlay: &'a Overlay<'a>,
    csr: String,
}

impl Scene<'_> {
    fn endpoint(&self) -> anyhow::Result<Removal> {
        let token = self.overlay.first_manager()?.token()?;
        let host = self.overlay.clouds[0].host("leaver")?;
        let mut agent = Agent::join(&host, "leaver", self.lab.dir().join("leaver"), &token)?;
        let former = self.lab.dir().join("former-identity.json");
        fs::copy(agent.state_dir().join("identity.json"), &former)?;
        agent.run(&["rotate-key", "--overlap", "0s"])?;
        // The program of its own would use up what it may ask.
        agent.down()?;
        let now = Position::new("now").may(&[Right::Endpoint]).with_agent(&agent)?;
        let before = Position::new("before").with_agent_files(agent.state_dir(), &former)?;
        let joined = before.clone().joined_with(&token)?;
        let mut hold = self.hold("endpoint", &now, &["/agent/v1/leave"])?;
        hold.repeated.extend(self.hold("endpoint", &before, &[])?.repeated);
        hold.repeated.extend(self.hold("endpoint", &joined, &[])?.repeated);
        self.remove(hold, || self.run(&["endpoints", "remove", "leaver", "--yes"]))
    }

    fn manager(&self, who: &'static str, is_witness: bool) -> anyhow::Result<Removal> {
        let host = self.overlay.clouds[1].host(who)?;
        let me = Introduction { name: who.to_owned(), underlay: host.v4().into(), priority: 1 };
        let kind = if is_witness { "--witness" } else { "--manager" };
        let (dir, token) = (self.lab.dir().join(who), self.run(&["tokens", "add", kind])?);
        let join = if is_witness { Manager::witness } else { Manager::join };
        let manager = join(&host, dir, &me, token.trim())?;
        let rights: &[Right] =
            if is_witness { &[Right::Member, Right::Voter] } else { &[Right::Member, Right::Full, Right::Voter] };
        let position = Position::new(who).may(rights).with_manager(&manager)?;
        let position = position.joined_with(&token)?;
        // That would begin it anew, which it may.
        let hold = self.hold(who, &position, &["/cluster/v1/renew"])?;
        self.remove(hold, || self.run(&["managers", "remove", who, "--yes"]))
    }

    fn api_token(&self) -> anyhow::Result<Removal> {
        let mut admin = self.overlay.first_manager()?.admin();
        let user = json!({"name": "root", "role": "owner", "password": "correct horse battery"});
        let user = text(&admin.api("POST", "/users", &user)?["id"])?;
        let made = admin.api("POST", "/api-tokens", &json!({"name": "program", "user": user, "role": "admin"}))?;
        let (secret, id) = (text(&made["secret"])?, text(&made["api_token"]["id"])?);
        let hold = self.of_the_api("api_token", &Position::new("token").bearing(&secret));
        self.remove(hold, || {
            self.overlay.first_manager()?.admin().api("DELETE", &format!("/api-tokens/{id}"), &Value::Null)?;
            Ok(String::new())
        })
    }

    fn user(&self) -> anyhow::Result<Removal> {
        let first = self.overlay.first_manager()?;
        let mut admin = first.admin();
        let user = json!({"name": "leaver", "role": "admin", "password": "correct horse battery"});
        let id = text(&admin.api("POST", "/users", &user)?["id"])?;
        let host = self.overlay.clouds[0].host("browser")?;
        let session = super::world::Session::begin(&host, first, "leaver")?;
        let position = Position::new("session").with_session(&session.cookie, &session.csrf);
        let hold = self.of_the_api("user", &position);
        self.remove(hold, || {
            self.overlay.first_manager()?.admin().api("DELETE", &format!("/users/{id}"), &Value::Null)?;
            Ok(String::new())
        })
    }

    fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.overlay.first_manager()?.run(args)
    }

    /// Of every manager: everything that agents and managers are asked, and a connection of each kind that is held.
    fn hold(&self, who: &'static str, position: &Position, but: &[&str]) -> anyhow::Result<Hold> {
        let mut hold = Hold { who, held: Vec::new(), repeated: Vec::new() };
        let is_meant = |row: &&Row| row.listener != Listener::Socket && !row.path.starts_with("/api/");
        let rows: Vec<Row> = rows().iter().filter(is_meant).filter(|row| !but.contains(&&*row.path)).cloned().collect();
        for manager in &self.overlay.managers {
            let member = Member::read(manager.data_dir())?;
            for listener in Listener::HTTPS {
                let mut requests = Vec::new();
                for row in rows.iter().filter(|row| row.listener == listener && row.right != Right::Nothing) {
                    let body = bodies(row, position, &member, &self.csr)?.swap_remove(0).bytes;
                    requests.push(request(row.method, &row.path, position, body));
                }
                let conversation = conversation(manager, listener, position, requests);
                hold.held.extend(keep_open(manager, listener, &conversation, position));
                hold.repeated.push(conversation);
            }
        }
        Ok(hold)
    }

    /// Of every manager: the API, and its stream of events.
    fn of_the_api(&self, who: &'static str, position: &Position) -> Hold {
        let mut hold = Hold { who, held: Vec::new(), repeated: Vec::new() };
        let following = position.clone().showing("accept", "text/event-stream");
        for manager in &self.overlay.managers {
            let get = |path: &str, position: &Position| {
                conversation(manager, Listener::Everybody, position, vec![request("GET", path, position, Vec::new())])
            };
            let name = |what: &str| format!("{what} at {}", manager.name());
            let (list, stream) = (get("/api/v1/networks", position), get("/api/v1/events", &following));
            hold.held.push(Held { name: name("idle"), conversation: list.clone(), until: Until::Answer });
            hold.held.push(Held { name: name("events"), conversation: stream, until: Until::Head });
            hold.repeated.push(list);
        }
        hold
    }

    /// Has somebody removed, and looks at what it still gets.
    fn remove(&self, hold: Hold, remove: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<Removal> {
        let Hold { who, held, repeated } = hold;
        let host = self.overlay.clouds[2].host(&format!("{who}-thief"))?;
        let start = |tool: &str, input: &PathBuf| {
            Tool::start(&host, &[tool.to_owned(), format!("--input={}", input.display())])
        };
        let mut holding = start("ask-hold", &self.file(&format!("{who}-held"), &held)?)?;
        holding.wait_for_log("all are open")?;
        let repeating = start("ask-repeat", &self.file(&format!("{who}-repeated"), &repeated)?)?;
        let_pass(CALM);
        let asked = unix_ms();
        remove()?;
        let acknowledged = unix_ms();
        let_pass(AFTERMATH);
        let closings: Vec<Closing> = holding.finish()?;
        let is_early = |closing: &&Closing| closing.closed_unix_ms.is_some_and(|at| at < asked);
        let early = closings.iter().find(is_early);
        anyhow::ensure!(early.is_none(), "it was closed before anybody was removed: {early:?}");
        let insisted: Vec<Insisted> = repeating.finish()?;
        Ok(judge(who, acknowledged, &closings, &insisted))
    }

    fn file(&self, name: &str, content: &impl serde::Serialize) -> anyhow::Result<PathBuf> {
        let path = self.lab.dir().join(name);
        fs::write(&path, serde_json::to_vec(content)?)?;
        Ok(path)
    }
}

fn judge(who: &'static str, acknowledged: u64, closings: &[Closing], insisted: &[Insisted]) -> Removal {
    let since = |unix_ms: Option<u64>| unix_ms.map_or(0.0, |at| at.saturating_sub(acknowledged) as f64 / 1000.0);
    let last = |times: &mut dyn Iterator<Item = Option<u64>>| times.map(since).fold(0.0, f64::max);
    let still: Vec<&str> =
        closings.iter().filter(|closing| closing.closed_unix_ms.is_none()).map(|closing| &*closing.name).collect();
    let mut counts = BTreeMap::<&str, u64>::new();
    insisted.iter().flat_map(|one| &one.seen).for_each(|(what, count)| *counts.entry(what).or_default() += count);
    let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} x {what}")).collect();
    let seen = format!("still open: {still:?}; all answers: {}", counts.join(", "));
    Removal {
        who,
        answered_s: last(&mut insisted.iter().map(|one| one.answered_unix_ms)),
        refused: insisted.iter().map(|one| one.refused).sum(),
        held: closings.len() as u64,
        open: still.len() as u64,
        closed_s: last(&mut closings.iter().map(|closing| closing.closed_unix_ms)),
        seen,
    }
}

fn request(method: &str, path: &str, position: &Position, body: Vec<u8>) -> Request {
    Request { method: method.to_owned(), path: path.to_owned(), headers: position.headers.clone(), body }
}

fn conversation(manager: &Manager, listener: Listener, position: &Position, requests: Vec<Request>) -> Conversation {
    let protocol = listener.protocol();
    let tls = Some(Tls { protocol, identity: position.identity.clone() });
    Conversation { at: SocketAddr::from((manager.host.v4(), HTTPS_PORT)), tls, requests }
}

/// Connections of this position that stay open: one that is idle, and one whose request waits for events.
fn keep_open(manager: &Manager, listener: Listener, all: &Conversation, position: &Position) -> Vec<Held> {
    let of = |what: &str, path: &str, body: Option<&str>, until: Until| {
        let mut request = all.requests.iter().find(|request| request.path == path)?.clone();
        if let Some(body) = body {
            request.body = body.as_bytes().to_vec();
        }
        let name = format!("{what} at {}", manager.name());
        Some(Held { name, conversation: Conversation { requests: vec![request], ..all.clone() }, until })
    };
    let waiting = format!(r#"{{"after": "AQA", "of": {NOBODY}, "waits": true}}"#);
    let is = |right| position.rights.contains(&right);
    let held = match listener {
        Listener::Everybody if is(Right::Endpoint) => vec![of("idle", "/agent/v1/map", None, Until::Answer)],
        Listener::Managers if is(Right::Member) => vec![
            of("idle", "/cluster/v1/audit-head", None, Until::Answer),
            of("events", "/cluster/v1/events", Some(&waiting), Until::Sent),
        ],
        _ => Vec::new(),
    };
    held.into_iter().flatten().collect()
}

/// A manager that tells nothing, so whoever asks for its events waits.
const NOBODY: u16 = 999;

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).context("no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_the_acknowledgement_is_in_time() {
        let closing = |at| Closing { name: "x".to_owned(), closed_unix_ms: at };
        let insisted = |at| Insisted { answered_unix_ms: Some(at), refused: 2, ..Insisted::default() };
        let removal = judge("x", 10_000, &[closing(Some(9_000)), closing(None)], &[insisted(9_990), insisted(10_500)]);
        assert_eq!((removal.answered_s, removal.refused, removal.held), (0.5, 4, 2));
        assert_eq!((removal.open, removal.closed_s), (1, 0.0));
    }
}
