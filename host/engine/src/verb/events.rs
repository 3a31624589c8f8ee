//! Listens to what happens.

use crate::engine::Engine;
use crate::events::Subscription;
use crate::filter::{FilterError, Filters};
use crate::time::Timestamp;

/// Docker's filters on events.
const FILTERS: [&str; 12] = [
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "service",
    "type",
    "volume",
];

impl Engine {
    /// Events from `since` (none of the past without it) to `until` (on and on without it).
    ///
    /// # Errors
    /// [`FilterError`] on a filter that Docker does not have.
    pub fn subscribe(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        filters: Filters,
    ) -> Result<Subscription, FilterError> {
        filters.only(&FILTERS)?;
        Ok(self.events().subscribe(since, until, filters))
    }
}
