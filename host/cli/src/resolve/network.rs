//! From `--network` and its company to what the API takes.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use dhow_api::client::request::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkCreateRequest, NetworkingConfig,
};

use crate::args::container::NetworkArgs;
use crate::args::network::{ConnectArgs, CreateArgs};
use crate::resolve::labels;

/// A container's networks: the mode, and what it asks of each.
#[derive(Debug, PartialEq)]
pub(crate) struct Networks {
    /// Docker's `NetworkMode`.
    pub(crate) mode: String,
    /// By network.
    pub(crate) config: Option<NetworkingConfig>,
    /// Legacy links, where the mode is the default bridge.
    pub(crate) links: Option<Vec<String>>,
}

/// Reads `--network` and what goes with it.
pub(crate) fn resolve(args: &NetworkArgs) -> Result<Networks> {
    let mut asked = Vec::new();
    for text in &args.network {
        asked.push(parse(text)?);
    }
    if asked.is_empty() {
        asked.push(("default".to_owned(), EndpointSettings::default()));
    }
    let further = asked.len() > 1;
    if further && asked.iter().any(|(name, _)| !is_bridge_like(name)) {
        bail!(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        );
    }
    let mode = asked[0].0.clone();
    let user_defined = is_bridge_like(&mode) && !matches!(mode.as_str(), "default" | "bridge");
    let first = &mut asked[0].1;
    first
        .aliases
        .get_or_insert_default()
        .extend(args.network_alias.iter().cloned());
    set_address(
        &mut first.ipam_config,
        args.ip.as_deref(),
        args.ip6.as_deref(),
    );
    if let Some(mac) = &args.mac_address {
        first.mac_address = Some(mac.clone());
    }
    if !args.link_local_ip.is_empty() {
        bail!("--link-local-ip is not available in this version");
    }
    let links = (!args.link.is_empty()).then(|| args.link.clone());
    let (own, legacy) = if user_defined {
        (links, None)
    } else {
        (None, links)
    };
    first.links = own;
    first.aliases = first.aliases.take().filter(|aliases| !aliases.is_empty());
    // Without anything to say, the mode says it all.
    let endpoints: HashMap<_, _> = asked
        .into_iter()
        .filter(|(_, settings)| further || *settings != EndpointSettings::default())
        .collect();
    Ok(Networks {
        mode,
        config: (!endpoints.is_empty()).then_some(NetworkingConfig {
            endpoints_config: Some(endpoints),
        }),
        links: legacy,
    })
}

fn is_bridge_like(name: &str) -> bool {
    !matches!(name, "none" | "host") && !name.starts_with("container:")
}

fn set_address(config: &mut Option<EndpointIpamConfig>, ipv4: Option<&str>, ipv6: Option<&str>) {
    if ipv4.is_none() && ipv6.is_none() {
        return;
    }
    let config = config.get_or_insert_default();
    config.ipv4_address = ipv4.map(str::to_owned).or(config.ipv4_address.take());
    config.ipv6_address = ipv6.map(str::to_owned).or(config.ipv6_address.take());
}

/// `NAME`, or `name=NAME,alias=…,ip=…` and so on.
fn parse(text: &str) -> Result<(String, EndpointSettings)> {
    let mut settings = EndpointSettings::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), settings));
    }
    let mut name = None;
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            bail!("invalid field {field:?} in --network");
        };
        let owned = value.to_owned();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => name = Some(owned),
            "alias" => settings.aliases.get_or_insert_default().push(owned),
            "ip" => set_address(&mut settings.ipam_config, Some(value), None),
            "ip6" => set_address(&mut settings.ipam_config, None, Some(value)),
            "mac-address" => settings.mac_address = Some(owned),
            "driver-opt" => {
                let (key, value) = value.split_once('=').unwrap_or((value, ""));
                let options = settings.driver_opts.get_or_insert_default();
                options.insert(key.to_owned(), value.to_owned());
            }
            "gw-priority" => {
                let number = value.parse();
                let number = number.with_context(|| format!("invalid gw-priority {value:?}"))?;
                settings.gw_priority = Some(number);
            }
            other => bail!("invalid field key {other:?} in --network"),
        }
    }
    let name = name.with_context(|| format!("--network {text:?} names no network"))?;
    Ok((name, settings))
}

