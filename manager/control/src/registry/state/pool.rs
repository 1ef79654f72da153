//! Which addresses of a prefix are free.

use std::ops::RangeInclusive;

use imbl::OrdMap;

/// The free addresses of a prefix, as ranges of offsets, from first to last. Kept as ranges, because they are few even
/// where 100,000 addresses are taken, so the next free one is found without looking at those.
///
/// No range touches another. So two pools with the same free addresses are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pool(OrdMap<u128, u128>);

impl Pool {
    /// All of `range` is free.
    pub(super) fn new(range: RangeInclusive<u128>) -> Self {
        let mut pool = Self::default();
        if !range.is_empty() {
            pool.0.insert(*range.start(), *range.end());
        }
        pool
    }

    /// Nothing of `first..=last` is free any more.
    pub(super) fn take(&mut self, first: u128, last: u128) {
        while let Some((from, to)) = self.0.get_prev(&last).map(|(from, to)| (*from, *to)) {
            if to < first {
                return;
            }
            self.0.remove(&from);
            if to > last {
                self.0.insert(last + 1, to);
            }
            if from < first {
                self.0.insert(from, first - 1);
            }
        }
    }

    /// `offset`, which was not free, is.
    pub(super) fn give(&mut self, offset: u128) {
        let (mut first, mut last) = (offset, offset);
        if let Some((from, to)) = self.0.get_prev(&offset).map(|(from, to)| (*from, *to)) {
            if to >= offset {
                return;
            }
            if to + 1 == offset {
                first = from;
            }
        }
        if let Some(to) = offset.checked_add(1).and_then(|next| self.0.remove(&next)) {
            last = to;
        }
        self.0.insert(first, last);
    }

    /// The first free offset from `from` on, or else the first of all.
    pub(super) fn next(&self, from: u128) -> Option<u128> {
        match self.0.get_prev(&from) {
            Some((_, to)) if *to >= from => Some(from),
            _ => self.0.get_next(&from).map(|(first, _)| *first).or_else(|| self.0.get_min().map(|(first, _)| *first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Take(u128, u128),
        Give(u128),
        Next(u128),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let at = 0_u128..40;
        prop_oneof![
            (at.clone(), 0_u128..6).prop_map(|(first, more)| Step::Take(first, first + more)),
            at.clone().prop_map(Step::Give),
            at.prop_map(Step::Next),
        ]
    }

    proptest! {
        #[test]
        fn a_pool_is_a_set_of_offsets(steps in proptest::collection::vec(any_step(), 0..200)) {
            let mut pool = Pool::new(2..=40);
            let mut model: BTreeSet<u128> = (2..=40).collect();
            for step in steps {
                match step {
                    Step::Take(first, last) => {
                        pool.take(first, last);
                        model.retain(|offset| !(first..=last).contains(offset));
                    }
                    Step::Give(offset) => {
                        pool.give(offset);
                        model.insert(offset);
                    }
                    Step::Next(from) => {
                        prop_assert_eq!(pool.next(from), model.range(from..).chain(&model).next().copied());
                    }
                }
                let ranges: Vec<_> = pool.0.iter().map(|(first, last)| (*first, *last)).collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
                prop_assert!(ranges.iter().flat_map(|(first, last)| *first..=*last).eq(model.iter().copied()));
            }
        }
    }

    #[test]
    fn the_whole_of_ipv6_is_no_special_case() {
        let mut pool = Pool::new(2..=u128::MAX);
        pool.take(u128::MAX, u128::MAX);
        assert_eq!(pool.next(u128::MAX), Some(2));
        pool.give(u128::MAX);
        assert_eq!(pool.next(u128::MAX), Some(u128::MAX));
        pool.take(0, u128::MAX);
        assert_eq!((pool.next(5), pool), (None, Pool::default()));
    }
}
