//! Where a container is in its life.
//!
//! ```text
//!            Start            Started            Paused
//!  Created ────────► Starting ────────► Running ◄──────► Paused
//!     ▲                 │ │                │  Resumed       │
//!     └── StartFailed ──┘ └─ StartFailed ┐ │ Ended          │ Ended
//!                                        ▼ ▼                │
//!                       Start ◄──────── Exited ◄────────────┘
//!
//!  Running, Paused ── Ended, to be restarted ──► Restarting ── Start ──► Starting
//!                                                    └── GiveUp ──► Exited
//!
//!  Created, Exited ── Remove ──► Removing ── Removed ──► Removed
//! ```
//!
//! Rule: [`Status::after`] is the only place where a phase changes.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The exit code Docker reports for a process that was killed.
pub const KILLED_EXIT_CODE: i64 = 137;

/// A container's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Never started.
    Created,
    /// A start is under way.
    Starting,
    /// Its process runs.
    Running {
        /// The process as the machine sees it.
        pid: u32,
    },
    /// Its processes are frozen.
    Paused {
        /// The process as the machine sees it.
        pid: u32,
    },
    /// Its process has ended, and it is about to be started again.
    Restarting,
    /// Its process has ended.
    Exited,
    /// It is being removed.
    Removing,
    /// It is gone.
    Removed,
}

/// The phase, and how the last run went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where it is.
    pub phase: Phase,
    /// Exit code of the last run.
    pub exit_code: i64,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// Why the last run did not start or was cut short.
    pub error: String,
    /// When the last run started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How many runs have ended, for those who wait for the next.
    pub exits: u64,
}

/// What happens to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Somebody starts it.
    Start,
    /// Its process runs.
    Started {
        /// The process as the machine sees it.
        pid: u32,
        /// When.
        at: Timestamp,
    },
    /// The start did not work.
    StartFailed {
        /// 125, 126 or 127.
        exit_code: i64,
        /// Why.
        error: String,
    },
    /// Frozen.
    Paused,
    /// Thawed.
    Resumed,
    /// Its process ended.
    Ended {
        /// Its exit code.
        exit_code: i64,
        /// Whether for want of memory.
        oom_killed: bool,
        /// Why it was cut short, or empty.
        error: String,
        /// When.
        at: Timestamp,
        /// Whether it will be started again soon.
        restarts: bool,
    },
    /// It is not started again after all.
    GiveUp,
    /// Somebody removes it.
    Remove,
    /// Removing did not work.
    RemoveFailed,
    /// It is gone.
    Removed,
}

/// A change that the phase forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a container that is {from} cannot do that")]
pub struct Forbidden {
    /// The phase it is in, as Docker names it.
    pub from: &'static str,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            phase: Phase::Created,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: None,
            finished_at: None,
            exits: 0,
        }
    }
}

impl Phase {
    /// Docker's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created | Self::Starting => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing | Self::Removed => "removing",
        }
    }

    /// Whether a process is there, frozen or not.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused { .. })
    }

    /// Whether a process is there or about to be.
    #[must_use]
    pub fn is_active(self) -> bool {
        self.is_running() || matches!(self, Self::Starting | Self::Restarting)
    }
}

impl Status {
    /// The status after a change.
    ///
    /// # Errors
    /// [`Forbidden`] where the phase does not allow it.
    pub fn after(&self, change: Change) -> Result<Self, Forbidden> {
        let mut next = self.clone();
        match (self.phase, change) {
            (Phase::Created | Phase::Exited | Phase::Restarting, Change::Start) => {
                next.phase = Phase::Starting;
                next.error.clear();
            }
            (Phase::Starting, Change::Started { pid, at }) => {
                next.phase = Phase::Running { pid };
                next.started_at = Some(at);
                next.finished_at = None;
                next.exit_code = 0;
                next.oom_killed = false;
            }
            (Phase::Starting, Change::StartFailed { exit_code, error }) => {
                next.phase = self.started_at.map_or(Phase::Created, |_| Phase::Exited);
                next.exit_code = exit_code;
                next.error = error;
                next.exits += 1;
            }
            (Phase::Running { pid }, Change::Paused) => next.phase = Phase::Paused { pid },
            (Phase::Paused { pid }, Change::Resumed) => next.phase = Phase::Running { pid },
            (
                Phase::Running { .. } | Phase::Paused { .. } | Phase::Starting,
                Change::Ended {
                    exit_code,
                    oom_killed,
                    error,
                    at,
                    restarts,
                },
            ) => {
                next.phase = if restarts {
                    Phase::Restarting
                } else {
                    Phase::Exited
                };
                next.exit_code = exit_code;
                next.oom_killed = oom_killed;
                next.error = error;
                next.finished_at = Some(at);
                next.exits += u64::from(!restarts);
            }
            (Phase::Restarting, Change::GiveUp) => {
                next.phase = Phase::Exited;
                next.exits += 1;
            }
            (Phase::Created | Phase::Exited, Change::Remove) => next.phase = Phase::Removing,
            (Phase::Removing, Change::RemoveFailed) => {
                next.phase = self.started_at.map_or(Phase::Created, |_| Phase::Exited);
            }
            (Phase::Removing, Change::Removed) => next.phase = Phase::Removed,
            _ => {
                return Err(Forbidden {
                    from: self.phase.name(),
                });
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: i64) -> Change {
        Change::Ended {
            exit_code,
            oom_killed: false,
            error: String::new(),
            at: Timestamp::from_seconds(2),
            restarts: false,
        }
    }

    fn running() -> Status {
        Status::default()
            .after(Change::Start)
            .unwrap()
            .after(Change::Started {
                pid: 7,
                at: Timestamp::from_seconds(1),
            })
            .unwrap()
    }

    #[test]
    fn a_run_ends_with_its_exit_code() {
        let status = running().after(ended(3)).unwrap();

        assert_eq!(status.phase, Phase::Exited);
        assert_eq!((status.exit_code, status.exits), (3, 1));
    }

    #[test]
    fn a_running_container_starts_no_second_time() {
        assert_eq!(
            running().after(Change::Start),
            Err(Forbidden { from: "running" })
        );
    }

    #[test]
    fn a_running_container_is_not_removed() {
        running().after(Change::Remove).unwrap_err();
    }

    #[test]
    fn a_failed_first_start_leaves_it_created() {
        let status = Status::default().after(Change::Start).unwrap();

        let status = status
            .after(Change::StartFailed {
                exit_code: 127,
                error: "no such command".to_owned(),
            })
            .unwrap();

        assert_eq!((status.phase, status.exit_code), (Phase::Created, 127));
    }

    #[test]
    fn a_run_that_is_followed_by_another_is_no_exit() {
        let again = Change::Ended {
            exit_code: 1,
            oom_killed: false,
            error: String::new(),
            at: Timestamp::from_seconds(2),
            restarts: true,
        };

        let restarting = running().after(again).unwrap();

        assert_eq!((restarting.phase, restarting.exits), (Phase::Restarting, 0));
        let given_up = restarting.after(Change::GiveUp).unwrap();
        assert_eq!((given_up.phase, given_up.exits), (Phase::Exited, 1));
        assert_eq!(
            restarting.after(Change::Start).unwrap().phase,
            Phase::Starting
        );
    }

    #[test]
    fn a_paused_container_can_end() {
        let paused = running().after(Change::Paused).unwrap();

        assert_eq!(paused.after(ended(137)).unwrap().phase, Phase::Exited);
    }
}
