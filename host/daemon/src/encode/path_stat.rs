//! What is at a path of a container, as Docker's header has it.

use dhow_engine::Timestamp;
use dhow_engine::verb::files::PathStat;
use serde_json::json;

/// `st_mode`'s kind, and its values (inode(7)).
const KIND_MASK: u32 = 0o170_000;
const KIND_SOCKET: u32 = 0o140_000;
const KIND_LINK: u32 = 0o120_000;
const KIND_BLOCK: u32 = 0o060_000;
const KIND_FOLDER: u32 = 0o040_000;
const KIND_CHARACTER: u32 = 0o020_000;
const KIND_FIFO: u32 = 0o010_000;

/// `st_mode`'s bits beside the nine of permissions.
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const PERMISSIONS: u32 = 0o777;

/// Go's `io/fs.FileMode`, which is what the header has.
const GO_FOLDER: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_FIFO: u32 = 1 << 25;
const GO_SOCKET: u32 = 1 << 24;
const GO_SET_USER: u32 = 1 << 23;
const GO_SET_GROUP: u32 = 1 << 22;
const GO_CHARACTER: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;

/// The header's value: JSON in base64.
pub(crate) fn path_stat(status: &PathStat) -> String {
    let seconds = Timestamp::from_seconds(status.modified_seconds).to_string();
    let json = json!({
        "name": status.name,
        "size": status.size,
        "mode": go_mode(status.mode),
        "mtime": seconds,
        "linkTarget": status.link_target,
    });
    base64(json.to_string().as_bytes())
}

fn go_mode(mode: u32) -> u32 {
    let kind = match mode & KIND_MASK {
        KIND_FOLDER => GO_FOLDER,
        KIND_LINK => GO_LINK,
        KIND_BLOCK => GO_DEVICE,
        KIND_CHARACTER => GO_DEVICE | GO_CHARACTER,
        KIND_FIFO => GO_FIFO,
        KIND_SOCKET => GO_SOCKET,
        _ => 0,
    };
    let bits = [
        (SET_USER, GO_SET_USER),
        (SET_GROUP, GO_SET_GROUP),
        (STICKY, GO_STICKY),
    ];
    let set = bits.iter().filter(|(bit, _)| mode & bit != 0);
    set.fold(kind | mode & PERMISSIONS, |mode, (_, go)| mode | go)
}

/// RFC 4648's base64, with padding. A dozen lines are less than a dependency.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const SIX_BITS: u32 = 0x3f;
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let number = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            if place > group.len() {
                text.push('=');
                continue;
            }
            let shift = 18 - 6 * u32::try_from(place).unwrap_or(0);
            let letter = usize::try_from(number >> shift & SIX_BITS).unwrap_or(0);
            text.push(char::from(LETTERS[letter]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    }

    #[test]
    fn kinds_become_gos() {
        assert_eq!(go_mode(0o040_755), GO_FOLDER | 0o755);
        assert_eq!(go_mode(0o104_755), GO_SET_USER | 0o755);
        assert_eq!(go_mode(0o020_666), GO_DEVICE | GO_CHARACTER | 0o666);
    }
}
