//! An overlay in which everybody has somebody that was: removed, disabled, fenced off, expired.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Value, json};

use super::position::Member;
use crate::lab::{Host, Lab};
use crate::overlay::{Agent, Introduction, Manager, Overlay, Spec, wait_until_slowly};

/// How long anything may take that changes who is in the cluster.
pub(super) const SOON: std::time::Duration = std::time::Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery";

/// The overlay, and those who have no place in it any more.
pub(super) struct World<'a> {
    /// Two full managers, and an agent that runs.
    pub(super) overlay: Overlay<'a>,
    pub(super) witness: Manager,
    pub(super) fenced: Manager,
    pub(super) removed: Manager,
    pub(super) removed_witness: Manager,
    /// Agents that do not run.
    pub(super) guest: Agent,
    pub(super) gone: Agent,
    pub(super) disabled: Agent,
    pub(super) copied: Agent,
    /// What `copied` was before it rotated its keys.
    pub(super) former_identity: PathBuf,
    pub(super) tokens: Tokens,
    pub(super) accounts: Accounts,
    /// Where the attacker is.
    pub(super) attacker: Host,
}

/// Join tokens.
pub(super) struct Tokens {
    pub(super) spent: String,
    pub(super) spent_for_manager: String,
    pub(super) expired: String,
    pub(super) removed: String,
    /// Those that the removed came in with.
    pub(super) of_removed: String,
    pub(super) of_gone: String,
}

/// What users and programs show.
pub(super) struct Accounts {
    pub(super) owner: String,
    pub(super) viewer: String,
    pub(super) foreign: String,
    pub(super) expired: String,
    pub(super) removed: String,
    pub(super) session: Session,
    pub(super) disabled_session: Session,
    pub(super) ended_session: Session,
}

/// What a browser shows.
pub(super) struct Session {
    pub(super) cookie: String,
    pub(super) csrf: String,
}

impl<'a> World<'a> {
    /// Builds it.
    pub(super) fn build(lab: &'a Lab) -> anyhow::Result<Self> {
        let overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], agents: &["a"], ..Spec::default() })?;
        let first = overlay.first_manager()?;
        let spent_for_manager = first.run(&["tokens", "add", "--manager"])?;
        let mut fenced = join(lab, &overlay, "m3", &spent_for_manager)?;
        let of_removed = manager_token(first)?;
        let removed = join(lab, &overlay, "m4", &of_removed)?;
        let mut witness = join_witness(lab, &overlay, "w1")?;
        let removed_witness = join_witness(lab, &overlay, "w2")?;
        let mut overlay = overlay;
        overlay.managers[0].run(&["managers", "remove", "m4", "--yes"])?;
        overlay.managers[0].run(&["managers", "remove", "w2", "--yes"])?;
        wait_voters(&overlay.managers[0], 4)?;
        leave_behind(&mut overlay, &mut witness, &mut fenced)?;
        wait_voters(&overlay.managers[0], 3)?;
        wait_carried(&overlay)?;
        let (spent, guest) = stopped_agent(lab, &overlay, "guest")?;
        let (of_gone, gone) = stopped_agent(lab, &overlay, "gone")?;
        let (_, disabled) = stopped_agent(lab, &overlay, "disabled")?;
        let (former_identity, copied) = copied_agent(lab, &overlay)?;
        let first = overlay.first_manager()?;
        first.run(&["endpoints", "remove", "gone", "--yes"])?;
        first.run(&["endpoints", "disable", "disabled", "--yes"])?;
        let tokens = Tokens { of_removed, of_gone, ..Tokens::make(first, spent, spent_for_manager)? };
        let attacker = overlay.clouds[1].host("attacker")?;
        let accounts = Accounts::make(&overlay, &attacker)?;
        Ok(Self {
            overlay,
            witness,
            fenced,
            removed,
            removed_witness,
            guest,
            gone,
            disabled,
            copied,
            former_identity,
            tokens,
            accounts,
            attacker,
        })
    }
}

fn manager_token(first: &Manager) -> anyhow::Result<String> {
    first.run(&["tokens", "add", "--manager"])
}

