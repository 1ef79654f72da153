//! The registry: the desired state of a cluster, as a pure state machine over a log of commands.
//!
//! [`apply`] takes a [`State`] and a [`Command`] to the next `State`, or refuses. It is deterministic: time, keys and
//! random ids arrive inside the command, so every manager that applies the same log holds the same state. States are
//! immutable and share structure: keeping an old one, or handing one to another thread, copies nothing.

mod accounts;
mod address;
mod allocate;
mod answers;
mod apply;
pub mod audit;
mod authorities;
mod change;
mod clock;
mod command;
mod destinations;
mod diff;
mod endpoints;
mod epoch;
mod format;
mod given;
mod keys;
mod local_user;
mod managers;
mod name;
mod networks;
mod record;
mod refusal;
mod routes;
mod secrets;
mod state;
mod subject;
mod tags;
#[cfg(test)]
mod tests;
mod tokens;
mod vault;
mod vouch;

pub use accounts::{
    AccountError, ApiToken, MAX_API_TOKEN_MS, MAX_SESSION_MS, MAX_SESSIONS, OidcIdentity, PasswordHash, Session, Totp,
    User, check_set_up, site_of,
};
pub use address::{AddressRange, Addresses, Family, ParseRangeError, TwoOfAFamilyError};
pub use allocate::AddressError;
pub use answers::{IdempotencyKey, REMEMBER_ANSWER_MS};
pub use apply::apply;
pub use authorities::{Authority, AuthorityError, AuthorityRole};
pub use change::{Author, Carried, Change, ChangeError, MAX_BATCH, Unchanged, Who, carry_out};
pub use clock::{CLOCK_TOLERANCE_MS, ClockError};
pub use command::{
    AddAuthority, AddClient, AddEventDestination, AddNetwork, AddUser, AnnounceProgram, BeginEpoch, Bootstrap, Command,
    ConfirmSession, CreateApiToken, CreateToken, DataKeyCopy, Deed, JoinEndpoint, JoinManager, LogIn, ManagerSpec,
    NewTotp, NoteDelivery, OfferRoutes, Outcome, Proof, PutSecret, RedeliverDeadLetters, RemoveEndpoint, RenewManager,
    RotateEndpointKey, RotateManagerKey, RotateSealKey, SetKeyring, SetUp, TokenPreset, UnixMs, UpdateEndpoint,
    UpdateEventDestination, UpdateManager, UpdateNetwork, UpdateUser,
};
pub use destinations::{DeadLetter, DestinationError, EventDestination, GivenUp, MAX_LETTERS, Progress, Target};
pub use diff::Difference;
pub use endpoints::{EndpointError, KEEP_ADDRESSES_MS};
pub use epoch::EpochError;
pub use festoon_proto::Fingerprint;
pub use festoon_proto::http::ManagerRole;
pub use format::{FORMAT, FormatError, check_readable};
pub use keys::{KeyError, MAX_KEY_OVERLAP_MS};
pub use local_user::{LocalUser, LoginName};
pub use managers::{MAX_MANAGERS, ManagerError};
pub use name::NameError;
pub use networks::{DEFAULT_MTU, NetworkError};
pub use record::{Endpoint, Epoch, Manager, Network, OfferedRoute, Prefix, PreviousKey, Token, TokenUse, Used};
pub use refusal::Refusal;
pub use routes::{MAX_ROUTES, RouteError};
pub use state::State;
pub use subject::Subject;
pub use tags::{MAX_TAGS, TagError};
pub use tokens::{AGAIN_MS, MAX_TOKEN_MS, TokenError};
pub use vault::{Ciphertext, EncryptedSecret, Keyring, SecretError, SecretName, Vault};
pub use vouch::{GOOD_FOR, Vouch, VouchError, carry_out_vouched, check_vouch};
