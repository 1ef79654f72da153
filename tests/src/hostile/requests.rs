//! Every position with every request, at every listener that is reached over the network.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, ensure};

use super::bodies::{Body, bodies};
use super::position::{Member, Position};
use super::refusal::{CONSENSUS, is_refusal};
use super::routes::{Listener, Right, Row};
use crate::lab::{Host, tool};
use crate::overlay::Manager;
use crate::tools::ask::{Answer, Conversation, Request, Tls};

const HTTPS_PORT: u16 = 8443;

/// How a body that makes no sense is refused.
const NOT_UNDERSTOOD: [u16; 3] = [400, 415, 422];

/// A manager that is asked.
pub(super) struct Target<'a> {
    pub(super) manager: &'a Manager,
    pub(super) member: Member,
    pub(super) is_witness: bool,
}

impl<'a> Target<'a> {
    pub(super) fn new(manager: &'a Manager, is_witness: bool) -> anyhow::Result<Self> {
        Ok(Self { manager, member: Member::read(manager.data_dir())?, is_witness })
    }
}

/// What all that ask need.
pub(super) struct Attack<'a> {
    pub(super) rows: &'a [Row],
    /// What stands for the parameters of paths.
    pub(super) names: Vec<(&'static str, String)>,
    /// A certificate signing request.
    pub(super) csr: String,
    /// Where they ask from.
    pub(super) from: &'a Host,
}

/// One request.
struct Case {
    what: String,
    path: String,
    /// Whether it is to be answered with more than a refusal.
    may: bool,
    is_junk: bool,
}

/// What came of some cases.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) cases: u64,
    /// Those that were answered otherwise than they are to be.
    pub(super) wrong: Vec<String>,
    /// How often each row was answered with more than a refusal: a path that is wrong would never be.
    pub(super) answered: BTreeMap<(Listener, String, String), u64>,
}

impl Attack<'_> {
    /// Everything that `position` can ask of `target`.
    pub(super) fn run(&self, position: &Position, target: &Target<'_>) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for listener in Listener::HTTPS {
            let mut cases = Vec::new();
            let mut requests = Vec::new();
            for row in self.rows {
                for body in bodies(row, position, &target.member, &self.csr)? {
                    if ends_the_attack(row, position) {
                        continue;
                    }
                    let request = self.request(row, position, body.bytes.clone());
                    let may = may(row, position, (listener, target), &body);
                    let what = format!(
                        "{} at {} ({listener:?}): {} {} with {} body",
                        position.name,
                        target.manager.name(),
                        row.method,
                        request.path,
                        body.what
                    );
                    cases.push((row, Case { what, path: request.path.clone(), may, is_junk: body.is_junk }));
                    requests.push(request);
                }
            }
            let protocol = listener.protocol();
            let tls = Some(Tls { protocol, identity: position.identity.clone() });
            let at = SocketAddr::from((target.manager.host.v4(), HTTPS_PORT));
            let answers = ask(self.from, &Conversation { at, tls, requests })?;
            ensure!(answers.len() == cases.len(), "{} answers to {} requests", answers.len(), cases.len());
            for ((row, case), answer) in cases.iter().zip(&answers) {
                tally.note(row, case, answer);
            }
        }
        Ok(tally)
    }

    fn request(&self, row: &Row, position: &Position, body: Vec<u8>) -> Request {
        let named =
            |text: &str| self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        let path = named(&row.path);
        // Others are not text.
        let body =
            if row.path.starts_with("/api/") { named(&String::from_utf8_lossy(&body)).into_bytes() } else { body };
        Request { method: row.method.to_owned(), path, headers: position.headers.clone(), body }
    }
}

/// An endpoint that leaves can ask no more, and who ends its session neither: what they may end is not tried before the end.
fn ends_the_attack(row: &Row, position: &Position) -> bool {
    match row.path.as_str() {
        "/agent/v1/leave" => position.rights.contains(&Right::Endpoint),
        "/api/v1/session" => row.method == "DELETE" && position.is_logged_in(),
        _ => false,
    }
}

fn may(row: &Row, position: &Position, (listener, target): (Listener, &Target<'_>), body: &Body) -> bool {
    let has_right = row.right == Right::Nothing || position.rights.contains(&row.right);
    let is_there = row.listener == listener && (!target.is_witness || row.is_answered_by_a_witness());
    // Consensus refuses what it does not understand; everybody else says so.
    let is_understood = !(body.is_junk && row.path == CONSENSUS);
    has_right && is_there && is_understood && !position.is_forger
}

impl Tally {
    fn note(&mut self, row: &Row, case: &Case, answer: &Answer) {
        self.cases += 1;
        // That junk is junk is told to everybody, and says nothing else.
        let is_told = case.is_junk && answer.status.is_some_and(|status| NOT_UNDERSTOOD.contains(&status));
        let is_answered = !is_refusal(&case.path, answer) && (case.may || !is_told);
        if is_answered && !case.is_junk && answer.status.is_some_and(|status| row.is_proved_by(status)) {
            self.prove(row);
        }
        // What is not known now says nothing.
        let is_clear = answer.status.is_none_or(|status| status < 500);
        if is_answered != case.may || !is_clear {
            let body: String = String::from_utf8_lossy(&answer.body).chars().take(160).collect();
            self.wrong.push(format!("{}: {:?} {} {body}", case.what, answer.status, answer.kind));
        }
    }

    /// What came of others counts too.
    pub(super) fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.wrong.extend(other.wrong);
        other.answered.into_iter().for_each(|(row, times)| *self.answered.entry(row).or_default() += times);
    }

    /// Somebody was answered there.
    pub(super) fn prove(&mut self, row: &Row) {
        *self.answered.entry((row.listener, row.method.to_owned(), row.path.clone())).or_default() += 1;
    }

    /// Rows that nobody was answered: nothing can be concluded from refusals there.
    pub(super) fn unproved<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let is_proved =
            |row: &&Row| self.answered.contains_key(&(row.listener, row.method.to_owned(), row.path.clone()));
        rows.iter().filter(|row| !is_proved(row)).collect()
    }
}

/// Has `festoon-labtool` ask, on this host.
pub(super) fn ask(from: &Host, conversation: &Conversation) -> anyhow::Result<Vec<Answer>> {
    let input = tempfile::NamedTempFile::new()?;
    fs::write(input.path(), serde_json::to_vec(&[conversation])?)?;
    let args = ["ask".to_owned(), format!("--input={}", input.path().display())];
    let said = from.run(&tool("festoon-labtool")?.to_string_lossy(), &args)?;
    let mut all: Vec<Vec<Answer>> = serde_json::from_str(&said)?;
    all.pop().context("no answers")
}
