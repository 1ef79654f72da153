//! An entry, as one line of JSON, and the chain that entries make.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use festoon_proto::ManagerId;
use festoon_proto::token::SecretHash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::change::{Author, Who};
use super::super::state::State;
use super::super::{Subject, UnixMs};
use super::Origin;

/// The SHA-256 of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub(super) fn of(text: &str) -> Self {
        Self(SecretHash::of(text.as_bytes()).0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hash {
    type Err = NoHash;

    /// From 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, NoHash> {
        let mut hash = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * hash.len() {
            return Err(NoHash);
        }
        for (byte, digits) in hash.iter_mut().zip(digits.chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| NoHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoHash)?;
        }
        Ok(Self(hash))
    }
}

/// Something else stands where a hash should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 hexadecimal digits")]
pub struct NoHash;

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Head {
    /// How many entries there are: the number of the last, for they begin with 1.
    pub count: u64,
    /// The hash of the last; nothing but zeros before the first.
    pub hash: Hash,
}

impl Head {
    /// The end of the chain before `entry`; none if that is not its last one, or was altered.
    pub fn before(self, entry: &Entry) -> Option<Self> {
        let Link { number, previous, hash } = Link::of(&entry.line).ok()?;
        let is_last = number == self.count && entry.number == number && hash.parse() == Ok(self.hash);
        let count = self.count.checked_sub(1)?;
        if is_last { Some(Self { count, hash: previous.parse().ok()? }) } else { None }
    }
}

/// One entry. Its line is a JSON object whose last member is `hash`: the SHA-256, in hexadecimal, of the line without that
/// member. The one before, `previous`, is the hash of the entry before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number. They begin with 1, and none is left out.
    pub number: u64,
    /// What it says, as one line of JSON.
    pub line: String,
}

impl Entry {
    /// The number and the hash that an unaltered entry says it has.
    pub fn named(&self) -> Option<(u64, Hash)> {
        let link = Link::of(&self.line).ok()?;
        Some((link.number, link.hash.parse().ok()?))
    }
}

/// What an entry is about.
pub(super) struct What {
    pub(super) action: &'static str,
    pub(super) subject: Option<Subject>,
    pub(super) name: Option<String>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    at: String,
    index: u64,
    by: By,
    /// The manager that stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    voucher: Option<Named>,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a RawValue>,
    previous: String,
}

#[derive(Serialize)]
struct Named {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
struct By {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// At the admin socket of a manager: the user of its machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// A session or an API token.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<IpAddr>,
}

impl By {
    fn new(state: &State, author: Author) -> Self {
        let manager = |id| state.manager(id).map(|manager| manager.name.clone());
        let user = |id| state.user(id).map(|user| user.name.to_string());
        let (kind, id, name, credential) = match author.who {
            Who::Cluster => ("cluster", None, None, None),
            Who::Manager(id) => ("manager", Some(id.to_string()), manager(id), None),
            Who::Local { manager: id, .. } => ("local", Some(id.to_string()), manager(id), None),
            Who::User { user: id, session } => ("user", Some(id.to_string()), user(id), Some(session.to_string())),
            Who::ApiToken { token, user: id } => ("user", Some(id.to_string()), user(id), Some(token.to_string())),
            Who::Endpoint(id) => {
                let name = state.endpoint(id).map(|endpoint| endpoint.name.to_string());
                ("endpoint", Some(id.to_string()), name, None)
            }
            Who::Newcomer => ("newcomer", None, None, None),
        };
        let person = match author.who {
            Who::Local { user, .. } => Some(user.to_string()),
            _ => None,
        };
        Self { kind, id, name, person, credential, from: author.from }
    }
}

/// Writes the next entry.
pub(super) fn write(state: &mut State, origin: Origin, what: What) -> Entry {
    let head = state.audited();
    let number = head.count + 1;
    let raw = |text: &Option<String>| text.clone().and_then(|text| RawValue::from_string(text).ok());
    let (before, after) = (raw(&what.before), raw(&what.after));
    let line = Line {
        number,
        at: rfc3339(origin.at),
        index: state.version().0,
        by: By::new(state, origin.by),
        voucher: origin.voucher.map(|id| voucher(state, id)),
        action: what.action,
        subject: what.subject.map(|subject| Named { kind: subject.kind(), id: subject.id(), name: what.name }),
        before: before.as_deref(),
        after: after.as_deref(),
        previous: head.hash.to_string(),
    };
    // It fails only on maps whose keys are no strings, and a line has none.
    let open = serde_json::to_string(&line).unwrap_or_default();
    let hash = Hash::of(&open);
    state.records.audited = Head { count: number, hash };
    Entry { number, line: close(&open, hash) }
}

fn voucher(state: &State, id: ManagerId) -> Named {
    let name = state.manager(id).map(|manager| manager.name.clone());
    Named { kind: "manager", id: Some(id.to_string()), name }
}

/// RFC 3339, to the millisecond.
fn rfc3339(at: UnixMs) -> String {
    let time = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

const HASH: &str = ",\"hash\":\"";
/// What stands behind the hash.
const END: &str = "\"}";

fn close(open: &str, hash: Hash) -> String {
    let body = open.strip_suffix('}').unwrap_or(open);
    format!("{body}{HASH}{hash}{END}")
}

/// A line is not what was written, or not where it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is no entry.
    #[error("line {0} is no entry of an audit log: export it again")]
    NoEntry(usize),
    /// It was altered.
    #[error("entry {0} was altered: its hash is not that of what it says")]
    Altered(u64),
    /// Something is missing before it, or was put in.
    #[error("entry {0} does not follow the one before it: entries were removed, added or put in another order")]
    Broken(u64),
}

#[derive(Deserialize)]
struct Link {
    number: u64,
    previous: String,
    hash: String,
}

impl Link {
    /// What an unaltered line says.
    fn of(line: &str) -> Result<Self, VerifyError> {
        let link: Self = serde_json::from_str(line).map_err(|_| VerifyError::NoEntry(0))?;
        let tail = format!("{HASH}{}{END}", link.hash);
        let body = line.strip_suffix(&tail).ok_or(VerifyError::Altered(link.number))?;
        match Hash::of(&format!("{body}}}")).to_string() == link.hash {
            true => Ok(link),
            false => Err(VerifyError::Altered(link.number)),
        }
    }
}

/// Whether these lines are a whole part of a chain, in order. Returns the number and the hash of the last.
pub fn verify<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Option<(u64, String)>, VerifyError> {
    let mut last: Option<(u64, String)> = None;
    for (at, line) in lines.into_iter().enumerate() {
        let link = Link::of(line).map_err(|error| match error {
            VerifyError::NoEntry(_) => VerifyError::NoEntry(at + 1),
            error => error,
        })?;
        let follows = |(number, hash): &(u64, String)| number + 1 == link.number && *hash == link.previous;
        if !last.as_ref().is_none_or(follows) {
            return Err(VerifyError::Broken(link.number));
        }
        last = Some((link.number, link.hash));
    }
    Ok(last)
}

/// A chain of entries with one action.
#[cfg(test)]
pub(super) fn tests_chain(action: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let mut lines = Vec::new();
    tests_append(&mut lines, action, numbers);
    lines
}

/// Goes on with a chain.
#[cfg(test)]
pub(super) fn tests_append(lines: &mut Vec<String>, action: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let last = lines.last().and_then(|line| Link::of(line).ok());
        let previous = last.map_or_else(|| Hash::default().to_string(), |link| link.hash);
        let open = format!(r#"{{"number":{number},"action":"{action}","previous":"{previous}"}}"#);
        lines.push(close(&open, Hash::of(&open)));
    }
}
