//! Tasks in bounded memory: all of them as long as there is room, then those that a hash of their name chooses.

use std::collections::BTreeMap;

use trilane_protocol::{AgentName, TaskId};

/// Which task: an id is unique within its agent.
pub(super) type Key = (AgentName, TaskId);

/// What is held of tasks. The choice depends on the name alone, so that all records of a task are held or none is, in
/// whatever order they come.
#[derive(Debug)]
pub(super) struct Sample<T> {
    held: BTreeMap<Key, T>,
    most: usize,
    halvings: u32,
}

impl<T: Default> Sample<T> {
    /// Holds `most` tasks at most, 1 at least.
    pub(super) fn new(most: usize) -> Self {
        Self { held: BTreeMap::new(), most: most.max(1), halvings: 0 }
    }

    /// What is held of a task, made where it is new; `None` where the task was not chosen.
    pub(super) fn entry(&mut self, key: &Key) -> Option<&mut T> {
        if !is_chosen(key, self.halvings) {
            return None;
        }
        self.held.entry(key.clone()).or_default();
        while self.held.len() > self.most && self.halvings < u64::BITS {
            self.halvings += 1;
            let halvings = self.halvings;
            self.held.retain(|key, _| is_chosen(key, halvings));
        }
        self.held.get_mut(key)
    }

    /// What is held of a task, where anything is.
    pub(super) fn known(&mut self, key: &Key) -> Option<&mut T> {
        self.held.get_mut(key)
    }

    /// How many tasks stand behind each that is held; 1 where all are.
    pub(super) fn one_in(&self) -> u64 {
        1_u64.checked_shl(self.halvings).unwrap_or(u64::MAX)
    }

    /// All that is held, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.held.iter()
    }
}

/// One task in two is left by each halving.
fn is_chosen((agent, task_id): &Key, halvings: u32) -> bool {
    hash(agent.as_str(), task_id.as_str()).trailing_zeros() >= halvings
}

/// FNV-1a, then the finaliser of MurmurHash3, whose low bits are even.
fn hash(agent: &str, task_id: &str) -> u64 {
    let bytes = agent.bytes().chain([b'.']).chain(task_id.bytes());
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: usize) -> Key {
        (AgentName::new("sales").unwrap(), TaskId::new(format!("t{index}")).unwrap())
    }

    #[test]
    fn beyond_its_room_it_holds_a_fair_share() {
        let mut sample: Sample<u32> = Sample::new(1_000);
        for index in 0..10_000 {
            sample.entry(&key(index));
        }
        let held = sample.iter().count();
        assert!((501..=1_000).contains(&held), "{held}");
        let estimated = held as u64 * sample.one_in();
        assert!((9_000..11_000).contains(&estimated), "{estimated}");
    }

    #[test]
    fn the_order_of_records_changes_nothing() {
        let held = |indices: Vec<usize>| {
            let mut sample: Sample<u32> = Sample::new(50);
            for index in indices {
                sample.entry(&key(index));
            }
            sample.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(held((0..400).collect()), held((0..400).rev().collect()));
    }

    #[test]
    fn with_room_for_all_none_is_left_out() {
        let mut sample: Sample<u32> = Sample::new(10);
        (0..10).for_each(|index| assert!(sample.entry(&key(index)).is_some()));
        assert_eq!((sample.iter().count(), sample.one_in()), (10, 1));
    }
}
