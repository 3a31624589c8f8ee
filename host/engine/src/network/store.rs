//! All networks of a home: found by id, prefix or name, made and removed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::default::{self, free_subnet, plan_of};
use super::endpoint::Endpoint;
use super::machine::Told;
use super::pool::{AddressPlan, Pool};
use super::record::{Driver, NetworkRecord, is_predefined};
use super::subnet::Subnet;
use crate::class::{Classified, ErrorClass};
use crate::id::Id;
use crate::time::Timestamp;

/// The largest VLAN (IEEE 802.1Q, 4095 is reserved).
const MAX_VLAN: u16 = 4094;

/// The first VLAN of a user's network: 1 is the machine's own, 2 the default bridge's.
const FIRST_VLAN: u16 = 3;

/// The longest name of a network, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Why a reference names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nothing matches.
    #[error("network {0} not found")]
    NotFound(String),
    /// Several ids start with it.
    #[error("network {0} is ambiguous (several ids start with it)")]
    Ambiguous(String),
}

impl Classified for LookupError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) => ErrorClass::NotFound,
            Self::Ambiguous(_) => ErrorClass::InvalidParameter,
        }
    }
}

/// Why a network was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The name is none.
    #[error("\"{0}\" is not a valid network name, only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed")]
    Name(String),
    /// Another network has it.
    #[error("network with name {0} already exists")]
    NameTaken(String),
    /// It is one of those that every home has.
    #[error("operation is not permitted on predefined {0} network")]
    Predefined(String),
    /// Another network has the addresses.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    Overlap,
    /// An address is not in the subnet.
    #[error("invalid network config: {what} {address} is not in subnet {subnet}")]
    Outside {
        /// The gateway or the range.
        what: &'static str,
        /// Where it is.
        address: String,
        /// Where it should be.
        subnet: Subnet,
    },
    /// Two subnets of one family.
    #[error("invalid network config: more than one subnet of a family is not supported by dhow")]
    TooManySubnets,
    /// No subnet is left.
    #[error("all predefined address pools have been fully subnetted")]
    NoSubnet,
    /// No VLAN is left.
    #[error("more than {MAX_VLAN} networks")]
    NoVlan,
    /// The host failed.
    #[error("failed to save the network")]
    Save(#[source] io::Error),
}

impl Classified for MakeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NameTaken(_) => ErrorClass::Conflict,
            Self::Predefined(_) | Self::Overlap => ErrorClass::Forbidden,
            Self::Save(_) => ErrorClass::Internal,
            _ => ErrorClass::InvalidParameter,
        }
    }
}

/// Why a network was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Every home has it.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// Containers are on it.
    #[error("error while removing network: network {name} has active endpoints ({endpoints})")]
    InUse {
        /// The network.
        name: String,
        /// Who is on it.
        endpoints: String,
    },
    /// The host failed.
    #[error("failed to remove the network's file")]
    File(#[source] io::Error),
}

impl Classified for RemoveError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Predefined(_) | Self::InUse { .. } => ErrorClass::Forbidden,
            Self::File(_) => ErrorClass::Internal,
        }
    }
}

/// Addresses asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanRequest {
    /// The subnet.
    pub subnet: Option<Subnet>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// Where addresses are taken from.
    pub range: Option<Subnet>,
}

/// A network asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRequest {
    /// Its name.
    pub name: String,
    /// Addresses.
    pub plans: Vec<PlanRequest>,
    /// Whether it has IPv6 addresses.
    pub ipv6: bool,
    /// Whether nothing goes beyond it.
    pub internal: bool,
    /// Kept and shown.
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// A network and who is on it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) record: NetworkRecord,
    pub(super) live: Mutex<Live>,
}

/// Who is on a network.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) ipv4: Option<Pool>,
    pub(super) ipv6: Option<Pool>,
    pub(super) endpoints: BTreeMap<Id, Endpoint>,
    /// Whether it is being removed: nobody may come any more.
    pub(super) closed: bool,
}

