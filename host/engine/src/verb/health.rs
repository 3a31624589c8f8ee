//! Checks the health of a running container again and again, until its run ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::container::health::{Health, HealthCheck, HealthResult};
use crate::container::{Container, Phase};
use crate::engine::Engine;
use crate::exec::{ExecConfig, ExecPhase};
use crate::signal::SignalNumber;
use crate::stream::{Attachment, Selection};
use crate::time::Timestamp;

/// The most of a check's output that is kept, in bytes.
const MAX_OUTPUT_BYTES: usize = 4096;

/// The exit code of a check that has none.
const NO_EXIT_CODE: i64 = -1;

/// How long a check that was killed may take to end before the next one is made all the same.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

impl Engine {
    /// Watches over the run that has just begun, in a task that ends with it.
    pub(super) fn watch_health(&self, container: &Arc<Container>) {
        let check = container.record().config.healthcheck;
        let Some((check, command)) =
            check.and_then(|check| check.command().map(|command| (check, command)))
        else {
            container.set_health(None);
            return;
        };
        container.set_health(Some(Health::default()));
        let run = container.status().started_at;
        let (engine, container) = (self.clone(), Arc::clone(container));
        tokio::spawn(async move {
            let over = container.until(|now| !now.phase.is_running() || now.started_at != run);
            tokio::select! {
                _ = over => {}
                () = engine.check_again_and_again(&container, &check, &command) => {}
            }
        });
    }

    async fn check_again_and_again(
        &self,
        container: &Arc<Container>,
        check: &HealthCheck,
        command: &[String],
    ) {
        let begin = Instant::now();
        loop {
            let status = container.health().map(|health| health.status);
            let pause = check.pause(status.unwrap_or_default(), begin.elapsed());
            tokio::time::sleep(pause).await;
            if matches!(container.status().phase, Phase::Paused { .. }) {
                continue;
            }
            let start = Timestamp::now();
            let (exit_code, output) = self.probe(container, check, command).await;
            let result = HealthResult {
                start,
                end: Timestamp::now(),
                exit_code,
                output,
            };
            if let Some(status) = container.note_health(check, result, begin.elapsed()) {
                let action = format!("health_status: {}", status.name());
                self.announce(container, &action, &[]);
            }
        }
    }

    /// Makes one check: its exit code and its output.
    async fn probe(
        &self,
        container: &Container,
        check: &HealthCheck,
        command: &[String],
    ) -> (i64, String) {
        let config = ExecConfig {
            command: command.to_vec(),
            attach_stdout: true,
            attach_stderr: true,
            ..ExecConfig::default()
        };
        let selection = Selection {
            stdin: false,
            stdout: true,
            stderr: true,
        };
        let exec = match self.exec_create(container.id().as_str(), config) {
            Ok(exec) => exec,
            Err(error) => return (NO_EXIT_CODE, error.to_string()),
        };
        let id = exec.id.as_str();
        let mut attachment = match self.exec_start(id, selection, None).await {
            Ok(attachment) => attachment,
            Err(error) => return (NO_EXIT_CODE, error.to_string()),
        };
        let patience = check.timeout();
        let mut output = Vec::new();
        if timeout(patience, collect(&mut attachment, &mut output))
            .await
            .is_err()
        {
            self.signal_exec(container, id, SignalNumber::KILL).await;
            let rest = collect(&mut attachment, &mut output);
            let _late = timeout(KILL_TIMEOUT, rest).await.is_err();
            let told = format!("Health check exceeded timeout ({patience:?})");
            return (NO_EXIT_CODE, told);
        }
        let output = String::from_utf8_lossy(&output).into_owned();
        match exec.phase() {
            ExecPhase::Exited { code } => (code, output),
            _ => (NO_EXIT_CODE, output),
        }
    }
}

/// Takes all output, keeping the first part of it.
async fn collect(attachment: &mut Attachment, kept: &mut Vec<u8>) {
    while let Some(frame) = attachment.output.recv().await {
        let payload = frame.payload();
        let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&payload[..room.min(payload.len())]);
    }
}
