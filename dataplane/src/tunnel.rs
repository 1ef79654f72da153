//! Tunnels: the WireGuard protocol (<https://www.wireguard.com/protocol/>), by boringtun.
//!
//! The only file that names boringtun, and that knows its sharp edges: it reads a [`clock`] by itself, panics on short
//! buffers (so every method here asks for [`MIN_BUFFER`] more than the packet), wants its timers ticked, and keeps the
//! index of a tunnel in the upper 24 bits of the session indices it puts on the wire. Its rate limiter is used only to check
//! and to make the proofs in handshakes; which handshakes are let in is decided by [`peers`](crate::peers).

pub mod clock;
mod initiation;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519;
use festoon_proto::{PrivateKey, PublicKey};

use crate::drop_reason::DropReason;

pub use initiation::{Initiation, Stamp};

/// Bytes that encryption adds to a packet.
pub const OVERHEAD: usize = 32;

/// The least size of a buffer that a tunnel writes to: that of a handshake initiation.
pub const MIN_BUFFER: usize = 148;

/// Tunnels a node can have at most: their index travels in 24 bits.
pub const MAX_TUNNELS: usize = 1 << 24;

/// How often [`Tunnel::handle_timeout`] wants to be called.
pub const TICK: Duration = Duration::from_millis(500);

/// A buffer of this size is enough to seal `packet_len` bytes.
pub const fn sealed_capacity(packet_len: usize) -> usize {
    let sealed = packet_len + OVERHEAD;
    if sealed < MIN_BUFFER { MIN_BUFFER } else { sealed }
}

/// A node's own key, and how it checks what handshakes prove. A clone is the same identity.
#[derive(Clone)]
pub struct Identity {
    private: x25519::StaticSecret,
    public: x25519::PublicKey,
    /// What every handshake with this key begins with.
    prologue: [u8; 32],
    /// Asks for proof that the sender knows our key, and never for a cookie.
    first_mac: Arc<RateLimiter>,
    /// Asks for a cookie always.
    both_macs: Arc<RateLimiter>,
}

/// What the sender of a handshake message has proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// That it knows our key, as anybody may.
    Key,
    /// Also that it receives what is sent to the address it sends from: it has a cookie for it.
    Address,
}

impl Identity {
    /// The identity of `private`.
    pub fn new(private: &PrivateKey) -> Self {
        let private = x25519::StaticSecret::from(*private.secret_bytes());
        let public = x25519::PublicKey::from(&private);
        let limiter = |limit| Arc::new(RateLimiter::new(&public, limit));
        Self {
            prologue: initiation::prologue(&public),
            first_mac: limiter(u64::MAX),
            both_macs: limiter(0),
            private,
            public,
        }
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.public.to_bytes())
    }

    /// What the sender of a handshake message has proved, which it sent from the address `from`. No key agreement is made.
    ///
    /// # Errors
    /// It was not made for this node's key.
    pub fn check(&self, from: IpAddr, message: &[u8]) -> Result<Proof, DropReason> {
        const NO_COOKIE: [u8; 16] = [0; 16];
        let mut unused = [0; MIN_BUFFER];
        match self.first_mac.verify_packet(None, message, &mut unused) {
            Ok(_) if message.ends_with(&NO_COOKIE) => Ok(Proof::Key),
            Ok(_) => Ok(match self.both_macs.verify_packet(Some(from), message, &mut unused) {
                Ok(_) => Proof::Address,
                Err(_) => Proof::Key,
            }),
            Err(TunnResult::Err(error)) => Err(reason_of(&error)),
            Err(_) => Err(DropReason::MalformedDatagram),
        }
    }

    /// Writes a cookie for the sender of a handshake message, whether or not it carries one, to `reply` of at least
    /// [`MIN_BUFFER`] bytes, and says how many
    /// bytes to send.
    pub fn cookie(&self, from: IpAddr, message: &[u8], reply: &mut [u8]) -> usize {
        const MAC: usize = 16;
        // One that carries a cookie already gets another: the proof of the address comes last.
        let mut bare = [0; MIN_BUFFER];
        let (Some(bare), Some(end)) = (bare.get_mut(..message.len()), message.len().checked_sub(MAC)) else { return 0 };
        bare[..end].copy_from_slice(&message[..end]);
        match self.both_macs.verify_packet(Some(from), bare, reply) {
            Err(TunnResult::WriteToNetwork(cookie)) => cookie.len(),
            _ => 0,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public_key())
    }
}

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The beginning of a handshake, by whom it says itself.
    Initiation,
    /// An answer to a handshake that the tunnel with this index began.
    Response(u32),
    /// Something else for the tunnel with this index.
    Other(u32),
}

