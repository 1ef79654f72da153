//! Ends of the chain that somebody keeps outside of the cluster. Whoever can write the audit log can write another chain that is
//! whole by itself; it does not fit what was kept elsewhere before.

use std::collections::BTreeSet;

use serde_json::Value;

use super::entry::{Entry, Hash, VerifyError, verify};

/// The end of the chain at some time, as it was kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anchor {
    /// The number of the last entry.
    pub number: u64,
    /// The epoch of the registry; 0 if that was not kept.
    pub epoch: u32,
    /// The hash of that entry.
    pub hash: Hash,
}

/// An audit log does not fit what was kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// It is no whole chain.
    #[error(transparent)]
    Chain(#[from] VerifyError),
    /// It has no entries.
    #[error("there are no entries in the audit log")]
    Empty,
    /// There are no heads.
    #[error(
        "there are no heads to check the audit log against: expected events of the kind audit.head as JSON, or log lines that contain `audit head`"
    )]
    NoAnchors,
    /// Another entry is where a head is.
    #[error(
        "entry {number} does not match: its hash is {found}, but the kept head of epoch {epoch} has {kept}. {}", since(.fits.as_ref())
    )]
    Other {
        /// The number of the entry.
        number: u64,
        /// The epoch of the head.
        epoch: u32,
        /// The hash that the audit log has.
        found: Hash,
        /// The hash that was kept.
        kept: Hash,
        /// The last entry before it that fits.
        fits: Option<u64>,
    },
    /// The audit log ends before a head.
    #[error("entry {first} is missing: the audit log ends before it, although there is a kept head of entry {number}")]
    Missing {
        /// The first that is missing.
        first: u64,
        /// The number of the head.
        number: u64,
    },
    /// All heads are older than the audit log.
    #[error("all kept heads are older than the first entry, {0}: export older entries too")]
    Older(u64),
}

fn since(fits: Option<&u64>) -> String {
    fits.map_or_else(
        || "No earlier head matches, so any entry up to this one may have been replaced".to_owned(),
        |fits| format!("Entries up to {fits} match, so entries after that one were replaced"),
    )
}

/// How an audit log fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The number of the last entry.
    pub last: u64,
    /// Heads that fit.
    pub fitting: usize,
    /// Heads of entries before the first, which say nothing.
    pub older: usize,
    /// The last entry that a head vouches for.
    pub anchored: u64,
}

/// Whether these lines are a whole chain, and fit all heads that were kept elsewhere. Names the first entry that does not.
pub fn verify_against<'a>(
    lines: impl IntoIterator<Item = &'a str> + Clone,
    anchors: &BTreeSet<Anchor>,
) -> Result<Fit, AnchorError> {
    let Some((last, _)) = verify(lines.clone())? else { return Err(AnchorError::Empty) };
    let mut left = anchors.iter().peekable();
    let (mut fitting, mut older, mut anchored, mut first) = (0, 0, None, None);
    for line in lines {
        let (number, found) = Entry { number: 0, line: line.to_owned() }.named().ok_or(VerifyError::NoEntry(1))?;
        let first = *first.get_or_insert(number);
        while let Some(anchor) = left.next_if(|anchor| anchor.number <= number) {
            if anchor.number < first {
                older += 1;
            } else if anchor.hash == found {
                fitting += 1;
                anchored = Some(number);
            } else {
                let Anchor { epoch, hash: kept, .. } = *anchor;
                return Err(AnchorError::Other { number, epoch, found, kept, fits: anchored });
            }
        }
    }
    if let Some(anchor) = left.next() {
        return Err(AnchorError::Missing { first: last + 1, number: anchor.number });
    }
    match anchored {
        Some(anchored) => Ok(Fit { last, fitting, older, anchored }),
        None if older > 0 => Err(AnchorError::Older(first.unwrap_or_default())),
        None => Err(AnchorError::NoAnchors),
    }
}

/// All heads in a text: events of the kind `audit.head` in JSON, entries of an earlier export, and lines of a manager's log, in any
/// mixture. What is none is left out.
pub fn anchors_in(text: &str) -> BTreeSet<Anchor> {
    let mut found = BTreeSet::new();
    match serde_json::from_str::<Value>(text) {
        Ok(value) => collect(&value, &mut found),
        Err(_) => text.lines().for_each(|line| match serde_json::from_str::<Value>(line) {
            Ok(value) => collect(&value, &mut found),
            Err(_) => found.extend(of_log_line(line)),
        }),
    }
    found
}

