//! The guest's context identifier, checked where it enters.

/// A context identifier that a guest may have.
///
/// The 64-bit field holds a 32-bit number; 0 to 2 name the hypervisor, the local loop and the host,
/// and all ones means "any" (virtio 1.2, section 5.10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestCid(u32);

/// The number cannot name a guest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is no guest's context identifier: it must be between 3 and 4294967294")]
pub struct InvalidGuestCid {
    /// The number given.
    pub number: u64,
}

impl GuestCid {
    /// The smallest identifier that is not reserved.
    const FIRST: u32 = 3;

    /// The identifier as the configuration space and packet headers carry it.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.0)
    }
}

impl TryFrom<u64> for GuestCid {
    type Error = InvalidGuestCid;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        match u32::try_from(number) {
            Ok(cid) if (Self::FIRST..u32::MAX).contains(&cid) => Ok(Self(cid)),
            Ok(_) | Err(_) => Err(InvalidGuestCid { number }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_identifiers_are_refused() {
        assert_eq!(GuestCid::try_from(2), Err(InvalidGuestCid { number: 2 }));
        assert_eq!(
            GuestCid::try_from(u64::from(u32::MAX)),
            Err(InvalidGuestCid {
                number: u64::from(u32::MAX)
            })
        );
        assert_eq!(
            GuestCid::try_from(1 << 32),
            Err(InvalidGuestCid { number: 1 << 32 })
        );
    }

    #[test]
    fn the_first_free_identifier_is_a_guests() {
        assert_eq!(GuestCid::try_from(3).map(GuestCid::number), Ok(3));
    }
}
