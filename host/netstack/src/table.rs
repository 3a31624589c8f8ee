//! A bounded table of flows, found by key and by ticket.
//!
//! A [`Ticket`] is what epoll and timers remember. It names a slot *and* its generation, so an
//! event for a flow that has ended finds nothing instead of its successor.

use std::collections::HashMap;
use std::hash::Hash;

/// The generation is kept in 24 bits, as a ticket shares a `u64` with its kind.
const GENERATION_MASK: u32 = 0x00ff_ffff;

/// Names one entry of a [`Table`] for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    index: u32,
    generation: u32,
}

impl Ticket {
    /// In 56 bits.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let [_, g2, g1, g0, i3, i2, i1, i0] = bits.to_be_bytes();
        Self {
            index: u32::from_be_bytes([i3, i2, i1, i0]),
            generation: u32::from_be_bytes([0, g2, g1, g0]),
        }
    }
}

struct Slot<K, V> {
    generation: u32,
    entry: Option<(K, V)>,
}

/// At most `capacity` values, each with a key.
pub(crate) struct Table<K, V> {
    tickets: HashMap<K, Ticket>,
    slots: Vec<Slot<K, V>>,
    vacant: Vec<u32>,
    capacity: usize,
}

impl<K: Hash + Eq + Clone, V> Table<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            tickets: HashMap::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            capacity,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    pub(crate) fn find(&self, key: &K) -> Option<Ticket> {
        self.tickets.get(key).copied()
    }

    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut V> {
        self.entry_mut(ticket).map(|(_, value)| value)
    }

    pub(crate) fn entry_mut(&mut self, ticket: Ticket) -> Option<(&K, &mut V)> {
        let slot = self.slots.get_mut(ticket.index as usize)?;
        let entry = slot
            .entry
            .as_mut()
            .filter(|_| slot.generation == ticket.generation)?;
        Some((&entry.0, &mut entry.1))
    }

    /// Adds a value made with its own ticket; `None` when the table is full or has the key.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<Ticket> {
        if self.is_full() || self.tickets.contains_key(&key) {
            return None;
        }
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot {
                    generation: 0,
                    entry: None,
                });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.entry = Some((key.clone(), value));
        let ticket = Ticket {
            index,
            generation: slot.generation,
        };
        self.tickets.insert(key, ticket);
        Some(ticket)
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<(K, V)> {
        let slot = self.slots.get_mut(ticket.index as usize)?;
        if slot.generation != ticket.generation {
            return None;
        }
        let (key, value) = slot.entry.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.vacant.push(ticket.index);
        self.tickets.remove(&key);
        Some((key, value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ticket, &K, &V)> {
        (0_u32..).zip(&self.slots).filter_map(|(index, slot)| {
            let (key, value) = slot.entry.as_ref()?;
            Some((
                Ticket {
                    index,
                    generation: slot.generation,
                },
                key,
                value,
            ))
        })
    }

    /// The tickets of every entry that `wanted` picks.
    pub(crate) fn select(&self, mut wanted: impl FnMut(&K, &V) -> bool) -> Vec<Ticket> {
        let picked = self.iter().filter(|(_, key, value)| wanted(key, value));
        picked.map(|(ticket, ..)| ticket).collect()
    }

    /// Removes every entry that `unwanted` picks.
    pub(crate) fn remove_where(&mut self, unwanted: impl FnMut(&K, &V) -> bool) {
        for ticket in self.select(unwanted) {
            self.remove(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_ticket_does_not_find_the_successor() {
        let mut table = Table::new(2);
        let first = table.insert("a", 1).unwrap();
        table.remove(first);

        let second = table.insert("b", 2).unwrap();

        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.get_mut(second), Some(&mut 2));
    }

    #[test]
    fn holds_no_more_than_its_capacity() {
        let mut table = Table::new(1);
        table.insert("a", 1).unwrap();

        assert_eq!(table.insert("b", 2), None);
    }

    #[test]
    fn a_ticket_survives_its_bits() {
        let ticket = Ticket {
            index: 0xdead_beef,
            generation: 0x00ab_cdef,
        };

        assert_eq!(Ticket::from_bits(ticket.to_bits()), ticket);
    }
}
