//! How a container's health is checked, and how it is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Docker's defaults (moby, `daemon/health.go`).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;

/// The shortest duration that may be asked for, in nanoseconds: Docker's millisecond.
const MIN_DURATION_NS: i64 = 1_000_000;

/// Results that are kept.
const KEPT_RESULTS: usize = 5;

/// The shell of a `CMD-SHELL` check.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Docker's `HealthConfig`, in an image's configuration, in a request and in an answer. Durations are
/// nanoseconds, 0 is "as inherited, or the default".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    /// `NONE`, `CMD` or `CMD-SHELL` and what follows.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// From the end of one check to the next.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub interval: i64,
    /// How long a check may take.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub timeout: i64,
    /// How long failures do not count after the start.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub start_period: i64,
    /// Instead of the interval during the start period.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "or_default")]
    pub retries: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Go clients send `null` where nothing was set.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Why a check was refused; Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthCheckError {
    /// The first word is none of Docker's.
    #[error("Unknown healthcheck type '{0}' (expected 'CMD')")]
    Type(String),
    /// A duration that is too short.
    #[error("{0} in Healthcheck cannot be less than 1ms")]
    Duration(&'static str),
    /// Fewer than no tries.
    #[error("Retries in Healthcheck cannot be negative")]
    Retries,
}

impl HealthCheck {
    /// Checks words and numbers.
    ///
    /// # Errors
    /// [`HealthCheckError`].
    pub fn check(&self) -> Result<(), HealthCheckError> {
        if let Some(kind) = self.test.first()
            && !["NONE", "CMD", "CMD-SHELL"].contains(&kind.as_str())
        {
            return Err(HealthCheckError::Type(kind.clone()));
        }
        for (name, value) in [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            ("StartPeriod", self.start_period),
            ("StartInterval", self.start_interval),
        ] {
            if value != 0 && value < MIN_DURATION_NS {
                return Err(HealthCheckError::Duration(name));
            }
        }
        if self.retries < 0 {
            return Err(HealthCheckError::Retries);
        }
        Ok(())
    }

    /// Fills what was left open from the image's check.
    pub(crate) fn inherit(&mut self, image: &Self) {
        if self.test.is_empty() {
            self.test.clone_from(&image.test);
        }
        for (own, inherited) in [
            (&mut self.interval, image.interval),
            (&mut self.timeout, image.timeout),
            (&mut self.start_period, image.start_period),
            (&mut self.start_interval, image.start_interval),
            (&mut self.retries, image.retries),
        ] {
            if *own == 0 {
                *own = inherited;
            }
        }
    }

    /// The command to run inside; `None` where nothing is checked.
    #[must_use]
    pub fn command(&self) -> Option<Vec<String>> {
        let (kind, rest) = self.test.split_first()?;
        match kind.as_str() {
            "CMD" if !rest.is_empty() => Some(rest.to_vec()),
            "CMD-SHELL" => {
                let shell = SHELL.map(str::to_owned).into_iter();
                Some(shell.chain([rest.join(" ")]).collect())
            }
            _ => None,
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        duration(self.timeout).unwrap_or(DEFAULT_TIMEOUT)
    }

    /// The wait before the next check of a container that has run for so long.
    pub(crate) fn pause(&self, status: HealthStatus, since_start: Duration) -> Duration {
        if status == HealthStatus::Starting && since_start < self.start_period() {
            duration(self.start_interval).unwrap_or(DEFAULT_START_INTERVAL)
        } else {
            duration(self.interval).unwrap_or(DEFAULT_INTERVAL)
        }
    }

    fn start_period(&self) -> Duration {
        duration(self.start_period).unwrap_or_default()
    }

    fn retries(&self) -> u32 {
        match u32::try_from(self.retries) {
            Ok(0) | Err(_) => DEFAULT_RETRIES,
            Ok(retries) => retries,
        }
    }
}

fn duration(nanoseconds: i64) -> Option<Duration> {
    let nanoseconds = u64::try_from(nanoseconds).ok()?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

/// The `Healthcheck` of an image's configuration, which is Docker's and not OCI's.
pub(crate) fn of_image(config_json: &str) -> Option<HealthCheck> {
    #[derive(Deserialize)]
    struct Document {
        config: Option<BTreeMap<String, serde_json::Value>>,
    }
    let document: Document = serde_json::from_str(config_json).ok()?;
    let check = document.config?.remove("Healthcheck")?;
    serde_json::from_value(check).ok()
}

/// How a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStatus {
    /// Not known yet.
    #[default]
    Starting,
    /// The last check went well.
    Healthy,
    /// Too many checks in a row did not.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How one check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// The command's exit code, or -1 where it has none.
    pub exit_code: i64,
    /// What it said.
    pub output: String,
}

/// The health of a container's current run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How it is.
    pub status: HealthStatus,
    /// Failures in a row that count.
    pub failing_streak: u32,
    /// The latest results, oldest first.
    pub log: VecDeque<HealthResult>,
}

impl Health {
    /// Takes a result in; true where that changed how the container is.
    pub(crate) fn note(
        &mut self,
        check: &HealthCheck,
        result: HealthResult,
        since_start: Duration,
    ) -> bool {
        let before = self.status;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || since_start >= check.start_period() {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries() {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == KEPT_RESULTS {
            self.log.pop_front();
        }
        self.log.push_back(result);
        self.status != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(exit_code: i64) -> HealthResult {
        HealthResult {
            start: Timestamp::from_seconds(1),
            end: Timestamp::from_seconds(2),
            exit_code,
            output: String::new(),
        }
    }

    fn check(json: &str) -> HealthCheck {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_failure_too_many_makes_it_unhealthy() {
        let check = check(r#"{"Test":["CMD","x"],"Retries":2}"#);
        let mut health = Health::default();

        assert!(!health.note(&check, result(1), Duration::ZERO));
        assert!(health.note(&check, result(1), Duration::ZERO));

        assert_eq!(health.status, HealthStatus::Unhealthy);
        assert!(health.note(&check, result(0), Duration::ZERO));
        assert_eq!(health.failing_streak, 0);
    }

    #[test]
    fn failures_of_the_start_period_do_not_count() {
        let check = check(r#"{"Test":["CMD","x"],"Retries":1,"StartPeriod":5000000000}"#);
        let mut health = Health::default();

        health.note(&check, result(1), Duration::from_secs(4));
        assert_eq!(health.status, HealthStatus::Starting);
        health.note(&check, result(1), Duration::from_secs(5));

        assert_eq!(health.status, HealthStatus::Unhealthy);
    }

    #[test]
    fn few_results_are_kept() {
        let mut health = Health::default();

        for code in 0..10 {
            health.note(&HealthCheck::default(), result(code), Duration::ZERO);
        }

        let kept: Vec<i64> = health.log.iter().map(|result| result.exit_code).collect();
        assert_eq!(kept, [5, 6, 7, 8, 9]);
    }

    #[test]
    fn the_images_check_fills_what_was_left_open() {
        let image = of_image(
            r#"{"config":{"Healthcheck":{"Test":["CMD-SHELL","curl","-f"],"Retries":5}}}"#,
        )
        .unwrap();
        let mut own = check(r#"{"Test":null,"Interval":1000000}"#);

        own.inherit(&image);

        let shell = ["/bin/sh", "-c", "curl -f"].map(str::to_owned);
        assert_eq!(own.command().unwrap(), shell);
        assert_eq!((own.interval, own.retries), (1_000_000, 5));
    }

    #[test]
    fn refuses_what_docker_refuses() {
        assert_eq!(
            check(r#"{"Interval":1}"#).check(),
            Err(HealthCheckError::Duration("Interval"))
        );
        assert_eq!(
            check(r#"{"Test":["RUN"]}"#).check(),
            Err(HealthCheckError::Type("RUN".to_owned()))
        );
    }
}