/// What `datagram` is; `None` if it is no message of the protocol.
pub fn kind(datagram: &[u8]) -> Option<Kind> {
    match Tunn::parse_incoming_packet(datagram).ok()? {
        Packet::HandshakeInit(_) => Some(Kind::Initiation),
        Packet::HandshakeResponse(response) => Some(Kind::Response(response.receiver_idx >> 8)),
        Packet::PacketCookieReply(cookie) => Some(Kind::Other(cookie.receiver_idx >> 8)),
        Packet::PacketData(data) => Some(Kind::Other(data.receiver_idx >> 8)),
    }
}

/// What came of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// The first so many bytes of the buffer are a packet.
    Packet(usize),
    /// The first so many bytes of the buffer go back to the sender, who started a handshake.
    Reply(usize),
    /// The handshake we started is done. The first so many bytes of the buffer go to the sender.
    Established(usize),
    /// Authentic, but with nothing in it.
    Keepalive,
    /// A cookie for our next handshake. Anybody who saw the last one could have made it.
    CookieTaken,
    /// Not authentic or not readable.
    Dropped(DropReason),
}

impl Opened {
    /// Whether the other end sent it just now, so that it may say where that is. What begins a handshake does not count: it
    /// may be a copy that somebody kept. Whoever goes on with the handshake has the key.
    pub const fn shows_presence(self) -> bool {
        match self {
            Self::Packet(_) | Self::Established(_) | Self::Keepalive => true,
            Self::Reply(_) | Self::CookieTaken | Self::Dropped(_) => false,
        }
    }
}

/// An encrypted tunnel or link to one other node.
pub struct Tunnel {
    tunn: Tunn,
    has_session: bool,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

impl Tunnel {
    /// A tunnel to the node with the key `peer`, with an index of its own below [`MAX_TUNNELS`].
    pub fn new(identity: &Identity, peer: &PublicKey, index: u32) -> Self {
        let peer = x25519::PublicKey::from(*peer.as_bytes());
        let limiter = Some(Arc::clone(&identity.first_mac));
        let mut tunn = clock::make(|| Tunn::new(identity.private.clone(), peer, None, None, index, limiter));
        // Its timers learn how late it is: it may be made in the past. There is nothing to send yet.
        let _ = tunn.update_timers(&mut [0; MIN_BUFFER]);
        Self { tunn, has_session: false }
    }

    /// Encrypts `packet` into `buffer` of at least [`sealed_capacity`] bytes, and says how many bytes to send. `None`
    /// without a session: boringtun would keep the packet then, in a queue of 256 for each tunnel.
    pub fn seal(&mut self, packet: &[u8], buffer: &mut [u8]) -> Option<usize> {
        self.has_session.then(|| written(&self.tunn.encapsulate(packet, buffer)))
    }

    /// Starts a handshake unless one is under way. Writes to `buffer` of at least [`MIN_BUFFER`] bytes, and says how many
    /// bytes to send.
    pub fn begin(&mut self, buffer: &mut [u8]) -> usize {
        clock::tick();
        written(&self.tunn.format_handshake_initiation(buffer, false))
    }

