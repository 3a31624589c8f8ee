//! One microVM as an object: engines, probe, dial.
