//! Lists, a page at a time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The items on a page, if the client does not say.
pub const DEFAULT_LIMIT: u16 = 100;
/// The most items on a page.
pub const MAX_LIMIT: u16 = 1000;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, in the order that was asked for.
    pub items: Vec<T>,
    /// What to give as `cursor` to get the next page, with the same filter and order. None on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where a page begins: behind this item. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<T>(pub T);

/// A text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this cursor is none, or of another list: begin again without one")]
pub struct CursorError;

impl<T: Serialize + DeserializeOwned> Cursor<T> {
    /// As a client gets it.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self.0).unwrap_or_default())
    }

    /// From what a client sends.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|_| CursorError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_nothing_else_is_one() {
        let cursor = Cursor(("name".to_owned(), 7_u64));
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor.clone()));
        for bad in ["", "!", "e30", &cursor.encode()[1..]] {
            assert_eq!(Cursor::<(String, u64)>::decode(bad), Err(CursorError), "{bad}");
        }
    }
}
