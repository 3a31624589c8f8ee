//! Frames that are ready for the guest: answers made while something else came in.
//!
//! Bulk data never waits here; flows make their frames when the guest has room for them.

use std::collections::VecDeque;

use crate::limits::{MAX_OUTBOX_BYTES, MAX_OUTBOX_FRAMES};

#[derive(Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    overflows: u64,
}

impl Outbox {
    /// Queues a frame, or drops and counts it when the guest has let too many pile up.
    pub(crate) fn push(&mut self, frame: Vec<u8>) {
        if self.frames.len() >= MAX_OUTBOX_FRAMES || self.bytes + frame.len() > MAX_OUTBOX_BYTES {
            self.overflows += 1;
            return;
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Copies the oldest frame that fits into `buffer`; one that never would is dropped.
    pub(crate) fn pop(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let frame = self.frames.pop_front()?;
            self.bytes -= frame.len();
            if let Some(room) = buffer.get_mut(..frame.len()) {
                room.copy_from_slice(&frame);
                return Some(frame.len());
            }
            self.overflows += 1;
        }
    }

    pub(crate) fn overflows(&self) -> u64 {
        self.overflows
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_does_not_read_costs_a_bounded_queue() {
        let mut outbox = Outbox::default();

        for _ in 0..=MAX_OUTBOX_FRAMES {
            outbox.push(vec![0; 60]);
        }

        assert_eq!(outbox.overflows(), 1);
    }

    #[test]
    fn large_answers_are_bounded_by_their_bytes() {
        let mut outbox = Outbox::default();

        for _ in 0..100 {
            outbox.push(vec![0; 65_000]);
        }

        assert_eq!(outbox.overflows(), 100 - (MAX_OUTBOX_BYTES / 65_000) as u64);
    }
}
