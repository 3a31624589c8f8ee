//! What the words on the command line mean.
//!
//! The second of three layers: `args` holds what was typed, this turns it into what will be asked
//! of the daemon, and `verbs` does it. Everything here is checked before a daemon is started or a
//! container made, so that a mistyped flag costs nothing.

pub(crate) mod container;
pub(crate) mod duration;
pub(crate) mod environment;
pub(crate) mod filters;
pub(crate) mod health;
pub(crate) mod labels;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod reference;
pub(crate) mod size;
pub(crate) mod timestamp;
pub(crate) mod ulimits;
