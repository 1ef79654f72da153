//! The life of this manager's certificate: it is renewed long before it ends, and whenever the registry says something else
//! than what stands in it. Nobody restarts anything and no connection is dropped.

mod due;
mod keeper;
mod lost;
mod routes;
#[cfg(test)]
mod tests;
mod told;

pub use due::{Due, due};
pub use keeper::{KeepError, Keeper};
pub use lost::{LostError, make_lost_again};
pub(crate) use routes::Answer;
pub use routes::{Shown, router};
pub use told::Told;
