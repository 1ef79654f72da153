//! The numbers by which one agent's things in the kernel are told from another's on the same host. Pure.

/// Agents are told apart by so many numbers.
const SLOTS: u32 = 10_000;
const FIRST_TABLE: u32 = 70_000;
/// Before the rule for the main table, 32766.
const FIRST_PRIORITY: u32 = 10_000;

/// What an agent's own packets on the underlay are marked with, in the bits of [`MARK_MASK`]. The same for all agents, so that
/// none sends another's tunnel into its own.
pub const MARK: u32 = 0x4600_0000;
/// The bits that count; the others are left to whoever else marks packets.
pub(super) const MARK_MASK: u32 = 0xff00_0000;

/// What the packet filter marks packets with that a bridge only carries from one port to another. It means nothing to routing.
pub(super) const BRIDGED_MARK: u32 = 0x4700_0000;

/// The numbers of the agent with one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

impl Slot {
    /// Those of the agent whose device is called `interface`.
    pub fn of(interface: &str) -> Self {
        // FNV-1a: the same with every version of the program, which must find what the one before left.
        let hash =
            interface.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self(hash % SLOTS)
    }

    /// Its routing table.
    pub const fn table(self) -> u32 {
        FIRST_TABLE + self.0
    }

    /// The priority of its rules for managers, which come before the one for the table.
    pub const fn direct_priority(self) -> u32 {
        FIRST_PRIORITY + 2 * self.0
    }

    /// The priority of its rule for the table.
    pub const fn table_priority(self) -> u32 {
        self.direct_priority() + 1
    }

    /// The name of its table in nftables.
    pub fn filter(self) -> String {
        format!("festoon-{}", self.table())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_has_numbers_of_its_own_before_the_main_table() {
        let slot = Slot::of("festoon0");
        assert_eq!((slot.table(), slot.direct_priority(), slot.table_priority()), (TABLE, PRIORITY, PRIORITY + 1));
        assert_eq!(slot.filter(), format!("festoon-{TABLE}"));
        assert_ne!(slot, Slot::of("festoon1"));
        assert!(Slot(SLOTS - 1).table_priority() < 32_766);
    }

    /// Whoever runs an older version has these in the kernel.
    const TABLE: u32 = 79_063;
    const PRIORITY: u32 = 28_126;
}
