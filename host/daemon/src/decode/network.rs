//! Networks, and what containers ask of them.

use std::net::IpAddr;
use std::str::FromStr;

use dhow_api::request::{
    EndpointRequest, IpamConfigRequest, NetworkCreateRequest, NetworkingConfigRequest,
};
use dhow_engine::network::{CreateRequest, EndpointConfig, NetworkMode, PlanRequest, Subnet};

use crate::failure::Failure;

/// Aliases and links of one container on one network: each is sent to the machine.
const MAX_NAMES: usize = 256;

/// The longest name on a network (RFC 1035).
const MAX_NAME_BYTES: usize = 253;

/// A network to make.
pub(crate) fn network(request: NetworkCreateRequest) -> Result<CreateRequest, Failure> {
    match request.driver.as_deref() {
        None | Some("" | "default" | "bridge") => {}
        Some(driver @ ("host" | "null")) => {
            let message = format!("only one instance of \"{driver}\" network is allowed");
            return Err(Failure::new(axum::http::StatusCode::FORBIDDEN, message));
        }
        Some(driver) => return Err(Failure::unsupported(&format!("--driver {driver}"))),
    }
    let on = |flag: Option<bool>| flag.unwrap_or_default();
    if on(request.ingress) {
        return Err(Failure::unsupported("--ingress"));
    }
    if on(request.config_only) {
        return Err(Failure::unsupported("--config-only"));
    }
    if request.enable_ipv4 == Some(false) {
        return Err(Failure::unsupported("--ipv4=false"));
    }
    if matches!(request.scope.as_deref(), Some(scope) if !matches!(scope, "" | "local")) {
        return Err(Failure::unsupported("--scope"));
    }
    let ipam = request.ipam.unwrap_or_default();
    if !matches!(ipam.driver.as_deref(), None | Some("" | "default")) {
        return Err(Failure::unsupported("--ipam-driver"));
    }
    let plans = ipam.config.unwrap_or_default();
    Ok(CreateRequest {
        name: request.name.unwrap_or_default(),
        plans: plans.iter().map(plan).collect::<Result<_, _>>()?,
        ipv6: on(request.enable_ipv6),
        internal: on(request.internal),
        attachable: on(request.attachable),
        labels: request.labels.unwrap_or_default(),
        options: request.options.unwrap_or_default(),
    })
}

fn plan(request: &IpamConfigRequest) -> Result<PlanRequest, Failure> {
    if request
        .auxiliary_addresses
        .as_ref()
        .is_some_and(|addresses| !addresses.is_empty())
    {
        return Err(Failure::unsupported("--aux-address"));
    }
    let subnet = |text: &Option<String>| -> Result<Option<Subnet>, Failure> {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(str::parse)
            .transpose()
            .map_err(|error: dhow_engine::network::SubnetError| Failure::invalid(error.to_string()))
    };
    Ok(PlanRequest {
        subnet: subnet(&request.subnet)?,
        gateway: parsed(request.gateway.as_deref(), "gateway address")?,
        range: subnet(&request.ip_range)?,
    })
}

/// Text that is something, where it is there.
fn parsed<T: FromStr>(text: Option<&str>, what: &str) -> Result<Option<T>, Failure> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse()
            .map_err(|_not_one| Failure::invalid(format!("invalid {what} {text}")))
    })
    .transpose()
}

/// What a container asks of one network.
pub(crate) fn endpoint(network: &str, request: EndpointRequest) -> Result<EndpointConfig, Failure> {
    let addresses = request.ipam_config.unwrap_or_default();
    if addresses
        .link_local_ips
        .is_some_and(|list| !list.is_empty())
    {
        return Err(Failure::unsupported("--link-local-ip"));
    }
    let (aliases, links) = (
        request.aliases.unwrap_or_default(),
        request.links.unwrap_or_default(),
    );
    if aliases.len() > MAX_NAMES || links.len() > MAX_NAMES {
        return Err(Failure::invalid(format!(
            "more than {MAX_NAMES} aliases or links"
        )));
    }
    let is_name = |name: &String| {
        let plain = |byte: u8| byte.is_ascii_graphic();
        !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(plain)
    };
    if let Some(name) = aliases.iter().chain(&links).find(|name| !is_name(name)) {
        return Err(Failure::invalid(format!("invalid alias or link {name:?}")));
    }
    Ok(EndpointConfig {
        network: network.to_owned(),
        aliases,
        links,
        ipv4: parsed(addresses.ipv4_address.as_deref(), "IPv4 address:")?,
        ipv6: parsed(addresses.ipv6_address.as_deref(), "IPv6 address:")?,
        mac: parsed(request.mac_address.as_deref(), "MAC address:")?,
        driver_options: request.driver_opts.unwrap_or_default(),
        gateway_priority: request.gw_priority.unwrap_or_default(),
    })
}

/// What a new container asks of networks. `mac` is that of the network of its mode.
pub(super) fn endpoints(
    request: Option<NetworkingConfigRequest>,
    mode: &str,
    mac: Option<&str>,
) -> Result<Vec<EndpointConfig>, Failure> {
    let mut all = Vec::new();
    let asked = request.and_then(|request| request.endpoints_config);
    for (network, request) in asked.unwrap_or_default() {
        let network = if network == "default" {
            "bridge"
        } else {
            &network
        };
        all.push(endpoint(network, request.unwrap_or_default())?);
    }
    let mac = parsed(mac, "MAC address:")?;
    if let (Some(mac), NetworkMode::Network(main)) = (mac, NetworkMode::parse(mode)) {
        if !all.iter().any(|config| config.network == main) {
            all.push(EndpointConfig::of(&main));
        }
        let of_mode = all.iter_mut().filter(|config| config.network == main);
        of_mode.for_each(|config| config.mac = config.mac.or(Some(mac)));
    }
    Ok(all)
}

/// A list of servers, each an address.
pub(super) fn servers(list: Vec<String>) -> Result<Vec<String>, Failure> {
    match list.iter().find(|server| server.parse::<IpAddr>().is_err()) {
        Some(server) => Err(Failure::invalid(format!(
            "IP address is not correctly formatted: {server}"
        ))),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let request = serde_json::from_str(text).unwrap();
        network(request).unwrap_err().message().to_owned()
    }

    #[test]
    fn another_driver_is_refused() {
        assert!(refused(r#"{"Name":"a","Driver":"macvlan"}"#).contains("--driver macvlan"));
    }

    #[test]
    fn a_subnet_that_is_none_is_refused() {
        let text = r#"{"Name":"a","IPAM":{"Config":[{"Subnet":"10.0.0.0"}]}}"#;

        assert!(refused(text).contains("invalid subnet 10.0.0.0"));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let request = serde_json::from_str(r#"{"IPAMConfig":{"IPv4Address":"x"}}"#).unwrap();

        let failure = endpoint("a", request).unwrap_err();

        assert_eq!(failure.message(), "invalid IPv4 address: x");
    }

    #[test]
    fn an_alias_that_would_forge_lines_is_refused() {
        let request = serde_json::from_str(r#"{"Aliases":["a\nb"]}"#).unwrap();

        endpoint("a", request).unwrap_err();
    }

    #[test]
    fn an_old_clients_hardware_address_is_that_of_its_network() {
        let all = endpoints(None, "default", Some("02:42:ac:11:00:09")).unwrap();

        assert_eq!(all[0].network, "bridge");
        assert!(all[0].mac.is_some());
    }
}