fn introduction(name: &str, host: &Host) -> Introduction {
    Introduction { name: name.to_owned(), underlay: host.v4().into(), priority: 50 }
}

fn join(lab: &Lab, overlay: &Overlay<'_>, name: &str, token: &str) -> anyhow::Result<Manager> {
    let host = overlay.clouds[0].host(name)?;
    Manager::join(&host, lab.dir().join(name), &introduction(name, &host), token.trim())
}

fn join_witness(lab: &Lab, overlay: &Overlay<'_>, name: &str) -> anyhow::Result<Manager> {
    let host = overlay.clouds[1].host(name)?;
    let token = overlay.first_manager()?.run(&["tokens", "add", "--witness"])?;
    Manager::witness(&host, lab.dir().join(name), &introduction(name, &host), token.trim())
}

/// The cluster goes on without the fenced manager, in a later epoch. The others begin anew in that.
fn leave_behind(overlay: &mut Overlay<'_>, witness: &mut Manager, fenced: &mut Manager) -> anyhow::Result<()> {
    fenced.program()?.kill()?;
    witness.program()?.kill()?;
    overlay.managers[1].program()?.kill()?;
    wait_until_slowly(SOON, "the quorum is lost", || Ok(overlay.managers[0].run(&["promote", "--yes"]).is_ok()))?;
    overlay.managers[1].start()?;
    witness.start_witness()?;
    let epoch = Member::read(overlay.managers[0].data_dir())?.epoch;
    for manager in [&overlay.managers[1], &*witness] {
        wait_until_slowly(SOON, "it is fenced off", || Ok(manager.run(&["rejoin", "--yes"]).is_ok()))?;
        wait_until_slowly(SOON, "it is in the epoch of now", || {
            Ok(Member::read(manager.data_dir())?.epoch == epoch && manager.status().is_ok())
        })?;
    }
    Ok(())
}

/// Waits until so many managers vote, of those that are heard.
fn wait_voters(manager: &Manager, count: usize) -> anyhow::Result<()> {
    wait_until_slowly(SOON, &format!("{count} managers vote"), || {
        let members = manager.status()?.registry.members;
        Ok(members.iter().filter(|member| member.votes && member.is_heard).count() == count)
    })
}

/// Waits until the agent is with the manager that is preferred, and could go to the other: then it stays. The overlay has one more
/// manager, which is down for good.
pub(super) fn wait_carried(overlay: &Overlay<'_>) -> anyhow::Result<()> {
    let agent = overlay.agents.first().context("no agent")?;
    let preferred = overlay.first_manager()?.id;
    wait_until_slowly(2 * SOON, "the agent is with the preferred manager", || {
        let status = agent.status()?;
        let is_usable =
            |manager: &Manager| status.managers.iter().any(|uplink| uplink.id == manager.id && uplink.is_usable());
        Ok(status.active == Some(preferred) && overlay.managers.iter().all(is_usable))
    })
}

/// An agent that joined, and was stopped; with its token.
fn stopped_agent(lab: &Lab, overlay: &Overlay<'_>, name: &str) -> anyhow::Result<(String, Agent)> {
    let host = overlay.clouds[0].host(name)?;
    let token = overlay.first_manager()?.token()?;
    let mut agent = Agent::join(&host, name, lab.dir().join(name), &token)?;
    agent.down()?;
    Ok((token, agent))
}

/// An agent whose keys somebody copied before it rotated them.
fn copied_agent(lab: &Lab, overlay: &Overlay<'_>) -> anyhow::Result<(PathBuf, Agent)> {
    let host = overlay.clouds[0].host("copied")?;
    let token = overlay.first_manager()?.token()?;
    let mut agent = Agent::join(&host, "copied", lab.dir().join("copied"), &token)?;
    let copy = lab.dir().join("copied-identity.json");
    fs::copy(agent.state_dir().join("identity.json"), &copy)?;
    agent.run(&["rotate-key", "--overlap", "0s"])?;
    agent.down()?;
    Ok((copy, agent))
}

