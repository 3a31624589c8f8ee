//! Changes the limits and the restart policy of a container, running or not.

use dhow_protocol::{Reply, Request};

use crate::class::{Classified, ErrorClass};
use crate::container::{Container, LookupError, Phase, Resources, RestartPolicy};
use crate::engine::Engine;
use crate::guest::GuestError;
use crate::oci::LimitError;
use crate::oci::limits;

/// What to change; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateOptions {
    /// Memory in bytes.
    pub memory: Option<i64>,
    /// Memory and swap together in bytes.
    pub memory_swap: Option<i64>,
    /// Soft limit of memory in bytes.
    pub memory_reservation: Option<i64>,
    /// CPUs in 10⁻⁹.
    pub nano_cpus: Option<i64>,
    /// Microseconds of CPU a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds of a period.
    pub cpu_period: Option<i64>,
    /// Relative weight.
    pub cpu_shares: Option<i64>,
    /// CPUs to run on.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use.
    pub cpuset_mems: Option<String>,
    /// Processes and threads at most.
    pub pids_limit: Option<i64>,
    /// When it is started again.
    pub restart_policy: Option<RestartPolicy>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It is being removed.
    #[error(
        "Cannot update container {0}: Container is marked for removal and cannot be \"update\"."
    )]
    BeingRemoved(String),
    /// It cannot be both.
    #[error("Restart policy cannot be updated because AutoRemove is enabled for the container")]
    RemovedAndRestarted,
    /// A limit that makes no sense.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The machine refused or failed.
    #[error("Cannot update container {container}")]
    Guest {
        /// Which.
        container: String,
        /// Why.
        #[source]
        source: GuestError,
    },
}

impl Classified for UpdateError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::BeingRemoved(_) => ErrorClass::Conflict,
            Self::RemovedAndRestarted | Self::Limit(_) => ErrorClass::InvalidParameter,
            Self::Guest { .. } => ErrorClass::Internal,
        }
    }
}

impl UpdateOptions {
    /// The limits after the change.
    fn applied(&self, before: &Resources) -> Resources {
        let number = |new: Option<i64>, old: i64| new.filter(|new| *new != 0).unwrap_or(old);
        let text = |new: &Option<String>, old: &String| {
            let new = new.as_ref().filter(|new| !new.is_empty());
            new.unwrap_or(old).clone()
        };
        let mut after = Resources {
            memory: number(self.memory, before.memory),
            memory_swap: number(self.memory_swap, before.memory_swap),
            memory_reservation: number(self.memory_reservation, before.memory_reservation),
            nano_cpus: number(self.nano_cpus, before.nano_cpus),
            cpu_quota: number(self.cpu_quota, before.cpu_quota),
            cpu_period: number(self.cpu_period, before.cpu_period),
            cpu_shares: number(self.cpu_shares, before.cpu_shares),
            cpuset_cpus: text(&self.cpuset_cpus, &before.cpuset_cpus),
            cpuset_mems: text(&self.cpuset_mems, &before.cpuset_mems),
            pids_limit: number(self.pids_limit, before.pids_limit),
            ..before.clone()
        };
        // The two ways to limit CPUs exclude each other; the new one wins.
        if self.nano_cpus.is_some_and(|cpus| cpus != 0) {
            (after.cpu_quota, after.cpu_period) = (0, 0);
        } else if after.cpu_quota != before.cpu_quota || after.cpu_period != before.cpu_period {
            after.nano_cpus = 0;
        }
        after
    }
}

impl Engine {
    /// Changes limits and restart policy; a container that runs is limited at once. Returns what the
    /// user should know.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub async fn update(
        &self,
        reference: &str,
        options: UpdateOptions,
    ) -> Result<Vec<String>, UpdateError> {
        let container = self.container(reference)?;
        let record = container.record();
        if matches!(record.status.phase, Phase::Removing | Phase::Removed) {
            return Err(UpdateError::BeingRemoved(reference.to_owned()));
        }
        let restarts = options
            .restart_policy
            .is_some_and(|policy| policy != RestartPolicy::No);
        if restarts && record.host_config.auto_remove {
            return Err(UpdateError::RemovedAndRestarted);
        }
        let resources = options.applied(&record.host_config.resources);
        let limits = limits::resources(&resources, record.host_config.privileged)?;
        let warnings = if resources == record.host_config.resources {
            Vec::new()
        } else {
            self.limit_running(&container, limits.to_string()).await?
        };
        container.update_host_config(|host| {
            host.resources = resources;
            if let Some(policy) = options.restart_policy {
                host.restart_policy = policy;
            }
        });
        self.announce(&container, "update", &[]);
        Ok(warnings)
    }

    async fn limit_running(
        &self,
        container: &Container,
        resources_json: String,
    ) -> Result<Vec<String>, UpdateError> {
        let lease = match self.machine().running() {
            Some(lease) if container.status().phase.is_running() => lease,
            _ => return Ok(Vec::new()),
        };
        let request = Request::Update {
            container: container.id().to_string(),
            resources_json,
        };
        let failed = |source| UpdateError::Guest {
            container: container.id().to_string(),
            source,
        };
        match lease.guest().call(&request).await.map_err(failed)? {
            Reply::Updated { warnings } => Ok(warnings),
            other => Err(failed(GuestError::OutOfTurn(Box::new(other)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let before = Resources {
            memory: 64 << 20,
            pids_limit: 10,
            ..Resources::default()
        };
        let options = UpdateOptions {
            pids_limit: Some(20),
            memory: Some(0),
            ..UpdateOptions::default()
        };

        let after = options.applied(&before);

        assert_eq!((after.memory, after.pids_limit), (64 << 20, 20));
    }

    #[test]
    fn the_newer_way_to_limit_cpus_wins() {
        let before = Resources {
            nano_cpus: 1_000_000_000,
            ..Resources::default()
        };
        let options = UpdateOptions {
            cpu_quota: Some(50_000),
            ..UpdateOptions::default()
        };

        let after = options.applied(&before);

        assert_eq!((after.nano_cpus, after.cpu_quota), (0, 50_000));
    }
}
