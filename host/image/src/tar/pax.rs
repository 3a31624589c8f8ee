//! PAX records: `LENGTH KEY=VALUE\n`, where only the length says where a value ends.
//!
//! See POSIX.1-2001 `pax(1)`, "pax Extended Header". Beside the standard keys it knows
//! `SCHILY.xattr.*` (extended attributes, as GNU tar, bsdtar and Go write them) and `GNU.sparse.*`.

use super::sparse::{self, Extent};
use super::{Entry, EntryKind, TarError, Timestamp};

/// Most records in one header.
const MAX_RECORDS: usize = 65_536;

/// Prefix of a record that carries an extended attribute.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Digits of a second's fraction that are kept.
const NANOSECOND_DIGITS: usize = 9;

/// Records in the order they came; a later one replaces an earlier one of the same key.
#[derive(Debug, Default, Clone)]
pub(crate) struct PaxRecords {
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl PaxRecords {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, TarError> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let space = bytes
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or(TarError::Pax)?;
            let length = decimal(&bytes[..space]).ok_or(TarError::Pax)?;
            let length = usize::try_from(length).map_err(|_| TarError::Pax)?;
            if length <= space + 1 || length > bytes.len() || records.len() == MAX_RECORDS {
                return Err(TarError::Pax);
            }
            let record = bytes[space + 1..length]
                .strip_suffix(b"\n")
                .ok_or(TarError::Pax)?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or(TarError::Pax)?;
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            bytes = &bytes[length..];
        }
        Ok(Self { records })
    }

    /// Takes over later records, for a global header. Old values are dropped, so that a stream of
    /// global headers cannot grow without end.
    pub(super) fn update(&mut self, later: Self) {
        self.records.retain(|(key, _)| later.get(key).is_none());
        self.records.extend(later.records);
        self.records.truncate(MAX_RECORDS);
    }

    /// These records with an entry's own after them.
    pub(super) fn merged_with(&self, own: Self) -> Self {
        if self.records.is_empty() {
            return own;
        }
        let mut records = self.records.clone();
        records.extend(own.records);
        Self { records }
    }

    fn get(&self, wanted: &[u8]) -> Option<&[u8]> {
        let found = self.records.iter().rev().find(|(key, _)| key == wanted);
        found.map(|(_, value)| value.as_slice())
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, TarError> {
        self.get(key)
            .map(|value| decimal(value).ok_or(TarError::Pax))
            .transpose()
    }

    fn small(&self, key: &[u8]) -> Result<Option<u32>, TarError> {
        let number = self.number(key)?;
        number
            .map(|value| u32::try_from(value).map_err(|_| TarError::Pax))
            .transpose()
    }

    /// How many bytes are stored, when the header's field is too small to say.
    pub(super) fn size(&self) -> Result<Option<u64>, TarError> {
        self.number(b"size")
    }

    /// Replaces what the header said.
    pub(super) fn apply(&self, entry: &mut Entry) -> Result<(), TarError> {
        for key in [b"path".as_slice(), b"GNU.sparse.name"] {
            if let Some(path) = self.get(key) {
                entry.path = path.to_vec();
            }
        }
        if let Some(link) = self.get(b"linkpath") {
            entry.link = link.to_vec();
        }
        if entry.path.ends_with(b"/") && entry.kind == EntryKind::File {
            entry.kind = EntryKind::Directory;
        }
        entry.uid = self.small(b"uid")?.unwrap_or(entry.uid);
        entry.gid = self.small(b"gid")?.unwrap_or(entry.gid);
        if let Some(time) = self.get(b"mtime") {
            entry.mtime = timestamp(time).ok_or(TarError::Pax)?;
        }
        for (key, value) in &self.records {
            if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                entry.xattrs.retain(|(known, _)| known != name);
                entry.xattrs.push((name.to_vec(), value.clone()));
            }
        }
        Ok(())
    }

    /// The unpacked size, if these records describe a sparse file of any PAX format.
    pub(super) fn sparse_size(&self) -> Result<Option<u64>, TarError> {
        let size = self.number(b"GNU.sparse.realsize")?;
        if size.is_some() {
            Ok(size)
        } else {
            self.number(b"GNU.sparse.size")
        }
    }

    /// Format 1.0 keeps the map before the data, 0.0 and 0.1 in the records.
    pub(super) fn sparse_map_precedes_data(&self) -> bool {
        self.get(b"GNU.sparse.major")
            .is_some_and(|major| major == b"1")
    }

    pub(super) fn sparse_map(&self) -> Result<Vec<Extent>, TarError> {
        if let Some(list) = self.get(b"GNU.sparse.map") {
            let numbers = list
                .split(|byte| *byte == b',')
                .filter(|number| !number.is_empty());
            let numbers: Option<Vec<u64>> = numbers.map(decimal).collect();
            return sparse::pairs(&numbers.ok_or(TarError::Sparse)?);
        }
        let keys: [&[u8]; 2] = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"];
        let listed = self
            .records
            .iter()
            .filter(|(key, _)| keys.contains(&key.as_slice()));
        let numbers: Option<Vec<u64>> = listed.map(|(_, value)| decimal(value)).collect();
        sparse::pairs(&numbers.ok_or(TarError::Sparse)?)
    }
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with an optional fraction and sign; a negative time's fraction counts backwards.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = &fraction[..fraction.len().min(NANOSECOND_DIGITS)];
    let nanoseconds: u32 = format!("{digits:0<NANOSECOND_DIGITS$}").parse().ok()?;
    if text.starts_with('-') && nanoseconds > 0 {
        return Some(Timestamp {
            seconds: seconds.checked_sub(1)?,
            nanoseconds: 1_000_000_000 - nanoseconds,
        });
    }
    Some(Timestamp {
        seconds,
        nanoseconds,
    })
}