impl Tokens {
    fn make(first: &Manager, spent: String, spent_for_manager: String) -> anyhow::Result<Self> {
        let removed = first.token()?;
        let expired = first.run(&["tokens", "add", "--expires", "1s"])?;
        let token: festoon_proto::token::JoinToken = removed.parse()?;
        let id = festoon_proto::JoinTokenId::of(&token.secret.hash()).to_string();
        first.run(&["tokens", "remove", &id, "--yes"])?;
        let (of_removed, of_gone) = (String::new(), String::new());
        Ok(Self { spent, spent_for_manager, expired, removed, of_removed, of_gone })
    }
}

impl Accounts {
    fn make(overlay: &Overlay<'_>, from: &Host) -> anyhow::Result<Self> {
        let first = overlay.first_manager()?;
        let mut admin = first.admin();
        let mut user = |name: &str, role: &str| {
            let wanted = json!({"name": name, "role": role, "password": PASSWORD});
            let made = admin.api("POST", "/users", &wanted)?;
            made["id"].as_str().map(str::to_owned).context("a user without an id")
        };
        let root = user("root", "owner")?;
        user("bystander", "viewer")?;
        user("viewer", "viewer")?;
        let disabled = user("disabled", "owner")?;
        user("leaver", "owner")?;
        let second = admin.api("POST", "/networks", &json!({"name": "second", "prefixes": ["10.2.0.0/24"]}))?;
        let mut token = |more: Value| {
            let mut wanted = json!({"name": "program", "user": root});
            let all = wanted.as_object_mut().context("an object")?;
            all.extend(more.as_object().cloned().unwrap_or_default());
            let made = admin.api("POST", "/api-tokens", &wanted)?;
            let text = |value: &Value| value.as_str().map(str::to_owned).context("a token without it");
            anyhow::Ok((text(&made["secret"])?, text(&made["api_token"]["id"])?))
        };
        let (owner, _) = token(json!({"role": "owner", "sensitive": true}))?;
        let (viewer, _) = token(json!({"role": "viewer"}))?;
        let (foreign, _) = token(json!({"role": "viewer", "networks": [second["id"]]}))?;
        let (expired, _) = token(json!({"role": "owner", "expires_in_s": 1, "sensitive": true}))?;
        let (removed, id) = token(json!({"role": "owner", "sensitive": true}))?;
        admin.api("DELETE", &format!("/api-tokens/{id}"), &Value::Null)?;
        let log_in = |name: &str| Session::begin(from, first, name);
        let (session, disabled_session, ended_session) = (log_in("viewer")?, log_in("disabled")?, log_in("leaver")?);
        admin.api("PATCH", &format!("/users/{disabled}"), &json!({"enabled": false}))?;
        ended_session.end(from, first)?;
        Ok(Self { owner, viewer, foreign, expired, removed, session, disabled_session, ended_session })
    }
}

impl Session {
    /// Logs in, as a browser does.
    pub(super) fn begin(from: &Host, manager: &Manager, name: &str) -> anyhow::Result<Self> {
        let body = json!({"name": name, "password": PASSWORD}).to_string();
        let url = format!("https://{}:8443/api/v1/session", manager.host.v4());
        let args = [
            "--silent",
            "--insecure",
            "--include",
            "--header",
            "content-type: application/json",
            "--data",
            &body,
            &url,
        ];
        let said = from.run("curl", &args)?;
        let (head, body) = said.split_once("\r\n\r\n").context("no answer")?;
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = cookie.and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.with_context(|| format!("nobody is logged in: {said}"))?;
        let answer: Value = serde_json::from_str(body)?;
        let csrf = answer["csrf_token"].as_str().context("no CSRF token")?;
        Ok(Self { cookie: cookie.to_owned(), csrf: csrf.to_owned() })
    }

    fn end(&self, from: &Host, manager: &Manager) -> anyhow::Result<()> {
        let url = format!("https://{}:8443/api/v1/session", manager.host.v4());
        let [cookie, csrf] = [format!("cookie: {}", self.cookie), format!("x-festoon-csrf: {}", self.csrf)];
        let args =
            ["--silent", "--insecure", "--fail", "--request", "DELETE", "--header", &cookie, "--header", &csrf, &url];
        from.run("curl", &args).map(drop)
    }
}
