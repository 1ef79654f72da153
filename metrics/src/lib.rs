//! What a program tells a monitoring system of itself.
//!
//! A [`Page`] is written from top to bottom whenever somebody asks; nothing is kept between two. It is one text in either of two
//! formats that differ in little: [`Format`]. Counters are kept by those who count.
//!
//! The feature `serve` adds the shell: the listener, and what the kernel says of the process.

mod format;
mod histogram;
#[cfg(feature = "serve")]
mod host;
mod page;
#[cfg(feature = "serve")]
mod process;
#[cfg(feature = "serve")]
mod serve;

pub use format::Format;
pub use histogram::Histogram;
pub use page::{Family, Number, Page};
#[cfg(feature = "serve")]
pub use process::Process;
#[cfg(feature = "serve")]
pub use serve::{Source, serve};
