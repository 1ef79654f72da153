//! The TUN device of an endpoint, which takes and gives large segments.
//!
//! The `tun` crate opens the device, with `IFF_VNET_HDR`. What it has no notion of is done here: the offloads, and
//! frames with a header in front. Addresses and routes are set elsewhere.

use std::io;

use tokio::io::Interest;
use tun::AbstractDevice as _;

use super::port::{OverlayPort, Progress};
use super::readiness::Readiness;
use super::sys;
use crate::batch::{Coalesce, OverlayPacket};
use crate::packet::offload::{VNET_HEADER_LEN, VnetHeader};

/// A frame: the largest IP packet and its header.
const FRAME_LEN: usize = VNET_HEADER_LEN + 65_535;

const TCP_OFFLOADS: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const UDP_OFFLOADS: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// Which device to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunConfig {
    /// Its name; a `%d` in it is replaced by the first free number.
    pub name: String,
    /// The largest packet in bytes, as routes see it.
    pub mtu: u16,
    /// Whether packets may be larger than that between the kernel and us. Off is slower.
    pub segmentation: bool,
}

/// The device cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The kernel or its configuration forbids it.
    #[error("cannot make the TUN device {name:?}: {source} (it takes CAP_NET_ADMIN and /dev/net/tun)")]
    Open {
        /// The name asked for.
        name: String,
        /// What the `tun` crate says.
        source: Box<tun::Error>,
    },
    /// The kernel is older than Linux 2.6.27.
    #[error("the TUN device {name:?} takes no offload header: {source}; use a newer kernel")]
    Setup {
        /// The name asked for.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// A TUN device.
pub struct TunPort {
    device: tun::Device,
    name: String,
    readiness: Readiness,
    coalesce: Coalesce,
    frame: Vec<u8>,
}

impl TunPort {
    /// Makes the device and brings it up. It disappears when the port is dropped.
    ///
    /// # Errors
    /// There is no such right, or the name is taken.
    pub fn open(config: &TunConfig) -> Result<Self, TunError> {
        let mut device = tun::Configuration::default();
        device.tun_name(&config.name).mtu(config.mtu).up().platform_config(|platform| {
            platform.vnet_hdr(true);
        });
        let open = |source: tun::Error| TunError::Open { name: config.name.clone(), source: Box::new(source) };
        let device = tun::create(&device).map_err(open)?;
        let name = device.tun_name().map_err(open)?;
        Self::set_up(device, name, config.segmentation)
            .map_err(|source| TunError::Setup { name: config.name.clone(), source })
    }

    fn set_up(device: tun::Device, name: String, segmentation: bool) -> io::Result<Self> {
        device.set_nonblock()?;
        sys::set_vnet_header_len(&device, VNET_HEADER_LEN as libc::c_int)?;
        let coalesce = if segmentation { offer(&device)? } else { Coalesce::None };
        let readiness = Readiness::new(sys::borrow(&device), Interest::READABLE)?;
        Ok(Self { device, name, readiness, coalesce, frame: vec![0; FRAME_LEN] })
    }

    /// The name the device got.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Debug for TunPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunPort").field("name", &self.name).field("coalesce", &self.coalesce).finish_non_exhaustive()
    }
}

/// Offers the kernel all it may leave to us, or what it knows of that.
fn offer(device: &tun::Device) -> io::Result<Coalesce> {
    if sys::set_offloads(device, TCP_OFFLOADS | UDP_OFFLOADS).is_ok() {
        return Ok(Coalesce::TcpAndUdp);
    }
    // Before Linux 6.2.
    sys::set_offloads(device, TCP_OFFLOADS).map(|()| Coalesce::Tcp)
}

impl OverlayPort for TunPort {
    fn register(&mut self) -> io::Result<()> {
        self.readiness.register()
    }

    async fn readable(&self) -> io::Result<()> {
        self.readiness.ready().await
    }

    fn receive(&mut self, handle: impl FnOnce(&VnetHeader, &mut [u8])) -> io::Result<Progress> {
        let Self { device, readiness, frame, .. } = self;
        match readiness.attempt(Interest::READABLE, || device.recv(frame)) {
            Ok(len) => {
                if let Some((header, packet)) = VnetHeader::parse(&mut frame[..len]) {
                    handle(&header, packet);
                }
                Ok(Progress::More)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Drained),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, packet: &OverlayPacket<'_>) -> io::Result<()> {
        sys::write_both(&self.device, &packet.header.encode(), packet.bytes).map(drop)
    }

    fn coalesce(&self) -> Coalesce {
        self.coalesce
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the driver is the shell")]
mod tests;
