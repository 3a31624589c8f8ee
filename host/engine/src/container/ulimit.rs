//! One resource limit of a process, as Docker has it: what is valid is said here and nowhere else.

use serde::{Deserialize, Serialize};

/// Docker's names of resource limits, upper case being the kernel's with `RLIMIT_` before.
const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One resource limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's name: `nofile`, `nproc`…
    pub name: String,
    /// What applies; -1 is no limit.
    pub soft: i64,
    /// What the process may raise it to; -1 is no limit.
    pub hard: i64,
}

/// Why a resource limit was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// Nobody knows it.
    #[error("invalid ulimit type: {0}")]
    Unknown(String),
    /// The soft limit is above the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    SoftAboveHard {
        /// The soft one.
        soft: i64,
        /// The hard one.
        hard: i64,
    },
}

impl Ulimit {
    /// Checks name and numbers.
    ///
    /// # Errors
    /// [`UlimitError`].
    pub fn check(&self) -> Result<(), UlimitError> {
        if !NAMES.contains(&self.name.as_str()) {
            return Err(UlimitError::Unknown(self.name.clone()));
        }
        let (soft, hard) = (self.soft, self.hard);
        if Self::in_kernel(soft) > Self::in_kernel(hard) {
            return Err(UlimitError::SoftAboveHard { soft, hard });
        }
        Ok(())
    }

    /// The kernel's number: its largest is no limit.
    pub(crate) fn in_kernel(value: i64) -> u64 {
        u64::try_from(value).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nofile(soft: i64, hard: i64) -> Ulimit {
        Ulimit {
            name: "nofile".to_owned(),
            soft,
            hard,
        }
    }

    #[test]
    fn no_limit_is_above_every_limit() {
        assert_eq!(nofile(1024, -1).check(), Ok(()));
        assert_eq!(
            nofile(-1, 1024).check(),
            Err(UlimitError::SoftAboveHard {
                soft: -1,
                hard: 1024
            })
        );
    }

    #[test]
    fn refuses_a_soft_limit_above_the_hard_one() {
        assert_eq!(
            nofile(2, 1).check(),
            Err(UlimitError::SoftAboveHard { soft: 2, hard: 1 })
        );
    }
}