/// `dhow network create`.
pub(crate) fn create(args: &CreateArgs) -> Result<NetworkCreateRequest> {
    if !args.aux_address.is_empty() {
        bail!("--aux-address is not available in this version");
    }
    let subnets = args.subnet.len();
    if args.gateway.len() > subnets.max(1) || args.ip_range.len() > subnets.max(1) {
        bail!("every --ip-range or --gateway must have a corresponding --subnet");
    }
    let at = |list: &[String], index: usize| list.get(index).cloned();
    let count = subnets.max(args.gateway.len()).max(args.ip_range.len());
    let configs = (0..count).map(|index| IpamConfig {
        subnet: at(&args.subnet, index),
        gateway: at(&args.gateway, index),
        ip_range: at(&args.ip_range, index),
        ..IpamConfig::default()
    });
    Ok(NetworkCreateRequest {
        name: args.name.clone(),
        driver: Some(args.driver.clone()),
        scope: args.scope.clone(),
        internal: Some(args.internal),
        attachable: Some(args.attachable),
        ipam: Some(Ipam {
            driver: Some(args.ipam_driver.clone()),
            config: Some(configs.collect()),
            options: None,
        }),
        enable_ipv6: Some(args.ipv6),
        options: Some(labels::resolve(&args.opt, &NO_FILES)?),
        labels: Some(labels::resolve(&args.label, &NO_FILES)?),
        ..NetworkCreateRequest::default()
    })
}

/// Networks have no label files.
const NO_FILES: [&str; 0] = [];

/// `dhow network connect`.
pub(crate) fn connect(args: &ConnectArgs) -> Result<EndpointSettings> {
    if !args.link_local_ip.is_empty() {
        bail!("--link-local-ip is not available in this version");
    }
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let mut settings = EndpointSettings {
        aliases: some(&args.alias),
        links: some(&args.link),
        gw_priority: args.gw_priority,
        ..EndpointSettings::default()
    };
    if !args.driver_opt.is_empty() {
        settings.driver_opts = Some(labels::resolve(&args.driver_opt, &NO_FILES)?);
    }
    set_address(
        &mut settings.ipam_config,
        args.ip.as_deref(),
        args.ip6.as_deref(),
    );
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(given: &[&str]) -> Result<Networks> {
        resolve(&NetworkArgs {
            network: given.iter().map(|text| (*text).to_owned()).collect(),
            ..NetworkArgs::default()
        })
    }

    #[test]
    fn a_name_alone_is_the_mode() {
        let networks = networks(&["front"]).unwrap();

        assert_eq!(networks.mode, "front");
        assert_eq!(networks.config, None);
    }

    #[test]
    fn a_long_form_says_more() {
        let networks = networks(&["name=front,alias=web,ip=10.9.0.7"]).unwrap();

        let endpoints = networks.config.unwrap().endpoints_config.unwrap();
        let settings = &endpoints["front"];
        assert_eq!(settings.aliases, Some(vec!["web".to_owned()]));
        let address = settings
            .ipam_config
            .as_ref()
            .unwrap()
            .ipv4_address
            .as_deref();
        assert_eq!(address, Some("10.9.0.7"));
    }

    #[test]
    fn several_networks_are_all_told() {
        let networks = networks(&["front", "back"]).unwrap();

        assert_eq!(networks.mode, "front");
        assert_eq!(networks.config.unwrap().endpoints_config.unwrap().len(), 2);
    }

    #[test]
    fn the_machines_network_stands_alone() {
        let _refused = networks(&["front", "host"]).unwrap_err();
    }

    #[test]
    fn a_link_on_the_default_bridge_is_a_legacy_one() {
        let args = |network: &str| NetworkArgs {
            network: vec![network.to_owned()],
            link: vec!["db".to_owned()],
            ..NetworkArgs::default()
        };

        assert_eq!(resolve(&args("bridge")).unwrap().links.unwrap(), ["db"]);
        assert_eq!(resolve(&args("front")).unwrap().links, None);
    }
}
