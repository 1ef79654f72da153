use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, Weak};
use std::time::Instant as StdInstant;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;
use crate::batch::{Coalesce, OverlayPacket, UnderlayGroup};
use crate::io::port::{Progress, Received};
use crate::io::testing::{PATIENCE, run};
use crate::packet::offload::VnetHeader;
use crate::{Effects, UnderlayPath};

/// Two queues in place of a port.
#[derive(Debug, Default)]
struct Wire {
    incoming: Mutex<VecDeque<io::Result<Vec<u8>>>>,
    arrived: Notify,
    outgoing: Mutex<Vec<Vec<u8>>>,
    sent: Notify,
    /// Whether there is always one more to receive.
    endless: bool,
}

#[derive(Debug, Clone, Default)]
struct ChannelPort(Arc<Wire>);

impl ChannelPort {
    fn endless() -> Self {
        Self(Arc::new(Wire { endless: true, ..Wire::default() }))
    }

    fn arrive(&self, bytes: &[u8]) {
        self.0.incoming.lock().unwrap().push_back(Ok(bytes.to_vec()));
        self.0.arrived.notify_one();
    }

    fn break_down(&self) {
        self.0.incoming.lock().unwrap().push_back(Err(io::ErrorKind::BrokenPipe.into()));
        self.0.arrived.notify_one();
    }

    async fn sent(&self, expected: &[u8]) {
        let found = async {
            while !self.0.outgoing.lock().unwrap().iter().any(|bytes| bytes == expected) {
                self.0.sent.notified().await;
            }
        };
        timeout(PATIENCE, found).await.expect("was never sent");
    }

    async fn wait(&self) -> io::Result<()> {
        while self.0.incoming.lock().unwrap().is_empty() && !self.0.endless {
            self.0.arrived.notified().await;
        }
        Ok(())
    }

    fn take(&self) -> io::Result<Option<Vec<u8>>> {
        let next = self.0.incoming.lock().unwrap().pop_front();
        next.or_else(|| self.0.endless.then(|| Ok(b"more".to_vec()))).transpose()
    }

    fn give(&self, bytes: &[u8]) {
        self.0.outgoing.lock().unwrap().push(bytes.to_vec());
        self.0.sent.notify_one();
    }
}

fn path() -> UnderlayPath {
    UnderlayPath { remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), local: None }
}

