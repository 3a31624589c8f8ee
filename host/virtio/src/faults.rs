//! Counting what a guest does wrong, with a log that a guest cannot flood.

use std::error::Error;

/// How often a guest made a request that was refused or failed.
#[derive(Debug)]
pub(crate) struct Faults {
    device: &'static str,
    count: u64,
}

impl Faults {
    /// Nothing wrong so far with `device`.
    pub(crate) fn new(device: &'static str) -> Self {
        Self { device, count: 0 }
    }

    /// Counts one fault; logs the first, second, fourth, eighth…, so at most 64 lines in a life.
    pub(crate) fn note(&mut self, reason: &(dyn Error + 'static)) {
        self.count += 1;
        if self.count.is_power_of_two() {
            let (device, count) = (self.device, self.count);
            tracing::warn!(device, count, reason, "request refused or failed");
        }
    }

    /// How many there were.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}
