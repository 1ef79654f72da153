//! How far the stream was read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Place, Position, Source};

/// The version of the text.
const VERSION: u8 = 1;
/// Sources that a cursor may have. There are far fewer managers; a stranger's cursor must not fill our memory.
const MAX_SOURCES: usize = 256;

/// For each source, the last place that was read. Its text is opaque to whoever keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(BTreeMap<Source, Place>);

/// A text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of events: use one that this cluster gave, or none to begin anew")]
pub struct BadCursor;

impl Cursor {
    /// The last place of a source that was read.
    pub fn get(&self, source: Source) -> Option<Place> {
        self.0.get(&source).copied()
    }

    /// Whether what stands there was read.
    pub fn covers(&self, position: Position) -> bool {
        self.get(position.source).is_some_and(|place| position.place <= place)
    }

    /// What stands there was read, and all that the source told before. Returns whether it was not before.
    pub fn pass(&mut self, position: Position) -> bool {
        let is_new = !self.covers(position);
        if is_new {
            self.0.insert(position.source, position.place);
        }
        is_new
    }

    /// What the other cursor covers is covered.
    pub fn extend(&mut self, other: &Self) {
        for position in other.positions() {
            self.pass(position);
        }
    }

    /// Where each source was read to.
    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.0.iter().map(|(&source, &place)| Position { source, place })
    }

    /// How many events there are from here to `end`, at most: of a life that ended, nobody knows how many are left.
    pub fn behind(&self, end: &Self) -> u64 {
        let of_one = |last: Position| {
            let Place { life, number } = last.place;
            // The audit log goes on counting in another life.
            let goes_on = |read: &Place| read.life == life || last.source == Source::Audit;
            number.saturating_sub(self.get(last.source).filter(goes_on).map_or(0, |read| read.number))
        };
        end.positions().map(of_one).fold(0, u64::saturating_add)
    }

    /// Forgets sources.
    pub fn retain(&mut self, mut keep: impl FnMut(Source) -> bool) {
        self.0.retain(|&source, _| keep(source));
    }
}

impl FromIterator<Position> for Cursor {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        let mut cursor = Self::default();
        for position in positions {
            cursor.pass(position);
        }
        cursor
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = postcard::to_extend(&self.0, vec![VERSION]).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let Some((&VERSION, body)) = bytes.split_first() else { return Err(BadCursor) };
        match postcard::take_from_bytes::<BTreeMap<Source, Place>>(body) {
            Ok((places, [])) if places.len() <= MAX_SOURCES => Ok(Self(places)),
            _ => Err(BadCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use festoon_proto::ManagerId;
    use proptest::prelude::*;

    use super::*;

    fn any_position() -> impl Strategy<Value = Position> {
        let source = prop_oneof![Just(Source::Audit), any::<u16>().prop_map(|id| Source::Manager(ManagerId(id)))];
        (source, any::<u64>(), any::<u64>())
            .prop_map(|(source, life, number)| Position { source, place: Place { life, number } })
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(positions in proptest::collection::vec(any_position(), 0..20)) {
            let cursor: Cursor = positions.iter().copied().collect();
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
            prop_assert!(positions.iter().all(|&position| cursor.covers(position)));
        }

        #[test]
        fn junk_is_refused(text in "[A-Za-z0-9_-]{0,60}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert!(cursor.positions().count() <= MAX_SOURCES);
            }
        }
    }

    #[test]
    fn what_is_left_to_read_is_counted_by_source() {
        let at = |source, life, number| Position { source, place: Place { life, number } };
        let [one, two] = [1, 2].map(|id| Source::Manager(ManagerId(id)));
        let read: Cursor = [at(Source::Audit, 0, 10), at(one, 1, 5), at(two, 1, 9)].into_iter().collect();
        let end: Cursor = [at(Source::Audit, 7, 12), at(one, 1, 8), at(two, 2, 4)].into_iter().collect();
        assert_eq!((read.behind(&end), end.behind(&end), read.behind(&Cursor::default())), (9, 0, 0));
    }

    #[test]
    fn a_later_life_is_behind_all_of_an_earlier_one() {
        let at = |life, number| Position { source: Source::Audit, place: Place { life, number } };
        let mut cursor = Cursor::default();
        assert!(cursor.pass(at(1, 900)));
        assert!(!cursor.pass(at(1, 3)) && cursor.pass(at(2, 1)) && !cursor.pass(at(1, 1000)));
        assert_eq!(cursor.get(Source::Audit), Some(Place { life: 2, number: 1 }));
    }
}
