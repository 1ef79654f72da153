//! Words that admins find endpoints by.

use std::sync::Arc;

use super::name::{self, NameError};

/// Tags that an endpoint or a token may have.
pub const MAX_TAGS: usize = 32;

/// These tags, each once, sorted.
pub(super) fn parse(tags: &[String]) -> Result<Vec<Arc<str>>, TagError> {
    let mut parsed = Vec::with_capacity(tags.len().min(MAX_TAGS));
    for tag in tags {
        name::check(tag)?;
        parsed.push(Arc::from(tag.as_str()));
    }
    parsed.sort();
    parsed.dedup();
    if parsed.len() > MAX_TAGS { Err(TagError::TooMany(parsed.len())) } else { Ok(parsed) }
}

/// Tags are none, or too many.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum TagError {
    /// One is no tag.
    #[error("tags are written like names: {0}")]
    Name(#[from] NameError),
    /// There are too many.
    #[error("at most {MAX_TAGS} tags, not {0}: leave some out")]
    TooMany(usize),
}
