//! Networks in answers.

use std::collections::BTreeMap;

use dhow_engine::network::{AddressPlan, ContainerNetwork, Endpoint, NetworkRecord};
use dhow_engine::verb::network::NetworkView;
use serde_json::{Map, Value, json};

/// A network; in lists Docker says nothing of its containers.
pub(crate) fn network(view: &NetworkView, with_containers: bool) -> Value {
    let NetworkRecord {
        id,
        name,
        created,
        driver,
        internal,
        attachable,
        labels,
        options,
        ipv4,
        ipv6,
        ..
    } = &view.record;
    let containers: BTreeMap<_, _> = view
        .endpoints
        .iter()
        .filter(|_| with_containers)
        .map(|(name, endpoint)| (endpoint.container.to_string(), resource(name, endpoint)))
        .collect();
    let plans: Vec<Value> = ipv4.iter().chain(ipv6).map(plan).collect();
    json!({
        "Name": name,
        "Id": id,
        "Created": created.to_string(),
        "Scope": "local",
        "Driver": driver.name(),
        "EnableIPv4": true,
        "EnableIPv6": ipv6.is_some(),
        "IPAM": {"Driver": "default", "Options": null, "Config": plans},
        "Internal": internal,
        "Attachable": attachable,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options,
        "Labels": labels,
    })
}

fn plan(plan: &AddressPlan) -> Value {
    let mut config = json!({"Subnet": plan.subnet, "Gateway": plan.gateway});
    if let Some(range) = plan.range {
        config["IPRange"] = json!(range);
    }
    config
}

/// A container on a network.
fn resource(name: &str, endpoint: &Endpoint) -> Value {
    let with_prefix = |address: Option<String>| address.unwrap_or_default();
    json!({
        "Name": name,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac.to_string(),
        "IPv4Address": with_prefix(endpoint.ipv4().map(|(address, prefix)| format!("{address}/{prefix}"))),
        "IPv6Address": with_prefix(endpoint.ipv6().map(|(address, prefix)| format!("{address}/{prefix}"))),
    })
}

/// `NetworkSettings.Networks` of a container.
pub(crate) fn container_networks(networks: &[ContainerNetwork]) -> Value {
    let one = |network: &ContainerNetwork| (network.config.network.clone(), endpoint(network));
    Value::Object(networks.iter().map(one).collect::<Map<_, _>>())
}

fn endpoint(network: &ContainerNetwork) -> Value {
    let ContainerNetwork {
        id,
        config,
        endpoint,
    } = network;
    let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let mut asked = Map::new();
    if let Some(address) = config.ipv4 {
        asked.insert("IPv4Address".to_owned(), json!(address));
    }
    if let Some(address) = config.ipv6 {
        asked.insert("IPv6Address".to_owned(), json!(address));
    }
    let wanted_mac = || config.mac.map(|mac| mac.to_string()).unwrap_or_default();
    let mac = endpoint
        .as_ref()
        .map_or_else(wanted_mac, |endpoint| endpoint.mac.to_string());
    let names = endpoint
        .as_ref()
        .filter(|_| config.network != "bridge")
        .map(|endpoint| endpoint.names.clone());
    let mut value = json!({
        "IPAMConfig": (!asked.is_empty()).then_some(asked),
        "Links": some(&config.links),
        "Aliases": some(&config.aliases),
        "MacAddress": mac,
        "DriverOpts": (!config.driver_options.is_empty()).then_some(&config.driver_options),
        "GwPriority": config.gateway_priority,
        "NetworkID": id,
        "EndpointID": endpoint.as_ref().map(|endpoint| endpoint.id.to_string()).unwrap_or_default(),
        "DNSNames": names,
    });
    if let Some(value) = value.as_object_mut() {
        value.extend(addresses(endpoint.as_ref()));
    }
    value
}

/// The addresses of a container on a network; empty while it does not run.
fn addresses(endpoint: Option<&Endpoint>) -> Map<String, Value> {
    let (ipv4, ipv6) = (
        endpoint.and_then(Endpoint::ipv4),
        endpoint.and_then(Endpoint::ipv6),
    );
    let gateway = |is_ipv4: bool| {
        let gateways = endpoint.filter(|endpoint| endpoint.metric.is_some());
        let mut gateways = gateways.into_iter().flat_map(|endpoint| &endpoint.gateways);
        let found = gateways.find(|gateway| gateway.is_ipv4() == is_ipv4);
        json!(found.map(ToString::to_string).unwrap_or_default())
    };
    let fields = [
        ("Gateway", gateway(true)),
        (
            "IPAddress",
            json!(
                ipv4.map(|(address, _)| address.to_string())
                    .unwrap_or_default()
            ),
        ),
        ("IPPrefixLen", json!(ipv4.map_or(0, |(_, prefix)| prefix))),
        ("IPv6Gateway", gateway(false)),
        (
            "GlobalIPv6Address",
            json!(
                ipv6.map(|(address, _)| address.to_string())
                    .unwrap_or_default()
            ),
        ),
        (
            "GlobalIPv6PrefixLen",
            json!(ipv6.map_or(0, |(_, prefix)| prefix)),
        ),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The fields of `NetworkSettings` that tell of the default bridge alone; newer clients look at
/// `Networks`, scripts at these.
pub(crate) fn legacy_settings(networks: &[ContainerNetwork]) -> Map<String, Value> {
    let bridge = networks
        .iter()
        .find(|network| network.config.network == "bridge");
    let endpoint = bridge.and_then(|network| network.endpoint.as_ref());
    let mut fields = addresses(endpoint);
    let text = |text: Option<String>| json!(text.unwrap_or_default());
    let more = [
        ("Bridge", json!("")),
        (
            "EndpointID",
            text(endpoint.map(|endpoint| endpoint.id.to_string())),
        ),
        (
            "MacAddress",
            text(endpoint.map(|endpoint| endpoint.mac.to_string())),
        ),
        ("HairpinMode", json!(false)),
        ("LinkLocalIPv6Address", json!("")),
        ("LinkLocalIPv6PrefixLen", json!(0)),
        ("SecondaryIPAddresses", Value::Null),
        ("SecondaryIPv6Addresses", Value::Null),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    fields
}
