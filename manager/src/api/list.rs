//! Pages.

use axum::http::StatusCode;
use festoon_api::{Cursor, DEFAULT_LIMIT, MAX_LIMIT, Page};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::https::Refused;

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    /// How many items, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<u16>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

impl Paging {
    fn limit(&self) -> Result<usize, Refused> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(usize::from(limit)),
            _ => Err(Refused::new(StatusCode::BAD_REQUEST, "bad-request", "limit is 1 to 1000")),
        }
    }

    /// The item that the page is behind.
    pub(super) fn after<T: Serialize + DeserializeOwned>(&self) -> Result<Option<T>, Refused> {
        let cursor = self.cursor.as_deref().map(Cursor::decode).transpose();
        let cursor = cursor.map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad-cursor", &error.to_string()))?;
        Ok(cursor.map(|Cursor(after)| after))
    }

    /// The page of `items`, which begin behind the cursor. `cursor` is of the last one on it.
    pub(super) fn page<T, C: Serialize + DeserializeOwned>(
        &self,
        items: impl Iterator<Item = T>,
        cursor: impl Fn(&T) -> C,
    ) -> Result<Page<T>, Refused> {
        let limit = self.limit()?;
        let mut items: Vec<_> = items.take(limit + 1).collect();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|last| Cursor(cursor(last)).encode());
        Ok(Page { items, next })
    }
}

/// As [`Page`], of other items.
pub(super) fn map<T, U>(page: Page<T>, item: impl FnMut(T) -> U) -> Page<U> {
    Page { items: page.items.into_iter().map(item).collect(), next: page.next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let (mut seen, mut paging) = (Vec::new(), Paging { limit: Some(3), cursor: None });
        loop {
            let after: Option<u32> = paging.after().unwrap();
            let page =
                paging.page((0..9).filter(|item| after.is_none_or(|after| *item > after)), |item| *item).unwrap();
            seen.extend(page.items);
            match page.next {
                Some(next) => paging.cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, (0..9).collect::<Vec<_>>());
        assert!(Paging { limit: Some(0), cursor: None }.page([1].into_iter(), |item| *item).is_err());
        assert!(Paging { limit: None, cursor: Some("x".to_owned()) }.after::<u32>().is_err());
    }
}