impl UnderlayPort for ChannelPort {
    fn register(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn readable(&self) -> io::Result<()> {
        self.wait().await
    }

    fn receive(&mut self, mut handle: impl FnMut(Received<'_>)) -> io::Result<Progress> {
        let Some(bytes) = self.take()? else { return Ok(Progress::Drained) };
        handle(match &bytes[..] {
            b"unreachable" => Received::Unreachable(path().remote),
            bytes => Received::Datagrams { path: path(), bytes, stride: bytes.len() },
        });
        Ok(Progress::More)
    }

    fn send(&mut self, group: &UnderlayGroup<'_>) -> io::Result<()> {
        group.datagrams().for_each(|datagram| self.give(datagram));
        Ok(())
    }

    fn send_whole(&mut self, group: &UnderlayGroup<'_>) -> io::Result<()> {
        UnderlayPort::send(self, group)
    }

    fn max_segments(&self) -> usize {
        4
    }
}

impl OverlayPort for ChannelPort {
    fn register(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn readable(&self) -> io::Result<()> {
        self.wait().await
    }

    fn receive(&mut self, handle: impl FnOnce(&VnetHeader, &mut [u8])) -> io::Result<Progress> {
        let Some(mut bytes) = self.take()? else { return Ok(Progress::Drained) };
        handle(&VnetHeader::default(), &mut bytes);
        Ok(Progress::More)
    }

    fn send(&mut self, packet: &OverlayPacket<'_>) -> io::Result<()> {
        self.give(packet.bytes);
        Ok(())
    }

    fn coalesce(&self) -> Coalesce {
        Coalesce::None
    }
}

#[derive(Debug, PartialEq)]
enum Told {
    Datagram(Vec<u8>),
    Unreachable(SocketAddr),
    /// The time came, this long after it was due.
    Time(Duration),
    Number(u32),
}

#[derive(Debug)]
enum Ask {
    Send(Vec<u8>),
    WakeAt(StdInstant),
    Tell(u32),
}

/// Passes everything on, between the ports and to whoever listens.
#[derive(Debug, Default)]
struct PassOn {
    timeout: Option<StdInstant>,
    told: VecDeque<Told>,
    asked: usize,
    silent: bool,
}

impl Node for PassOn {
    type Command = Ask;
    type Event = Told;

    fn handle_underlay(&mut self, _: StdInstant, _: UnderlayPath, bytes: &[u8], _: usize, effects: &mut Effects) {
        effects.overlay.push(bytes);
        if !self.silent {
            self.told.push_back(Told::Datagram(bytes.to_vec()));
        }
    }

    fn handle_overlay(&mut self, _: StdInstant, _: &VnetHeader, frame: &mut [u8], effects: &mut Effects) {
        effects.underlay.push(path(), frame);
    }

    fn handle_unreachable(&mut self, _: StdInstant, to: SocketAddr, _: &mut Effects) {
        self.told.push_back(Told::Unreachable(to));
    }

    fn handle_timeout(&mut self, now: StdInstant, _: &mut Effects) {
        if let Some(at) = self.timeout.take() {
            self.told.push_back(Told::Time(now - at));
        }
    }

    fn handle_command(&mut self, _: StdInstant, command: Ask, effects: &mut Effects) {
        self.asked += 1;
        match command {
            Ask::Send(bytes) => effects.underlay.push(path(), &bytes),
            Ask::WakeAt(at) => self.timeout = Some(at),
            Ask::Tell(number) => self.told.push_back(Told::Number(number)),
        }
    }

    fn poll_timeout(&self) -> Option<StdInstant> {
        self.timeout
    }

    fn poll_event(&mut self) -> Option<Told> {
        self.told.pop_front()
    }
}

struct Rig {
    underlay: ChannelPort,
    overlay: ChannelPort,
    driver: DriverHandle<PassOn>,
    events: mpsc::Receiver<Told>,
}

impl Rig {
    fn new(node: PassOn, underlay: ChannelPort, overlay: ChannelPort, queue: usize) -> Self {
        let (sender, events) = mpsc::channel(queue);
        let driver = spawn(node, underlay.clone(), Some(overlay.clone()), sender, Priority::Normal).unwrap();
        Self { underlay, overlay, driver, events }
    }

    fn simple() -> Self {
        Self::new(PassOn::default(), ChannelPort::default(), ChannelPort::default(), 64)
    }

    async fn ask(&self, command: Ask) {
        self.driver.commands().send(command).await.unwrap();
    }

    async fn told(&mut self) -> Told {
        timeout(PATIENCE, self.events.recv()).await.expect("nothing is told").unwrap()
    }
}

#[test]
fn everything_reaches_the_node_and_leaves_it() {
    run(async {
        let mut rig = Rig::simple();
        rig.underlay.arrive(b"in");
        rig.overlay.sent(b"in").await;
        assert_eq!(rig.told().await, Told::Datagram(b"in".to_vec()));
        rig.overlay.arrive(b"out");
        rig.underlay.sent(b"out").await;
        rig.ask(Ask::Send(b"asked".to_vec())).await;
        rig.underlay.sent(b"asked").await;
        rig.underlay.arrive(b"unreachable");
        assert_eq!(rig.told().await, Told::Unreachable(path().remote));
        let counts = rig.driver.counters().counts();
        assert_eq!((counts.underlay_groups, counts.underlay_lost, counts.overlay_packets), (2, 0, 1));
        assert_eq!((counts.underlay_datagrams, counts.underlay_bytes), (2, 8));
        assert_eq!((counts.received_batches, counts.received_datagrams, counts.received_bytes), (1, 1, 2));
    });
}

#[test]
fn a_node_without_a_device_is_driven_too() {
    run(async {
        let underlay = ChannelPort::default();
        let (sender, mut events) = mpsc::channel(8);
        let driver = spawn(PassOn::default(), underlay.clone(), None::<ChannelPort>, sender, Priority::Normal).unwrap();
        underlay.arrive(b"in");
        assert_eq!(events.recv().await, Some(Told::Datagram(b"in".to_vec())));
        assert_eq!(driver.counters().counts().overlay_lost, 1);
        driver.shutdown().await.unwrap();
    });
}

#[test]
fn a_timer_is_kept_even_when_it_is_moved_forward() {
    run(async {
        let mut rig = Rig::simple();
        for millis in [200, 20, 0, 30] {
            rig.ask(Ask::WakeAt(StdInstant::now() + Duration::from_secs(100))).await;
            rig.ask(Ask::WakeAt(StdInstant::now() + Duration::from_millis(millis))).await;
            let Told::Time(late) = rig.told().await else { panic!("no timer") };
            // A millisecond or two where nothing else runs; here, tests do.
            assert!(late < Duration::from_millis(100), "{late:?}");
        }
    });
}

#[test]
fn a_flood_from_one_side_starves_no_other() {
    run(async {
        let node = PassOn { silent: true, ..PassOn::default() };
        let mut rig = Rig::new(node, ChannelPort::endless(), ChannelPort::default(), 64);
        rig.overlay.sent(b"more").await;
        rig.overlay.arrive(b"frame");
        rig.underlay.sent(b"frame").await;
        rig.ask(Ask::WakeAt(StdInstant::now())).await;
        assert!(matches!(rig.told().await, Told::Time(_)));
        rig.driver.shutdown().await.unwrap();
    });
}

#[test]
fn a_full_event_channel_loses_nothing_and_stops_nothing() {
    run(async {
        let mut rig = Rig::new(PassOn::default(), ChannelPort::default(), ChannelPort::default(), 1);
        for number in 0..100 {
            rig.ask(Ask::Tell(number)).await;
        }
        rig.ask(Ask::Send(b"still alive".to_vec())).await;
        rig.underlay.sent(b"still alive").await;
        for number in 0..100 {
            assert_eq!(rig.told().await, Told::Number(number));
        }
    });
}

#[test]
fn shutting_down_serves_what_was_asked_before_and_gives_the_node_back() {
    run(async {
        let rig = Rig::simple();
        for _ in 0..50 {
            rig.ask(Ask::Send(b"last words".to_vec())).await;
        }
        let node = rig.driver.shutdown().await.unwrap();
        assert_eq!(node.asked, 50);
        assert_eq!(rig.underlay.0.outgoing.lock().unwrap().len(), 50);
    });
}

#[test]
fn a_broken_device_ends_the_driver_with_its_error() {
    run(async {
        let mut rig = Rig::simple();
        rig.overlay.break_down();
        let error = timeout(PATIENCE, rig.driver.failed()).await.unwrap();
        assert!(matches!(&error, DriverError::Port(source) if source.kind() == io::ErrorKind::BrokenPipe), "{error}");
    });
}

#[test]
fn dropping_the_handle_stops_the_driver() {
    run(async {
        let Rig { underlay, overlay, driver, mut events } = Rig::simple();
        let ports: [Weak<Wire>; 2] = [Arc::downgrade(&underlay.0), Arc::downgrade(&overlay.0)];
        drop((driver, underlay, overlay));
        // The driver's end of the channel goes with the driver.
        assert_eq!(timeout(PATIENCE, events.recv()).await.unwrap(), None);
        assert!(ports.iter().all(|port| port.upgrade().is_none()));
    });
}
