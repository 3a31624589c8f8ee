//! `dhow port`.

use dhow_api::client::HostAddress;

use crate::args::look::PortArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;

/// `dhow port`.
pub(crate) async fn port(context: &Context, args: PortArgs) -> Outcome {
    let wanted = args.port.as_deref().map(|port| {
        if port.contains('/') {
            port.to_owned()
        } else {
            format!("{port}/tcp")
        }
    });
    let client = context.client().await?;
    let facts = client.container_facts(&args.container).await?;
    let ports = facts.network_settings.ports;
    let Some(wanted) = wanted else {
        for (port, addresses) in &ports {
            for address in addresses.iter().flatten() {
                output::line(&format!("{port} -> {}", shown(address)))?;
            }
        }
        return Ok(0);
    };
    match ports
        .get(&wanted)
        .and_then(Option::as_ref)
        .filter(|addresses| !addresses.is_empty())
    {
        Some(addresses) => {
            for address in addresses {
                output::line(&shown(address))?;
            }
            Ok(0)
        }
        None => Err(Failure::new(format!(
            "no public port '{wanted}' published for {}",
            args.container
        ))),
    }
}

fn shown(address: &HostAddress) -> String {
    if address.host_ip.contains(':') {
        format!("[{}]:{}", address.host_ip, address.host_port)
    } else {
        format!("{}:{}", address.host_ip, address.host_port)
    }
}