    /// Decrypts `datagram` into `buffer` of at least [`sealed_capacity`] of its length.
    pub fn open(&mut self, from: IpAddr, datagram: &[u8], buffer: &mut [u8]) -> Opened {
        const INITIATION: u8 = 1;
        const COOKIE_REPLY: u8 = 3;
        let opened = match self.tunn.decapsulate(Some(from), datagram, buffer) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Opened::Packet(packet.len())
            }
            TunnResult::WriteToNetwork(reply) if datagram.first() == Some(&INITIATION) => Opened::Reply(reply.len()),
            TunnResult::WriteToNetwork(reply) => Opened::Established(reply.len()),
            TunnResult::Done if datagram.first() == Some(&COOKIE_REPLY) => Opened::CookieTaken,
            TunnResult::Done => Opened::Keepalive,
            TunnResult::Err(error) => Opened::Dropped(reason_of(&error)),
        };
        // No datagram takes a session away.
        if !self.has_session && opened.shows_presence() {
            self.note_session();
        }
        opened
    }

    /// Starts a handshake, also when one is under way or a session exists: the other end may have lost it. Writes to
    /// `buffer` of at least [`MIN_BUFFER`] bytes, and says how many bytes to send.
    pub fn initiate(&mut self, buffer: &mut [u8]) -> usize {
        clock::tick();
        written(&self.tunn.format_handshake_initiation(buffer, true))
    }

    /// Runs the protocol's timers, all in whole seconds. Writes to `buffer` of at least [`MIN_BUFFER`] bytes, and says
    /// how many bytes to send.
    pub fn handle_timeout(&mut self, buffer: &mut [u8]) -> usize {
        clock::tick();
        let len = written(&self.tunn.update_timers(buffer));
        self.note_session();
        len
    }

    fn note_session(&mut self) {
        self.has_session = self.session_age().is_some();
    }

    /// Whether there is a session to send in. Cheap enough for every packet: unlike [`Tunnel::session_age`] it reads no clock.
    pub fn has_session(&self) -> bool {
        self.has_session
    }

    /// The age of the session in use; `None` without one.
    pub fn session_age(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake()
    }
}

fn written(result: &TunnResult<'_>) -> usize {
    match result {
        TunnResult::WriteToNetwork(bytes) => bytes.len(),
        // `ConnectionExpired` only says that nobody answered for 90 seconds: the next packet starts anew.
        _ => 0,
    }
}