impl Network {
    fn new(record: NetworkRecord) -> Self {
        let live = Live {
            ipv4: record.ipv4.clone().map(Pool::new),
            ipv6: record.ipv6.clone().map(Pool::new),
            endpoints: BTreeMap::new(),
            closed: false,
        };
        Self {
            record,
            live: Mutex::new(live),
        }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is on it.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.live().endpoints.values().cloned().collect()
    }
}

/// All networks of a home.
#[derive(Debug)]
pub(crate) struct Networks {
    directory: PathBuf,
    networks: Mutex<BTreeMap<Id, Arc<Network>>>,
    pub(super) told: tokio::sync::Mutex<Told>,
}

impl Networks {
    /// Reads every network of a folder, and makes those that every home has.
    pub(crate) fn load(directory: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let networks = Self {
            directory,
            networks: Mutex::default(),
            told: tokio::sync::Mutex::default(),
        };
        for entry in fs::read_dir(&networks.directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match serde_json::from_slice::<NetworkRecord>(&fs::read(&path)?) {
                Ok(record) => networks.insert(record),
                Err(error) => {
                    tracing::warn!(%error, file = %path.display(), "not a network, left alone");
                }
            }
        }
        for record in default::predefined()? {
            if networks.resolve(&record.name).is_err() {
                save(&networks.directory, &record)?;
                networks.insert(record);
            }
        }
        Ok(networks)
    }

    fn insert(&self, record: NetworkRecord) {
        let network = Arc::new(Network::new(record));
        self.locked().insert(network.record.id.clone(), network);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<Network>>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every network, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Network>> {
        let mut all: Vec<_> = self.locked().values().cloned().collect();
        all.sort_by_key(|network| network.record.created);
        all
    }

    /// The network of a full id, a name, or a prefix that only one id has.
    pub(crate) fn resolve(&self, reference: &str) -> Result<Arc<Network>, LookupError> {
        let networks = self.locked();
        let find = |matches: &dyn Fn(&NetworkRecord) -> bool| {
            networks
                .values()
                .find(|network| matches(&network.record))
                .cloned()
        };
        let exact = find(&|record| record.id.as_str() == reference)
            .or_else(|| find(&|record| record.name == reference));
        if let Some(network) = exact {
            return Ok(network);
        }
        let mut matching = networks
            .values()
            .filter(|network| network.record.id.as_str().starts_with(reference));
        match (matching.next(), matching.next()) {
            (Some(network), None) if !reference.is_empty() => Ok(Arc::clone(network)),
            (Some(_), Some(_)) if !reference.is_empty() => {
                Err(LookupError::Ambiguous(reference.to_owned()))
            }
            _ => Err(LookupError::NotFound(reference.to_owned())),
        }
    }

    /// A container's places, in the order of its interfaces.
    pub(crate) fn endpoints_of(&self, container: &Id) -> Vec<Endpoint> {
        let networks: Vec<_> = self.locked().values().cloned().collect();
        let mut endpoints: Vec<Endpoint> = networks
            .iter()
            .filter_map(|network| network.live().endpoints.get(container).cloned())
            .collect();
        endpoints.sort_by(|one, other| one.interface.cmp(&other.interface));
        endpoints
    }

    /// Makes a network.
    pub(crate) fn create(&self, request: CreateRequest) -> Result<Arc<Network>, MakeError> {
        check_name(&request.name)?;
        let mut networks = self.locked();
        let records = || networks.values().map(|network| &network.record);
        if records().any(|record| record.name == request.name) {
            return Err(MakeError::NameTaken(request.name));
        }
        let used: Vec<Subnet> = records()
            .flat_map(NetworkRecord::plans)
            .map(|plan| plan.subnet)
            .collect();
        let (ipv4, ipv6) = plans(&request, &used)?;
        let vlan = (FIRST_VLAN..=MAX_VLAN)
            .find(|vlan| records().all(|record| record.vlan != *vlan))
            .ok_or(MakeError::NoVlan)?;
        let record = NetworkRecord {
            id: Id::random().map_err(MakeError::Save)?,
            name: request.name,
            created: Timestamp::now(),
            driver: Driver::Bridge,
            vlan,
            ipv4: Some(ipv4),
            ipv6,
            internal: request.internal,
            attachable: request.attachable,
            labels: request.labels,
            options: request.options,
        };
        save(&self.directory, &record).map_err(MakeError::Save)?;
        let network = Arc::new(Network::new(record));
        networks.insert(network.record.id.clone(), Arc::clone(&network));
        Ok(network)
    }

    /// Removes a network that nobody is on.
    pub(crate) fn remove(
        &self,
        reference: &str,
        name_of: impl Fn(&Id) -> String,
    ) -> Result<Arc<Network>, RemoveError> {
        let network = self.resolve(reference)?;
        let record = &network.record;
        if record.is_predefined() {
            return Err(RemoveError::Predefined(record.name.clone()));
        }
        let mut live = network.live();
        if !live.endpoints.is_empty() {
            let endpoints: Vec<String> = live
                .endpoints
                .keys()
                .map(|id| format!("name:{:?} id:{:?}", name_of(id), id.short()))
                .collect();
            return Err(RemoveError::InUse {
                name: format!("{} id {}", record.name, record.id),
                endpoints: endpoints.join(", "),
            });
        }
        live.closed = true;
        drop(live);
        match fs::remove_file(file(&self.directory, &record.id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                network.live().closed = false;
                return Err(RemoveError::File(error));
            }
            _ => {}
        }
        self.locked().remove(&record.id);
        Ok(network)
    }
}

fn check_name(name: &str) -> Result<(), MakeError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if is_predefined(name) || name == "default" {
        Err(MakeError::Predefined(name.to_owned()))
    } else if starts_well && name.bytes().all(plain) && name.len() <= MAX_NAME_BYTES {
        Ok(())
    } else {
        Err(MakeError::Name(name.to_owned()))
    }
}

