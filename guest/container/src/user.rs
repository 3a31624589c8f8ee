//! Who a process is: Docker's `user[:group]`, looked up in the container's own files.
//!
//! The rules are Docker's: a name must be in `/etc/passwd`, a number need not; supplementary
//! groups come from `/etc/group` unless a group was named; the home directory is the user's.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;

use crate::rootfs::lookup;

/// The largest user or group id: ids are signed 32-bit numbers to Docker.
const MAX_ID: u32 = 0x7fff_ffff;

/// The most supplementary groups of one process (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A name that is not in `/etc/passwd`.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// A name that is not in `/etc/group`.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    /// A number that no id can be.
    #[error("uids and gids must be in range 0-{MAX_ID}, not {0}")]
    IdRange(String),
    /// More groups than a process may have.
    #[error("{0} supplementary groups are more than {MAX_GROUPS}")]
    TooManyGroups(usize),
    /// The container's file cannot be read.
    #[error("failed to read {file} of the container")]
    Read {
        /// The file.
        file: &'static str,
        /// Why it cannot be read.
        #[source]
        errno: Errno,
    },
}

/// A user as it was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserRequest<'a> {
    /// `name|uid[:group|gid]`, or empty.
    pub(crate) user: &'a str,
    /// User and group where `user` names none.
    pub(crate) default: (u32, u32),
    /// Further groups by number.
    pub(crate) group_ids: &'a [u32],
    /// Further groups by name or number.
    pub(crate) groups: &'a [String],
}

/// A user, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, sorted, each once.
    pub(crate) groups: Vec<u32>,
    /// The home directory.
    pub(crate) home: String,
}

/// Looks a user up in the files below a container's root.
pub(crate) fn resolve(
    root: BorrowedFd<'_>,
    request: UserRequest<'_>,
) -> Result<ResolvedUser, UserError> {
    let read = |file: &'static str| {
        let content =
            lookup::read(root, Path::new(file)).map_err(|errno| UserError::Read { file, errno })?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    resolve_in(&read("/etc/passwd")?, &read("/etc/group")?, request)
}

/// One line of `/etc/passwd`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// One line of `/etc/group`.
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn passwd_entries(content: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    content.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or_default();
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn group_entries(content: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    content.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        let gid = fields.next()?.parse().ok()?;
        let members = fields.next().unwrap_or_default();
        Some(GroupEntry { name, gid, members })
    })
}

/// Looks a user up in the content of both files.
fn resolve_in(
    passwd: &str,
    group: &str,
    request: UserRequest<'_>,
) -> Result<ResolvedUser, UserError> {
    let (user, group_name) = match request.user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (request.user, ""),
    };
    let number = parse_id(user)?;
    let wanted = if user.is_empty() {
        Some(request.default.0)
    } else {
        number
    };
    let entry = passwd_entries(passwd)
        .find(|entry| (!user.is_empty() && entry.name == user) || Some(entry.uid) == wanted);
    let mut resolved = match (&entry, wanted) {
        (Some(entry), _) => ResolvedUser {
            uid: entry.uid,
            gid: entry.gid,
            groups: Vec::new(),
            home: entry.home.to_owned(),
        },
        (None, Some(uid)) => ResolvedUser {
            uid,
            gid: 0,
            groups: Vec::new(),
            home: String::new(),
        },
        (None, None) => return Err(UserError::UnknownUser(user.to_owned())),
    };
    if user.is_empty() && (entry.is_none() || request.default.1 != 0) {
        resolved.gid = request.default.1;
    }
    if !group_name.is_empty() {
        resolved.gid = find_group(group, group_name)?;
    } else if let Some(entry) = &entry {
        resolved.groups.extend(groups_of(group, entry.name));
    }
    resolved.groups.extend_from_slice(request.group_ids);
    for name in request.groups {
        resolved.groups.push(find_group(group, name)?);
    }
    finish(resolved)
}

/// Puts a resolved user's groups and home in order.
fn finish(mut resolved: ResolvedUser) -> Result<ResolvedUser, UserError> {
    resolved.groups.sort_unstable();
    resolved.groups.dedup();
    if resolved.groups.len() > MAX_GROUPS {
        return Err(UserError::TooManyGroups(resolved.groups.len()));
    }
    for id in [resolved.uid, resolved.gid].iter().chain(&resolved.groups) {
        if *id > MAX_ID {
            return Err(UserError::IdRange(id.to_string()));
        }
    }
    if resolved.home.is_empty() {
        "/".clone_into(&mut resolved.home);
    }
    Ok(resolved)
}