fn reason_of(error: &WireGuardError) -> DropReason {
    match error {
        WireGuardError::InvalidMac => DropReason::InvalidMac,
        WireGuardError::UnderLoad => DropReason::RateLimited,
        WireGuardError::InvalidAeadTag => DropReason::InvalidTag,
        WireGuardError::InvalidCounter | WireGuardError::DuplicateCounter => DropReason::Replayed,
        WireGuardError::NoCurrentSession | WireGuardError::WrongIndex => DropReason::UnknownSession,
        WireGuardError::InvalidPacket => DropReason::MalformedPacket,
        _ => DropReason::InvalidHandshake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_bytes([byte; 32])
    }

    fn ipv4_packet(len: u16) -> Vec<u8> {
        let mut packet = vec![0; usize::from(len)];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet
    }

    #[test]
    fn a_packet_needs_a_session_and_none_is_kept_for_one() {
        let (a_id, b_id) = (Identity::new(&key(1)), Identity::new(&key(2)));
        let mut a = Tunnel::new(&a_id, &b_id.public_key(), 7);
        let mut b = Tunnel::new(&b_id, &a_id.public_key(), 9);
        let (mut wire, mut reply, mut plain) = ([0; 2048], [0; 2048], [0; 2048]);

        let packet = ipv4_packet(60);
        assert_eq!(a.seal(&packet, &mut wire), None);
        let len = a.begin(&mut wire);
        assert_eq!(a.begin(&mut reply), 0, "one is under way");
        assert_eq!(kind(&wire[..len]), Some(Kind::Initiation));
        let Opened::Reply(reply_len) = b.open(FROM, &wire[..len], &mut reply) else { panic!("no response") };
        assert_eq!(kind(&reply[..reply_len]), Some(Kind::Response(7)));
        let Opened::Established(len) = a.open(FROM, &reply[..reply_len], &mut wire) else { panic!("no session") };
        assert_eq!(b.open(FROM, &wire[..len], &mut plain), Opened::Keepalive);
        let len = a.seal(&packet, &mut wire).unwrap();
        assert_eq!(b.open(FROM, &wire[..len], &mut plain), Opened::Packet(60));
        assert_eq!(plain[..60], packet);
        assert_eq!(b.open(FROM, &wire[..len], &mut plain), Opened::Dropped(DropReason::Replayed));
        wire[len - 1] ^= 1;
        assert!(matches!(b.open(FROM, &wire[..len], &mut plain), Opened::Dropped(_)));
    }

    #[test]
    fn a_session_is_there_from_the_first_proof_that_both_ends_have_it() {
        let (a_id, b_id) = (Identity::new(&key(1)), Identity::new(&key(2)));
        let mut a = Tunnel::new(&a_id, &b_id.public_key(), 7);
        let mut b = Tunnel::new(&b_id, &a_id.public_key(), 9);
        let (mut wire, mut reply, mut plain) = ([0; 2048], [0; 2048], [0; 2048]);
        for round in 0..20 {
            let mut steps = Vec::new();
            let mut look = |a: &Tunnel, b: &Tunnel| {
                assert_eq!([a, b].map(|end| end.session_age().is_some()), [a, b].map(Tunnel::has_session), "{round}");
                steps.push([a, b].map(Tunnel::has_session));
            };
            let len = a.initiate(&mut wire);
            look(&a, &b);
            let Opened::Reply(len) = b.open(FROM, &wire[..len], &mut reply) else { panic!("no response") };
            look(&a, &b);
            let Opened::Established(len) = a.open(FROM, &reply[..len], &mut wire) else { panic!("no session") };
            look(&a, &b);
            assert_eq!(b.open(FROM, &wire[..len], &mut plain), Opened::Keepalive);
            look(&a, &b);
            a.handle_timeout(&mut wire);
            b.handle_timeout(&mut wire);
            look(&a, &b);
            if round == 0 {
                let (none, one, both) = ([false, false], [true, false], [true, true]);
                assert_eq!(steps, [none, none, one, both, both]);
            }
        }
    }

    #[test]
    fn a_handshake_for_another_key_and_junk_are_told_apart() {
        let (a_id, b_id, c_id) = (Identity::new(&key(1)), Identity::new(&key(2)), Identity::new(&key(3)));
        let mut wire = [0; 256];
        let len = Tunnel::new(&a_id, &b_id.public_key(), 1).initiate(&mut wire);
        assert_eq!(b_id.check(FROM, &wire[..len]), Ok(Proof::Key));
        assert_eq!(c_id.check(FROM, &wire[..len]), Err(DropReason::InvalidMac));
        for junk in [&[][..], &[4], &[0; 148], &[9; 1500], &[0; 65_507]] {
            assert_eq!(kind(junk), None);
        }
    }

    #[test]
    fn a_cookie_proves_the_address_it_was_sent_to_and_no_other() {
        let (a_id, b_id) = (Identity::new(&key(1)), Identity::new(&key(2)));
        let mut a = Tunnel::new(&a_id, &b_id.public_key(), 1);
        let (mut wire, mut reply) = ([0; 256], [0; 256]);
        let len = a.initiate(&mut wire);
        let cookie = b_id.cookie(FROM, &wire[..len], &mut reply);
        assert_eq!((cookie, kind(&reply[..cookie])), (64, Some(Kind::Other(1))));
        assert_eq!(a.open(FROM, &reply[..cookie], &mut wire), Opened::CookieTaken);
        let len = a.initiate(&mut wire);
        assert_eq!(b_id.check(FROM, &wire[..len]), Ok(Proof::Address));
        assert_eq!(b_id.check([192, 0, 2, 1].into(), &wire[..len]), Ok(Proof::Key));
        wire[len - 1] ^= 1;
        assert_eq!(b_id.check(FROM, &wire[..len]), Ok(Proof::Key));
        wire[len - 17] ^= 1;
        assert_eq!(b_id.check(FROM, &wire[..len]), Err(DropReason::InvalidMac));
    }
}
