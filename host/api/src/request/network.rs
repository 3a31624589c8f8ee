//! Networks: `POST /networks/create`, `connect`, `disconnect`, and what a container asks of them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A network to make.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkCreateRequest {
    /// Its name.
    pub name: Option<String>,
    /// `bridge` where missing.
    pub driver: Option<String>,
    /// `local` or, in swarms, `swarm`.
    pub scope: Option<String>,
    /// Whether nothing goes beyond it.
    pub internal: Option<bool>,
    /// Whether containers of swarms may join it.
    pub attachable: Option<bool>,
    /// Whether it is a swarm's way in.
    pub ingress: Option<bool>,
    /// Whether it is only a pattern for others.
    pub config_only: Option<bool>,
    /// Its addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Option<IpamRequest>,
    /// Whether it has IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    /// Whether it has IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: Option<bool>,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// Addresses of a network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamRequest {
    /// `default`.
    pub driver: Option<String>,
    /// A subnet each.
    pub config: Option<Vec<IpamConfigRequest>>,
}

/// A subnet of a network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfigRequest {
    /// The subnet.
    pub subnet: Option<String>,
    /// Where addresses are taken from.
    #[serde(rename = "IPRange")]
    pub ip_range: Option<String>,
    /// The gateway's address.
    pub gateway: Option<String>,
    /// Addresses that others have.
    #[serde(rename = "AuxiliaryAddresses")]
    pub auxiliary_addresses: Option<BTreeMap<String, String>>,
}

/// A container to connect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkConnectRequest {
    /// Its name or id.
    pub container: Option<String>,
    /// How.
    pub endpoint_config: Option<EndpointRequest>,
}

/// A container to disconnect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkDisconnectRequest {
    /// Its name or id.
    pub container: Option<String>,
    /// Whatever its state.
    pub force: Option<bool>,
}

/// A new container's networks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfigRequest {
    /// By network.
    pub endpoints_config: Option<BTreeMap<String, Option<EndpointRequest>>>,
}

/// What a container asks of a network; clients also send what they were answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointRequest {
    /// Its addresses.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointAddressesRequest>,
    /// `container[:alias]`.
    pub links: Option<Vec<String>>,
    /// Further names.
    pub aliases: Option<Vec<String>>,
    /// Its hardware address.
    pub mac_address: Option<String>,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// The network with the highest is the way out.
    pub gw_priority: Option<i64>,
}

/// Addresses that a container asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointAddressesRequest {
    /// IPv4.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: Option<String>,
    /// IPv6.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: Option<String>,
    /// Of the link.
    #[serde(rename = "LinkLocalIPs")]
    pub link_local_ips: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_docker_cli_sends_is_read() {
        let text = r#"{"Name":"front","Driver":"bridge","Scope":"","EnableIPv6":false,
            "IPAM":{"Driver":"default","Options":{},"Config":[{"Subnet":"10.9.0.0/16"}]},
            "Internal":false,"Attachable":false,"Ingress":false,"ConfigOnly":false,
            "ConfigFrom":null,"Options":{},"Labels":{"tier":"web"}}"#;

        let request: NetworkCreateRequest = serde_json::from_str(text).unwrap();

        let ipam = request.ipam.unwrap();
        assert_eq!(
            ipam.config.unwrap()[0].subnet.as_deref(),
            Some("10.9.0.0/16")
        );
    }

    #[test]
    fn a_network_may_come_without_settings() {
        let text = r#"{"EndpointsConfig":{"a":null,"b":{"IPAMConfig":null,"Aliases":null}}}"#;

        let request: NetworkingConfigRequest = serde_json::from_str(text).unwrap();

        assert_eq!(request.endpoints_config.unwrap().len(), 2);
    }
}
