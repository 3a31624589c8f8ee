//! Containers: create, start, attach, wait and everything else done to one.

use hyper::Method;

use super::connection::{Client, full};
use super::error::ClientError;
use super::hijack::Hijacked;
use super::models::{ContainerExit, ContainerFacts, ContainerSummary, CreatedContainer, TopReply};
use super::request::ContainerCreateBody;
use super::streamed::StreamedBody;
use super::target::Target;
use crate::warning;

/// What `attach` is to carry.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttachOptions<'text> {
    /// Our input to the process.
    pub stdin: bool,
    /// The process's output to us.
    pub stdout: bool,
    /// Its errors to us.
    pub stderr: bool,
    /// First what it has said so far.
    pub logs: bool,
    /// Keys that detach, for the daemon's own watch over them.
    pub detach_keys: Option<&'text str>,
}

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// At most so many, newest first.
    pub limit: Option<u32>,
    /// Add sizes, which cost time to find out.
    pub size: bool,
    /// Filters as JSON, as the API wants them.
    pub filters: Option<String>,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Go on with what is said from now on.
    pub follow: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Seconds since 1970, with a fraction.
    pub since: Option<String>,
    /// The same for the end.
    pub until: Option<String>,
    /// `all` or a number of lines.
    pub tail: String,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// The container does not run, now or later.
    NotRunning,
    /// Its next exit, even when it has not been started yet.
    NextExit,
    /// It is gone.
    Removed,
}

impl WaitCondition {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// A wait the daemon has accepted: from here on no exit can be missed.
#[derive(Debug)]
pub struct PendingExit {
    body: StreamedBody,
}

impl PendingExit {
    /// How the container ended; `None` when the daemon hung up without saying.
    ///
    /// # Errors
    /// When the connection breaks or the answer makes no sense.
    pub async fn exit(mut self) -> Result<Option<ContainerExit>, ClientError> {
        self.body.next_json().await
    }
}

fn container(id: &str, verb: &str) -> Target {
    Target::of(&["containers", id, verb])
}

impl Client {
    /// Creates a container; it does not run yet.
    ///
    /// # Errors
    /// 404 when there is no such image, 409 when the name is taken, 400 for a bad configuration.
    pub async fn create_container(
        &self,
        name: Option<&str>,
        body: &ContainerCreateBody,
    ) -> Result<CreatedContainer, ClientError> {
        let target = Target::of(&["containers", "create"]).maybe("name", name);
        self.submit(&target, body).await
    }

    /// Starts a container; succeeds also when it already runs. Returns what the user should know,
    /// a line each.
    ///
    /// # Errors
    /// 404 when there is no such container, 400 when its command cannot be executed.
    pub async fn start_container(&self, id: &str) -> Result<Vec<String>, ClientError> {
        let target = container(id, "start");
        let (headers, _empty) = self.exchange(Method::POST, &target, None).await?;
        Ok(warning::read(&headers))
    }

    /// Opens the container's streams.
    ///
    /// # Errors
    /// When there is no such container, or it cannot be attached to.
    pub async fn attach(
        &self,
        id: &str,
        options: &AttachOptions<'_>,
    ) -> Result<Hijacked, ClientError> {
        let target = container(id, "attach")
            .query("stream", "1")
            .flag("stdin", options.stdin)
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .flag("logs", options.logs)
            .maybe("detachKeys", options.detach_keys);
        self.hijack(&target, None).await
    }

    /// Registers a wait; returns as soon as the daemon has accepted it.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn wait_for(
        &self,
        id: &str,
        condition: WaitCondition,
    ) -> Result<PendingExit, ClientError> {
        let target = container(id, "wait").query("condition", condition.as_str());
        let body = self.stream(Method::POST, &target, full(None), None).await?;
        Ok(PendingExit { body })
    }

