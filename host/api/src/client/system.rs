//! The daemon itself: what it is, what happens in it, and its machine.

use hyper::Method;
use serde_json::Value;

use super::connection::{Client, full};
use super::error::ClientError;
use super::streamed::StreamedBody;
use super::target::Target;

/// First segment of everything that is ours and not Docker's.
const OWN_SEGMENT: &str = "dhow";

impl Client {
    /// Versions of everything.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub async fn version(&self) -> Result<Value, ClientError> {
        self.fetch(Method::GET, &Target::of(&["version"])).await
    }

    /// Counts, limits and settings.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub async fn info(&self) -> Result<Value, ClientError> {
        self.fetch(Method::GET, &Target::of(&["info"])).await
    }

    /// What happens, and what has happened since a time.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn events(
        &self,
        since: Option<&str>,
        until: Option<&str>,
        filters: Option<&str>,
    ) -> Result<StreamedBody, ClientError> {
        let target = Target::of(&["events"])
            .maybe("since", since)
            .maybe("until", until)
            .maybe("filters", filters);
        self.stream(Method::GET, &target, full(None), None).await
    }

    /// What our daemon has to tell once, such as containers lost with the daemon before it.
    ///
    /// # Errors
    /// 404 from a daemon that is not ours.
    pub async fn notices(&self) -> Result<Vec<String>, ClientError> {
        self.fetch(
            Method::GET,
            &Target::outside_the_api(&[OWN_SEGMENT, "notices"]),
        )
        .await
    }

    /// State of the machine: running or not, engine, kernel, memory, boot time.
    ///
    /// # Errors
    /// 404 from a daemon that is not ours.
    pub async fn machine_status(&self) -> Result<Value, ClientError> {
        self.fetch(
            Method::GET,
            &Target::outside_the_api(&[OWN_SEGMENT, "machine"]),
        )
        .await
    }

    /// Boots the machine, unless it runs; returns its state once it answers.
    ///
    /// # Errors
    /// When no engine is usable or the machine does not come up.
    pub async fn machine_up(&self) -> Result<Value, ClientError> {
        self.fetch(
            Method::POST,
            &Target::outside_the_api(&[OWN_SEGMENT, "machine", "up"]),
        )
        .await
    }

    /// Stops every container and the machine.
    ///
    /// # Errors
    /// When containers run and there is no force, or the machine does not stop.
    pub async fn machine_down(&self, force: bool) -> Result<(), ClientError> {
        let target =
            Target::outside_the_api(&[OWN_SEGMENT, "machine", "down"]).flag("force", force);
        self.command(Method::POST, &target).await
    }

    /// Removes the machine with its data disk: every container's files are gone.
    ///
    /// # Errors
    /// When it runs and there is no force.
    pub async fn machine_remove(&self, force: bool) -> Result<(), ClientError> {
        let target = Target::outside_the_api(&[OWN_SEGMENT, "machine"]).flag("force", force);
        self.command(Method::DELETE, &target).await
    }

    /// Stops every container, the machine and the daemon. Answered before it leaves.
    ///
    /// # Errors
    /// 404 from a daemon that is not ours.
    pub async fn daemon_stop(&self) -> Result<(), ClientError> {
        let target = Target::outside_the_api(&[OWN_SEGMENT, "daemon", "stop"]);
        self.command(Method::POST, &target).await
    }
}
