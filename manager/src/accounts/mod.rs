//! Accounts: who logs in, who calls, and what that may do.
//!
//! What is stored is in the registry; see `festoon_control::registry`. Here is what needs a clock, randomness or time to
//! compute: passwords, codes, limits. Who calls is a pure function of a request and the registry.
//!
//! A password is compared on one manager, and the login decided in the registry: so a code is good once in the whole cluster,
//! and a password that was changed a moment ago elsewhere is no longer good here.

mod caller;
mod confirmation;
pub mod cookie;
mod credentials;
mod limits;
mod log_in;
pub mod oidc;
mod origin;
pub mod password;
mod secret;
mod set_up;
mod slow;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod totp;

pub use caller::{CSRF_HEADER, Call, Caller, Denied, authenticate};
pub use confirmation::{CONFIRMED_MS, ConfirmationError, Shown, Unconfirmed};
pub use credentials::{ConfirmError, NewPasswordError, ProveError};
pub use limits::TooMany;
pub use log_in::{Accounts, Attempt, LogInError, LoggedIn};
pub use origin::Names;
pub use secret::{ApiTokenSecret, ParseSecretError, Secret, SessionSecret, parse_set_up, set_up_text};
pub use set_up::{FirstOwner, SetUpError};