    /// Lists containers, newest first.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn list_containers(
        &self,
        options: &ListOptions,
    ) -> Result<Vec<ContainerSummary>, ClientError> {
        let limit = options.limit.map(|limit| limit.to_string());
        let target = Target::of(&["containers", "json"])
            .flag("all", options.all)
            .flag("size", options.size)
            .maybe("limit", limit.as_deref())
            .maybe("filters", options.filters.as_deref());
        self.fetch(Method::GET, &target).await
    }

    /// What a verb must know about a container before it can do its work.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn container_facts(&self, id: &str) -> Result<ContainerFacts, ClientError> {
        self.fetch(Method::GET, &container(id, "json")).await
    }

    /// Everything about a container, as the JSON the daemon wrote: the order of fields is part of
    /// what people expect to see.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn inspect_container(&self, id: &str, size: bool) -> Result<String, ClientError> {
        self.fetch_text(&container(id, "json").flag("size", size))
            .await
    }

    /// Its log.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn logs(&self, id: &str, options: &LogOptions) -> Result<StreamedBody, ClientError> {
        let target = container(id, "logs")
            .query("stdout", "1")
            .query("stderr", "1")
            .flag("follow", options.follow)
            .flag("timestamps", options.timestamps)
            .maybe("since", options.since.as_deref())
            .maybe("until", options.until.as_deref())
            .query("tail", &options.tail);
        self.stream(Method::GET, &target, full(None), None).await
    }

    /// Stops a container: its stop signal, then SIGKILL after `timeout_seconds`.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn stop_container(
        &self,
        id: &str,
        signal: Option<&str>,
        timeout_seconds: Option<i64>,
    ) -> Result<(), ClientError> {
        self.end_container("stop", id, signal, timeout_seconds)
            .await
    }

    /// Stops a container and starts it again.
    ///
    /// # Errors
    /// When there is no such container, or it does not start.
    pub async fn restart_container(
        &self,
        id: &str,
        signal: Option<&str>,
        timeout_seconds: Option<i64>,
    ) -> Result<(), ClientError> {
        self.end_container("restart", id, signal, timeout_seconds)
            .await
    }

    async fn end_container(
        &self,
        verb: &str,
        id: &str,
        signal: Option<&str>,
        timeout_seconds: Option<i64>,
    ) -> Result<(), ClientError> {
        let timeout = timeout_seconds.map(|seconds| seconds.to_string());
        let target = container(id, verb)
            .maybe("signal", signal)
            .maybe("t", timeout.as_deref());
        self.command(Method::POST, &target).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// 409 when the container does not run.
    pub async fn kill_container(&self, id: &str, signal: &str) -> Result<(), ClientError> {
        self.command(Method::POST, &container(id, "kill").query("signal", signal))
            .await
    }

    /// Removes a container, with force also a running one.
    ///
    /// # Errors
    /// 409 when it runs and there is no force.
    pub async fn remove_container(
        &self,
        id: &str,
        force: bool,
        volumes: bool,
    ) -> Result<(), ClientError> {
        let target = Target::of(&["containers", id])
            .flag("force", force)
            .flag("v", volumes);
        self.command(Method::DELETE, &target).await
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// 409 when the name is taken.
    pub async fn rename_container(&self, id: &str, name: &str) -> Result<(), ClientError> {
        self.command(Method::POST, &container(id, "rename").query("name", name))
            .await
    }

    /// Freezes every process of a container.
    ///
    /// # Errors
    /// 409 when it does not run.
    pub async fn pause_container(&self, id: &str) -> Result<(), ClientError> {
        self.command(Method::POST, &container(id, "pause")).await
    }

    /// Lets a frozen container go on.
    ///
    /// # Errors
    /// 409 when it is not paused.
    pub async fn unpause_container(&self, id: &str) -> Result<(), ClientError> {
        self.command(Method::POST, &container(id, "unpause")).await
    }

    /// Tells a container's terminal its new size.
    ///
    /// # Errors
    /// When it has no terminal or does not run.
    pub async fn resize_container(
        &self,
        id: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), ClientError> {
        let target = container(id, "resize")
            .query("h", &rows.to_string())
            .query("w", &columns.to_string());
        self.command(Method::POST, &target).await
    }

    /// The processes of a container, as `ps` with these arguments shows them.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn top(&self, id: &str, ps_arguments: &str) -> Result<TopReply, ClientError> {
        let arguments = (!ps_arguments.is_empty()).then_some(ps_arguments);
        self.fetch(
            Method::GET,
            &container(id, "top").maybe("ps_args", arguments),
        )
        .await
    }
}
