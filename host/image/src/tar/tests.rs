//! What the reader makes of each dialect, written here byte by byte or by GNU tar.

use std::io::Write as _;

use super::*;

/// A ustar header with a right checksum.
fn header(name: &str, type_flag: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = type_flag;
    block[257..263].copy_from_slice(b"ustar\0");
    seal(block)
}

fn seal(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_multiple_of(BLOCK_BYTES), 0);
    content
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..)
            .find(|length| length.to_string().len() + rest == *length)
            .unwrap();
        write!(content, "{length} {key}=").unwrap();
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    [header("pax", b'x', content.len() as u64), padded(&content)].concat()
}

fn only_entry(archive: &[u8]) -> Result<(Entry, Vec<u8>), TarError> {
    let mut reader = TarReader::new(archive);
    let entry = reader.next_entry()?.expect("an entry");
    let mut data = Vec::new();
    reader.data().read_to_end(&mut data)?;
    Ok((entry, data))
}

#[test]
fn reads_a_plain_file() {
    let archive = [header("a/b", b'0', 5), padded(b"hello")].concat();

    let (entry, data) = only_entry(&archive).unwrap();

    assert_eq!(
        (entry.path.as_slice(), entry.mode, entry.size),
        (b"a/b".as_slice(), 0o644, 5)
    );
    assert_eq!(data, b"hello");
}

#[test]
fn reads_binary_attribute_values_with_newlines() {
    let value = b"\x01\n\0\n=5 a=b\n";
    let archive = [
        pax(&[("SCHILY.xattr.security.capability", value)]),
        header("f", b'0', 0),
    ]
    .concat();

    let (entry, _) = only_entry(&archive).unwrap();

    assert_eq!(
        entry.xattrs,
        [(b"security.capability".to_vec(), value.to_vec())]
    );
}

#[test]
fn reads_long_names_of_gnu_and_pax() {
    let long = "d/".repeat(200);
    let gnu = [
        header("././@LongLink", b'L', 401),
        padded(format!("{long}\0").as_bytes()),
        header("x", b'5', 0),
    ];
    let pax = [pax(&[("path", long.as_bytes())]), header("x", b'5', 0)];

    assert_eq!(only_entry(&gnu.concat()).unwrap().0.path, long.as_bytes());
    assert_eq!(only_entry(&pax.concat()).unwrap().0.path, long.as_bytes());
}

#[test]
fn reads_numbers_in_base_256_and_fractions_of_seconds() {
    let mut block = header("f", b'0', 0);
    block[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
    let archive = [
        pax(&[("mtime", b"-1.25"), ("gid", b"4000000000")]),
        seal(block),
    ]
    .concat();

    let (entry, _) = only_entry(&archive).unwrap();

    assert_eq!((entry.uid, entry.gid), (0x7fff_ffff, 4_000_000_000));
    assert_eq!(
        entry.mtime,
        Timestamp {
            seconds: -2,
            nanoseconds: 750_000_000
        }
    );
}

#[test]
fn reads_the_three_pax_forms_of_a_sparse_file() {
    let extents = [
        Extent {
            offset: 1024,
            length: 3,
        },
        Extent {
            offset: 4096,
            length: 0,
        },
    ];
    let old = pax(&[
        ("GNU.sparse.size", b"4096"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"1024"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"4096"),
        ("GNU.sparse.numbytes", b"0"),
    ]);
    let listed = pax(&[
        ("GNU.sparse.size", b"4096"),
        ("GNU.sparse.map", b"1024,3,4096,0"),
    ]);
    let preceding = pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"real"),
        ("GNU.sparse.realsize", b"4096"),
    ]);
    let file = [header("f", b'0', 3), padded(b"abc")].concat();
    let mapped = [
        header("f", b'0', 515),
        padded(b"2\n1024\n3\n4096\n0\n"),
        padded(b"abc"),
    ]
    .concat();

    for archive in [[old, file.clone()], [listed, file], [preceding, mapped]] {
        let (entry, data) = only_entry(&archive.concat()).unwrap();
        assert_eq!(entry.sparse.as_deref(), Some(extents.as_slice()));
        assert_eq!((entry.size, data.as_slice()), (4096, b"abc".as_slice()));
    }
}

#[test]
fn refuses_sparse_maps_that_overlap_or_lie() {
    for map in [
        "0,2,1,1",
        "0,3,4095,9",
        "0,2",
        "0,3,18446744073709551615,9",
        "x,3",
    ] {
        let records = pax(&[
            ("GNU.sparse.size", b"4096"),
            ("GNU.sparse.map", map.as_bytes()),
        ]);
        let archive = [records, header("f", b'0', 3), padded(b"abc")].concat();
        assert!(
            matches!(only_entry(&archive), Err(TarError::Sparse)),
            "{map}"
        );
    }
}

#[test]
fn refuses_damage() {
    let mut flipped = header("f", b'0', 0);
    flipped[0] ^= 1;
    assert!(matches!(
        only_entry(&flipped),
        Err(TarError::Checksum { offset: 0 })
    ));

    let truncated = [header("f", b'0', 5), b"hel".to_vec()].concat();
    assert!(matches!(only_entry(&truncated), Err(TarError::Truncated)));

    let half_a_header = &header("f", b'0', 0)[..100];
    assert!(matches!(
        only_entry(half_a_header),
        Err(TarError::Truncated)
    ));
}

#[test]
fn refuses_extension_headers_that_would_fill_memory() {
    let archive = header("pax", b'x', 1 << 32);
    assert!(matches!(
        only_entry(&archive),
        Err(TarError::ExtensionTooLarge { .. })
    ));

    for records in ["9999999999999 a=b\n", "3 a=b\n", "6 a=b", "nonsense"] {
        let header = header("pax", b'x', records.len() as u64);
        let archive = [header, padded(records.as_bytes())].concat();
        assert!(
            matches!(only_entry(&archive), Err(TarError::Pax)),
            "{records}"
        );
    }
}