type Plans = (AddressPlan, Option<AddressPlan>);

/// The addresses of a new network.
fn plans(request: &CreateRequest, used: &[Subnet]) -> Result<Plans, MakeError> {
    let (mut ipv4, mut ipv6) = (None, None);
    for asked in &request.plans {
        let plan = plan(asked, used)?;
        let place = if plan.subnet.is_ipv4() {
            &mut ipv4
        } else {
            &mut ipv6
        };
        if place.replace(plan).is_some() {
            return Err(MakeError::TooManySubnets);
        }
    }
    if let Some(plan) = ipv4
        .iter()
        .chain(&ipv6)
        .find(|plan| used.iter().any(|other| plan.subnet.overlaps(*other)))
    {
        tracing::debug!(subnet = %plan.subnet, "refused a subnet in use");
        return Err(MakeError::Overlap);
    }
    let ipv4 = match ipv4 {
        Some(plan) => plan,
        None => free_subnet(used)
            .and_then(|subnet| plan_of(subnet, false))
            .ok_or(MakeError::NoSubnet)?,
    };
    if request.ipv6 && ipv6.is_none() {
        let subnet = default::local_ipv6_subnet().map_err(MakeError::Save)?;
        ipv6 = subnet.and_then(|subnet| plan_of(subnet, false));
    }
    Ok((ipv4, ipv6))
}

fn plan(asked: &PlanRequest, used: &[Subnet]) -> Result<AddressPlan, MakeError> {
    let subnet = match asked.subnet {
        Some(subnet) => subnet,
        None => free_subnet(used).ok_or(MakeError::NoSubnet)?,
    };
    let mut plan = plan_of(subnet, asked.subnet.is_some()).ok_or(MakeError::NoSubnet)?;
    let outside = |what, address: String| MakeError::Outside {
        what,
        address,
        subnet,
    };
    if let Some(gateway) = asked.gateway {
        if !subnet.is_host(gateway) {
            return Err(outside("gateway", gateway.to_string()));
        }
        plan.gateway = gateway;
    }
    if let Some(range) = asked.range {
        if !subnet.contains(range.address()) || range.prefix() < subnet.prefix() {
            return Err(outside("ip-range", range.to_string()));
        }
        plan.range = Some(range);
    }
    Ok(plan)
}

