//! Restart policies: whether a container that ended is started again, and how long that waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The first wait before a restart; each one that follows soon waits twice as long (moby,
/// `restartmanager`).
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A run of at least so long was a good one: the next wait is the first one again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// When a container is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it ends, unless it was stopped; and when the daemon starts, even then.
    Always,
    /// Whenever it ends, and when the daemon starts, unless it was stopped.
    UnlessStopped,
    /// When its exit code is not 0.
    OnFailure {
        /// At most so often; 0 is no limit.
        times: u32,
    },
}

/// Why a policy was refused; Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestartPolicyError {
    /// No such policy.
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    Unknown(String),
    /// Only failures are counted.
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    Count,
    /// Fewer than none.
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    NegativeCount,
}

impl RestartPolicy {
    /// Docker's name and count.
    ///
    /// # Errors
    /// [`RestartPolicyError`].
    pub fn parse(name: &str, times: i64) -> Result<Self, RestartPolicyError> {
        let policy = match name {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                let times = u32::try_from(times).map_err(|_| RestartPolicyError::NegativeCount)?;
                return Ok(Self::OnFailure { times });
            }
            other => return Err(RestartPolicyError::Unknown(other.to_owned())),
        };
        if times != 0 {
            return Err(RestartPolicyError::Count);
        }
        Ok(policy)
    }

    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure { .. } => "on-failure",
        }
    }

    /// Docker's `MaximumRetryCount`.
    #[must_use]
    pub fn times(self) -> u32 {
        match self {
            Self::OnFailure { times } => times,
            _ => 0,
        }
    }

    /// Whether a container that ended by itself is started again.
    #[must_use]
    pub fn restarts(self, exit_code: i64, restarts_before: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure { times } => exit_code != 0 && (times == 0 || restarts_before < times),
        }
    }

    /// Whether a container that ran once is started with the daemon.
    #[must_use]
    pub fn starts_with_daemon(self, stopped_by_user: bool) -> bool {
        match self {
            Self::Always => true,
            Self::UnlessStopped => !stopped_by_user,
            Self::No | Self::OnFailure { .. } => false,
        }
    }
}

/// How long the next restart waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The last wait; none before the first restart.
    last: Option<Duration>,
}

impl Backoff {
    /// The wait after a run of this length.
    pub(crate) fn next(&mut self, run: Duration) -> Duration {
        let pause = match self.last {
            Some(last) if run < GOOD_RUN => LONGEST_PAUSE.min(last * 2),
            _ => FIRST_PAUSE,
        };
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        let on_failure = RestartPolicy::parse("on-failure", 3);

        assert_eq!(on_failure, Ok(RestartPolicy::OnFailure { times: 3 }));
        assert_eq!(RestartPolicy::parse("", 0), Ok(RestartPolicy::No));
        assert_eq!(
            RestartPolicy::parse("always", 3),
            Err(RestartPolicyError::Count)
        );
        assert_eq!(
            RestartPolicy::parse("on-failure", -1),
            Err(RestartPolicyError::NegativeCount)
        );
    }

    #[test]
    fn failures_are_counted() {
        let policy = RestartPolicy::OnFailure { times: 2 };

        assert!(policy.restarts(1, 1));
        assert!(!policy.restarts(1, 2));
        assert!(!policy.restarts(0, 0));
        assert!(RestartPolicy::OnFailure { times: 0 }.restarts(1, 1000));
    }

    #[test]
    fn a_stopped_container_starts_with_the_daemon_only_if_always() {
        assert!(RestartPolicy::Always.starts_with_daemon(true));
        assert!(!RestartPolicy::UnlessStopped.starts_with_daemon(true));
        assert!(RestartPolicy::UnlessStopped.starts_with_daemon(false));
        assert!(!RestartPolicy::OnFailure { times: 0 }.starts_with_daemon(false));
    }

    #[test]
    fn waits_double_until_a_run_is_good() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);

        assert_eq!(backoff.next(short), FIRST_PAUSE);
        assert_eq!(backoff.next(short), FIRST_PAUSE * 2);
        assert_eq!(backoff.next(GOOD_RUN), FIRST_PAUSE);
        assert_eq!(
            (0..20).map(|_| backoff.next(short)).last(),
            Some(LONGEST_PAUSE)
        );
    }
}
