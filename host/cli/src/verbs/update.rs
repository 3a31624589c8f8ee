//! `dhow update`.

use dhow_api::client::request::ContainerUpdateBody;

use super::attached::tell_warnings;
use super::each::for_each;
use crate::args::lifecycle::UpdateArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::resolve::container;

/// `dhow update`.
pub(crate) async fn update(context: &Context, args: UpdateArgs) -> Outcome {
    let limits = container::limits(
        &args.limits,
        dhow_api::client::request::HostConfig::default(),
    )?;
    let restart_policy = args
        .restart
        .as_deref()
        .map(container::restart_policy)
        .transpose()?;
    let body = ContainerUpdateBody {
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        memory_reservation: limits.memory_reservation,
        nano_cpus: limits.nano_cpus,
        cpu_shares: limits.cpu_shares,
        cpu_quota: limits.cpu_quota,
        cpu_period: limits.cpu_period,
        cpuset_cpus: limits.cpuset_cpus,
        pids_limit: limits.pids_limit,
        restart_policy,
    };
    if body == ContainerUpdateBody::default() {
        return Err(
            Failure::new("you must provide one or more flags when using this command")
                .hint("`dhow update --help` shows what can be changed"),
        );
    }
    let client = context.client().await?;
    for_each(&args.containers, async |name| {
        tell_warnings(&client.update_container(name, &body).await?);
        Ok(())
    })
    .await
}