fn file(directory: &Path, id: &Id) -> PathBuf {
    directory.join(format!("{id}.json"))
}

/// Writes a network's file whole or not at all.
fn save(directory: &Path, record: &NetworkRecord) -> io::Result<()> {
    let path = file(directory, &record.id);
    let temporary = path.with_extension("tmp");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_data()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> (tempfile::TempDir, Networks) {
        let home = tempfile::tempdir().unwrap();
        let networks = Networks::load(home.path().join("networks")).unwrap();
        (home, networks)
    }

    fn named(name: &str) -> CreateRequest {
        CreateRequest {
            name: name.to_owned(),
            ..CreateRequest::default()
        }
    }

    fn with_subnet(name: &str, subnet: &str, gateway: Option<&str>) -> CreateRequest {
        CreateRequest {
            plans: vec![PlanRequest {
                subnet: Some(subnet.parse().unwrap()),
                gateway: gateway.map(|gateway| gateway.parse().unwrap()),
                range: None,
            }],
            ..named(name)
        }
    }

    #[test]
    fn every_home_has_three_networks_that_stay() {
        let (home, networks) = networks();
        let bridge = networks.resolve("bridge").unwrap().record.clone();

        let again = Networks::load(home.path().join("networks")).unwrap();

        assert_eq!(again.all().len(), 3);
        assert_eq!(again.resolve("bridge").unwrap().record, bridge);
    }

    #[test]
    fn each_network_has_a_vlan_and_a_subnet_of_its_own() {
        let (_home, networks) = networks();

        let first = networks.create(named("a")).unwrap();
        let second = networks.create(named("b")).unwrap();

        assert_ne!(first.record.vlan, second.record.vlan);
        let subnet = |network: &Network| network.record.ipv4.clone().unwrap().subnet;
        assert!(!subnet(&first).overlaps(subnet(&second)));
    }

    #[test]
    fn a_name_is_had_once() {
        let (_home, networks) = networks();
        networks.create(named("a")).unwrap();

        let error = networks.create(named("a")).unwrap_err();

        assert_eq!(error.to_string(), "network with name a already exists");
    }

    #[test]
    fn overlapping_subnets_are_refused() {
        let (_home, networks) = networks();
        networks
            .create(with_subnet("a", "10.9.0.0/16", None))
            .unwrap();

        let error = networks
            .create(with_subnet("b", "10.9.3.0/24", None))
            .unwrap_err();

        assert!(matches!(error, MakeError::Overlap));
    }

    #[test]
    fn a_gateway_outside_the_subnet_is_refused() {
        let (_home, networks) = networks();

        let error = networks
            .create(with_subnet("a", "10.9.0.0/16", Some("10.8.0.1")))
            .unwrap_err();

        assert!(matches!(error, MakeError::Outside { .. }));
    }

    #[test]
    fn a_removed_network_is_gone_from_disk_and_its_vlan_free() {
        let (home, networks) = networks();
        let vlan = networks.create(named("old")).unwrap().record.vlan;

        networks.remove("old", |_| String::new()).unwrap();

        assert_eq!(networks.create(named("new")).unwrap().record.vlan, vlan);
        let again = Networks::load(home.path().join("networks")).unwrap();
        again.resolve("old").unwrap_err();
    }

    #[test]
    fn the_default_networks_stay() {
        let (_home, networks) = networks();

        let error = networks.remove("bridge", |_| String::new()).unwrap_err();

        assert_eq!(
            error.to_string(),
            "bridge is a pre-defined network and cannot be removed"
        );
    }

    #[test]
    fn ipv6_is_given_where_asked() {
        let (_home, networks) = networks();
        let request = CreateRequest {
            ipv6: true,
            ..named("six")
        };

        let network = networks.create(request).unwrap();

        assert_eq!(network.record.ipv6.as_ref().unwrap().subnet.prefix(), 64);
    }
}