fn collect(value: &Value, found: &mut BTreeSet<Anchor>) {
    match value {
        Value::Object(members) => match of_members(value) {
            Some(anchor) => drop(found.insert(anchor)),
            None => members.values().for_each(|value| collect(value, found)),
        },
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::String(text) => found.extend(of_log_line(text)),
        _ => {}
    }
}

fn of_members(object: &Value) -> Option<Anchor> {
    let epoch = object.get("epoch").and_then(Value::as_u64).and_then(|epoch| u32::try_from(epoch).ok());
    let hash = object.get("hash")?.as_str()?.parse().ok()?;
    Some(Anchor { number: object.get("number")?.as_u64()?, epoch: epoch.unwrap_or_default(), hash })
}

/// As managers log it: `audit head number=12 epoch=1 hash=...`.
fn of_log_line(line: &str) -> Option<Anchor> {
    let (_, rest) = line.split_once("audit head ")?;
    let value = |name: &str| {
        rest.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .map(|word| word.trim_matches('"'))
    };
    Some(Anchor {
        number: value("number")?.parse().ok()?,
        epoch: value("epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default(),
        hash: value("hash")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests_chain as chain;
    use super::*;

    fn anchor(lines: &[String], number: u64) -> Anchor {
        let (at, hash) = Entry { number, line: lines[number as usize - 1].clone() }.named().unwrap();
        assert_eq!(at, number);
        Anchor { number, epoch: 1, hash }
    }

    fn against(lines: &[String], anchors: &[Anchor]) -> Result<Fit, AnchorError> {
        verify_against(lines.iter().map(String::as_str), &anchors.iter().copied().collect())
    }

    #[test]
    fn a_log_that_was_written_anew_does_not_fit_what_was_kept_elsewhere() {
        let (true_log, forged) = (chain("endpoint.add", 1..=10), chain("endpoint.add", 1..=4));
        let heads: Vec<_> = [2, 4, 7, 10].map(|number| anchor(&true_log, number)).into();
        assert_eq!(against(&true_log, &heads), Ok(Fit { last: 10, fitting: 4, older: 0, anchored: 10 }));
        assert_eq!(against(&forged, &heads), Err(AnchorError::Missing { first: 5, number: 7 }));
        // Another entry from the fifth on, and all that follow are chained anew: whole by itself.
        let mut forged = forged;
        super::super::entry::tests_append(&mut forged, "user.log-in", 5..=10);
        assert!(verify(forged.iter().map(String::as_str)).is_ok());
        let error = against(&forged, &heads).unwrap_err();
        let AnchorError::Other { number: 7, fits: Some(4), .. } = error else { panic!("{error}") };
        assert!(error.to_string().contains("entry 7 does not match"), "{error}");
    }

    #[test]
    fn heads_from_before_an_export_say_nothing_of_it() {
        let log = chain("endpoint.add", 1..=10);
        let fit = against(&log[5..], &[anchor(&log, 2), anchor(&log, 8)]);
        assert_eq!(fit, Ok(Fit { last: 10, fitting: 1, older: 1, anchored: 8 }));
        assert_eq!(against(&log[5..], &[anchor(&log, 2)]), Err(AnchorError::Older(6)));
        assert_eq!(against(&log, &[]), Err(AnchorError::NoAnchors));
        assert_eq!(against(&[], &[anchor(&log, 2)]), Err(AnchorError::Empty));
    }

    #[test]
    fn heads_are_found_in_events_logs_and_exports() {
        let log = chain("endpoint.add", 1..=3);
        let [two, three] = [2, 3].map(|number| anchor(&log, number));
        let event = |head: &Anchor| {
            format!(
                r#"{{"kind":"audit.head","details":{{"number":{},"epoch":1,"hash":"{}"}}}}"#,
                head.number, head.hash
            )
        };
        let page = format!(r#"{{"items":[{},{}],"next":"x"}}"#, event(&two), event(&three));
        assert_eq!(anchors_in(&page), [two, three].into());
        let journal = format!("2026 INFO festoon_manager: audit head number=2 epoch=1 hash={}\nother line", two.hash);
        let text = format!("{journal}\n{{\"MESSAGE\":\"audit head number=3 epoch=1 hash={}\"}}\n", three.hash);
        assert_eq!(anchors_in(&text), [two, three].into());
        assert_eq!(anchors_in(&log[1]), [Anchor { epoch: 0, ..two }].into());
        assert_eq!(anchors_in("audit head number=2 hash=beef"), BTreeSet::new());
    }
}
