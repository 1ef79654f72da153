//! How many messages it takes.

use super::*;
use festoon_proto::signal::MAX_FLOOD_ATTACHMENTS;

const MANY: u64 = 100_000;
/// Floods that carry them all.
const FULL_SYNC: u64 = MANY / MAX_FLOOD_ATTACHMENTS as u64;

fn with_many_endpoints() -> Net {
    let mut net = Net::new(2, 1);
    net.attach_all((0..MANY).map(|endpoint| at(endpoint, 1, 1)));
    net
}

#[test]
fn many_attachments_sync_once_in_full_messages() {
    let mut net = with_many_endpoints();
    net.up(1, 2, 1);
    assert!(net.sent < 100, "the first burst is bounded: {} messages", net.sent);
    let messages = net.settle();
    assert_eq!(net.mesh(2).attachments().count() as u64, MANY);
    // A flood and an acknowledgement each, what was under way when the neighbour asked for everything, and link states.
    assert!(messages < 2 * FULL_SYNC + 200, "{messages} messages");
}

#[test]
fn many_attachments_sync_over_a_lossy_link() {
    let mut net = with_many_endpoints();
    net.weather = Weather { loss_percent: 10, jitter: ms(2) };
    net.up(1, 2, 1);
    let messages = net.settle();
    net.assert_agreement();
    assert!(messages < 3 * FULL_SYNC, "{messages} messages");
}

#[test]
fn both_ends_with_the_same_knowledge_do_not_double_it() {
    let mut net = with_many_endpoints();
    net.up(1, 2, 1);
    net.settle();
    net.down(1, 2);
    net.up(1, 2, 1);
    let messages = net.settle();
    assert!(messages < 3 * FULL_SYNC, "{messages} messages");
}

#[test]
fn news_passes_a_full_sync() {
    let mut net = with_many_endpoints();
    net.up(1, 2, 10);
    net.run(ms(100));
    net.attach(at(MANY - 1, 1, 2));
    net.run(ms(10));
    assert_eq!(net.mesh(2).attachment(e(MANY - 1)), Some(at(MANY - 1, 1, 2)));
    assert!((net.mesh(2).attachments().count() as u64) < MANY, "the sync goes on");
}

#[test]
fn one_attachment_crosses_each_link_at_most_twice() {
    for count in 2..=9 {
        let mut net = Net::full(count, 1);
        net.attach(at(7, 1, 1));
        let messages = net.settle();
        let directions = u64::from(count * (count - 1));
        assert!(messages <= 2 * directions, "{messages} messages between {count} managers");
    }
}

#[test]
fn a_quiet_network_sends_nothing() {
    let mut net = Net::full(6, 1);
    net.attach_all((0..1000).map(|endpoint| at(endpoint, 1 + (endpoint % 6) as u16, 1)));
    (0..10).for_each(|endpoint| net.with(2, |mesh, now| mesh.detach(now, e(endpoint), Generation(1))));
    net.settle();
    let before = net.sent;
    net.run(Duration::from_secs(3600));
    assert_eq!(net.sent, before);
    assert!(net.meshes.values().all(|mesh| mesh.poll_timeout().is_none()));
}
