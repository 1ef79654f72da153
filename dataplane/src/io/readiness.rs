//! Waiting for a file descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::sys;

/// Tells when a file descriptor has something to read, once it is registered with a runtime.
///
/// It holds a duplicate, so the port itself can be made before the runtime that waits for it.
#[derive(Debug)]
pub(super) enum Readiness {
    Unregistered { fd: Option<OwnedFd>, interest: Interest },
    Registered { fd: AsyncFd<OwnedFd>, interest: Interest },
}

impl Readiness {
    pub(super) fn new(fd: impl AsFd, interest: Interest) -> io::Result<Self> {
        Ok(Self::Unregistered { fd: Some(fd.as_fd().try_clone_to_owned()?), interest })
    }

    /// Must be called inside a runtime. Further calls do nothing.
    pub(super) fn register(&mut self) -> io::Result<()> {
        if let Self::Unregistered { fd, interest } = self {
            let (fd, interest) = (fd.take().ok_or(io::ErrorKind::NotFound)?, *interest);
            *self = Self::Registered { fd: sys::watch(fd, interest)?, interest };
        }
        Ok(())
    }

    /// Waits until the descriptor is ready. May be cancelled at any time; never returns before registration.
    pub(super) async fn ready(&self) -> io::Result<()> {
        match self {
            Self::Registered { fd, interest } => fd.ready(*interest).await.map(drop),
            Self::Unregistered { .. } => std::future::pending().await,
        }
    }

    /// Runs `attempt` if the descriptor is ready as `interest` says. Once `attempt` would block, the descriptor is not
    /// ready until the kernel says so again.
    pub(super) fn attempt<T>(&self, interest: Interest, attempt: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Registered { fd, .. } => fd.try_io(interest, |_| attempt()),
            Self::Unregistered { .. } => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