fn groups_of<'a>(group: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    group_entries(group)
        .filter(move |entry| entry.members.split(',').any(|member| member.trim() == user))
        .map(|entry| entry.gid)
}

fn find_group(content: &str, name: &str) -> Result<u32, UserError> {
    if let Some(entry) = group_entries(content).find(|entry| entry.name == name) {
        return Ok(entry.gid);
    }
    parse_id(name)?.ok_or_else(|| UserError::UnknownGroup(name.to_owned()))
}

/// A decimal id; `None` where the text is a name.
fn parse_id(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(UserError::IdRange(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                          # a comment\n\
                          redis:x:100:101:,,,:/var/lib/redis:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\naudio:x:29:redis,other\nredis:x:101:\nwheel:x:10:root\n";

    fn request(user: &str) -> UserRequest<'_> {
        UserRequest {
            user,
            default: (0, 0),
            group_ids: &[],
            groups: &[],
        }
    }

    #[test]
    fn a_name_brings_its_group_its_groups_and_its_home() {
        let user = resolve_in(PASSWD, GROUP, request("redis")).unwrap();

        let home = "/var/lib/redis".to_owned();
        assert_eq!(
            user,
            ResolvedUser {
                uid: 100,
                gid: 101,
                groups: vec![29],
                home
            }
        );
    }

    #[test]
    fn a_number_in_the_file_is_that_user() {
        let user = resolve_in(PASSWD, GROUP, request("100")).unwrap();

        assert_eq!((user.gid, user.groups), (101, vec![29]));
    }

    #[test]
    fn a_number_that_is_not_in_the_file_is_taken_as_it_is() {
        let user = resolve_in(PASSWD, GROUP, request("4711")).unwrap();

        assert_eq!((user.uid, user.gid, user.home.as_str()), (4711, 0, "/"));
    }

    #[test]
    fn a_group_that_is_named_replaces_all_groups() {
        let user = resolve_in(PASSWD, GROUP, request("redis:wheel")).unwrap();

        assert_eq!((user.gid, user.groups), (10, vec![]));
    }

    #[test]
    fn nobody_in_particular_is_root_with_its_groups() {
        let user = resolve_in(PASSWD, GROUP, request("")).unwrap();

        assert_eq!(
            (user.uid, user.groups, user.home.as_str()),
            (0, vec![10], "/root")
        );
    }

    #[test]
    fn a_group_without_a_user_goes_with_the_default_user() {
        let user = resolve_in(PASSWD, GROUP, request(":audio")).unwrap();

        assert_eq!((user.uid, user.gid), (0, 29));
    }

    #[test]
    fn an_image_without_files_has_root() {
        let user = resolve_in("", "", request("")).unwrap();

        assert_eq!((user.uid, user.gid, user.home.as_str()), (0, 0, "/"));
    }

    #[test]
    fn further_groups_go_by_name_or_number() {
        let groups = ["audio".to_owned(), "77".to_owned()];
        let request = UserRequest {
            user: "root",
            default: (0, 0),
            group_ids: &[5],
            groups: &groups,
        };

        let user = resolve_in(PASSWD, GROUP, request).unwrap();

        assert_eq!(user.groups, [5, 10, 29, 77]);
    }

    #[test]
    fn an_unknown_name_is_told_as_docker_tells_it() {
        let error = resolve_in(PASSWD, GROUP, request("nemo")).unwrap_err();

        assert_eq!(
            error.to_string(),
            "unable to find user nemo: no matching entries in passwd file"
        );
    }

    #[test]
    fn an_unknown_group_is_told_as_docker_tells_it() {
        let error = resolve_in(PASSWD, GROUP, request("root:nemo")).unwrap_err();

        assert_eq!(
            error.to_string(),
            "unable to find group nemo: no matching entries in group file"
        );
    }

    #[test]
    fn refuses_an_id_past_the_range() {
        let error = resolve_in(PASSWD, GROUP, request("4294967295")).unwrap_err();

        assert!(matches!(error, UserError::IdRange(_)));
    }

    proptest! {
        #[test]
        fn no_file_makes_the_lookup_panic(passwd in ".{0,200}", group in ".{0,200}", user in ".{0,20}") {
            let _result = resolve_in(&passwd, &group, request(&user));
        }

        #[test]
        fn ids_never_leave_the_range(passwd in "([a-c]:x:[0-9]{1,12}:[0-9]{1,12}::/:\n){0,5}", user in "[a-c]") {
            if let Ok(user) = resolve_in(&passwd, "", request(&user)) {
                prop_assert!(user.uid <= MAX_ID && user.gid <= MAX_ID);
            }
        }
    }
}
