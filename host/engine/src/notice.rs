//! What the user should be told once, by whichever command comes next: containers that were lost with
//! the daemon before, or with a machine that ended by itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Notices kept for a user who gives no commands; the oldest go first.
const MAX_NOTICES: usize = 16;

/// Lines for the user; clones are the same lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Mutex<VecDeque<String>>>);

impl Notices {
    pub(crate) fn add(&self, line: String) {
        let mut lines = self.locked();
        if lines.len() == MAX_NOTICES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// All of them, which are told then.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.locked()).into()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.locked().is_empty()
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_nobody_listens() {
        let notices = Notices::default();
        (0..=MAX_NOTICES).for_each(|number| notices.add(number.to_string()));

        let told = notices.take();

        assert_eq!((told.len(), told[0].as_str()), (MAX_NOTICES, "1"));
        assert!(notices.is_empty());
    }
}
