//! Accounts: users, what they log in with, where they are logged in, and the tokens of their programs.
//!
//! Nothing is proved here. Whoever makes a command has checked password, code or identity; what has to be so in the whole
//! cluster at once is decided here: a code is good once, and what was checked is what the account still has.

mod api_tokens;
mod error;
mod record;
mod sessions;
mod users;

pub use api_tokens::MAX_API_TOKEN_MS;
pub(super) use api_tokens::{create as create_api_token, remove as remove_api_token};
pub use error::AccountError;
pub(super) use record::Accounts;
pub use record::{ApiToken, OidcIdentity, PasswordHash, Session, Totp, User, site_of};
pub use sessions::{MAX_SESSION_MS, MAX_SESSIONS};
pub(super) use sessions::{confirm, log_in, log_out, log_out_all};
pub use users::check_set_up;
pub(super) use users::{add, remove, set_set_up_secret, set_up, update};
